"""Draws a mesh with another renderer, in its own environment: its name and a scene file as arguments.

A request is one JSON line on stdin, `{"size": 512, "repeats": 20}`; the answer holds a list of seconds. Every
frame has new vertices, as in a tracker. What is timed begins with vertices in memory and ends with arrays in memory.
"""

import json
import os
import sys
from time import perf_counter

import numpy as np

contexts = {}


def shifted(vertices, n):
    """New vertices for every frame: a millimetre this way and that."""
    return vertices + np.float32(1e-3) * np.sin(np.float32(n) + np.arange(3, dtype=np.float32))


def camera(scene, size):
    """Focal length and centre in pixels; OpenCV axes, camera at the origin."""
    return float(scene["focal"]) * size, float(scene["center"]) * size


def rays(scene, size):
    focal, center = camera(scene, size)
    x, y = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    return np.stack([(x - center) / focal, (y - center) / focal, np.ones_like(x)], -1).astype(np.float32)


def open3d(scene, size):
    import open3d as o3d

    faces = o3d.core.Tensor(scene["faces"].astype(np.uint32))
    directions = rays(scene, size)
    beams = o3d.core.Tensor(np.concatenate([np.zeros_like(directions), directions], -1))

    def draw(n):
        tracer = o3d.t.geometry.RaycastingScene(nthreads=int(os.environ.get("OMP_NUM_THREADS", "2")))
        tracer.add_triangles(o3d.core.Tensor(shifted(scene["vertices"], n)), faces)
        hits = tracer.cast_rays(beams)
        return hits["primitive_ids"].numpy() != tracer.INVALID_ID, hits["primitive_uvs"].numpy(), hits["t_hit"].numpy()

    return draw


def embreex(scene, size):
    from embreex import rtcore_scene
    from embreex.mesh_construction import TriangleMesh

    directions = rays(scene, size).reshape(-1, 3)
    origins = np.zeros_like(directions)

    def draw(n):
        tracer = rtcore_scene.EmbreeScene()
        TriangleMesh(tracer, shifted(scene["vertices"], n)[scene["faces"]])
        hits = tracer.run(origins, directions, output=True)
        return hits["primID"] >= 0, hits["u"], hits["tfar"]

    return draw


def pyrender(scene, size):
    import pyrender as pr

    focal, center = camera(scene, size)
    # One context for all sizes: a second one does not start.
    if not contexts:
        contexts["pyrender"] = pr.OffscreenRenderer(size, size)
    renderer = contexts["pyrender"]
    turned = np.diag([1.0, -1.0, -1.0, 1.0])
    stage = pr.Scene(ambient_light=[0.3, 0.3, 0.3])
    stage.add(pr.IntrinsicsCamera(focal, focal, center, center, znear=0.05, zfar=5.0), pose=turned)
    stage.add(pr.DirectionalLight(intensity=3.0), pose=turned)
    faces = scene["faces"]

    def draw(n):
        mesh = pr.Mesh(
            [pr.Primitive(positions=shifted(scene["vertices"], n), normals=scene["vertices"], indices=faces)]
        )
        node = stage.add(mesh)
        renderer.viewport_width = renderer.viewport_height = size
        color, depth = renderer.render(stage, flags=pr.RenderFlags.SKIP_CULL_FACES)
        stage.remove_node(node)
        return depth > 0, color, depth

    return draw


def pyvista(scene, size):
    import pyvista as pv

    focal, _ = camera(scene, size)
    plotter = pv.Plotter(off_screen=True, window_size=(size, size))
    table = np.concatenate([np.full((len(scene["faces"]), 1), 3), scene["faces"]], 1)
    mesh = pv.PolyData(scene["vertices"].copy(), table)
    plotter.add_mesh(mesh, color="white", show_scalar_bar=False)
    plotter.set_background("black")
    plotter.camera.position, plotter.camera.focal_point, plotter.camera.up = (0, 0, 0), (0, 0, 1), (0, -1, 0)
    plotter.camera.view_angle = float(np.degrees(2 * np.arctan(size / 2 / focal)))
    plotter.camera.clipping_range = (0.05, 5.0)
    plotter.show(auto_close=False)

    def draw(n):
        mesh.points = shifted(scene["vertices"], n)
        plotter.render()
        image = plotter.screenshot(return_img=True)
        return image.sum(-1) > 0, image, None

    return draw


def main():
    name, path = sys.argv[1:]
    scene = dict(np.load(path))
    draws = {}
    for line in sys.stdin:
        request = json.loads(line)
        size = request["size"]
        if size not in draws:
            draws[size] = globals()[name.partition("-")[0]](scene, size)
        draw = draws[size]
        seen = float(np.mean(draw(0)[0]))
        times = []
        for n in range(request["repeats"]):
            begin = perf_counter()
            draw(n)
            times.append(perf_counter() - begin)
        print(json.dumps({"times": times, "seen": seen}), flush=True)


main()
