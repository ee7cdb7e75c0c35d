// Loads a .glb with three.js, plays it to given times, and writes x y z and the model's vertex of every vertex.
// node read_with_three.mjs NODE_MODULES FILE.glb OUT.bin TIME...
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [modules, file, out, ...times] = process.argv.slice(2);
globalThis.self = globalThis;
const from = (name) => import(pathToFileURL(path.join(modules, "three", name)));
const THREE = await from("build/three.module.js");
const { GLTFLoader } = await from("examples/jsm/loaders/GLTFLoader.js");

const bytes = fs.readFileSync(file);
const gltf = await new GLTFLoader().parseAsync(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length), "");
let mesh;
gltf.scene.traverse((node) => {
  if (node.isSkinnedMesh) mesh = node;
});
const mixer = new THREE.AnimationMixer(gltf.scene);
for (const clip of gltf.animations) {
  const action = mixer.clipAction(clip);
  action.setLoop(THREE.LoopOnce);
  action.clampWhenFinished = true;
  action.play();
}
const ids = mesh.geometry.attributes._flame_vertex;
const count = mesh.geometry.attributes.position.count;
const values = new Float32Array(times.length * count * 4);
const point = new THREE.Vector3();
times.forEach((time, k) => {
  mixer.setTime(Number(time));
  gltf.scene.updateMatrixWorld(true);
  for (let i = 0; i < count; i++) {
    mesh.getVertexPosition(i, point).applyMatrix4(mesh.matrixWorld);
    values.set([point.x, point.y, point.z, ids.getX(i)], 4 * (k * count + i));
  }
});
fs.writeFileSync(out, Buffer.from(values.buffer));
