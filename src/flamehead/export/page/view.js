// Drawing with WebGL2: one mesh, one texture, a sky and a lamp; orbit and zoom.

const VERTEX_SHADER = `#version 300 es
in vec3 position;
in vec3 normal;
in vec2 uv;
in vec2 matter;
uniform mat4 clip;
out vec3 at;
out vec3 facing;
out vec2 texel;
out vec2 kind;
void main() {
  at = position;
  facing = normal;
  texel = uv;
  kind = matter;
  gl_Position = clip * vec4(position, 1.0);
}`;

const FRAGMENT_SHADER = `#version 300 es
precision highp float;
in vec3 at;
in vec3 facing;
in vec2 texel;
in vec2 kind;
uniform sampler2D picture;
uniform vec3 eye;
uniform vec3 lamp;
uniform float strength;
uniform float sky;
uniform float textured;
out vec4 color;
const vec3 CLAY = vec3(0.56, 0.50, 0.46);
vec3 encoded(vec3 c) {
  c = clamp(c, 0.0, 1.0);
  return mix(12.92 * c, 1.055 * pow(c, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, c));
}
void main() {
  vec3 n = normalize(facing), to_eye = normalize(eye - at);
  if (dot(n, to_eye) < 0.0 && !gl_FrontFacing) n = -n;
  vec3 albedo = mix(CLAY, texture(picture, texel).rgb, textured);
  // Light reaches a little around the edge, more so for red: skin is not opaque.
  vec3 wrap = vec3(0.24, 0.13, 0.10);
  vec3 key = strength * max(vec3(0.0), (dot(n, lamp) + wrap) / (1.0 + wrap)) * vec3(1.0, 0.97, 0.92);
  vec3 ambient = sky * mix(vec3(0.38, 0.36, 0.36), vec3(0.92, 0.97, 1.0), 0.5 + 0.5 * n.y);
  float rim = 0.07 * sky * pow(1.0 - max(dot(n, to_eye), 0.0), 4.0);
  float half_way = max(dot(n, normalize(lamp + to_eye)), 0.0);
  float highlight = strength * mix(0.05 * pow(half_way, 18.0), 0.9 * pow(half_way, 220.0), kind.x);
  // Little light reaches the inside of the mouth: kind.y.
  color = vec4(encoded(kind.y * (albedo * (key + ambient) + highlight + rim)), 1.0);
}`;

const FIELD_OF_VIEW = (24 * Math.PI) / 180;
const LIMITS = { pitch: 1.5, near: 0.16, far: 4 };

class View {
  constructor(canvas, head, data) {
    this.canvas = canvas;
    this.head = head;
    const gl = canvas.getContext("webgl2", { antialias: true, alpha: true });
    if (!gl) throw new Error("This browser has no WebGL2; open the page in another one, or turn its graphics on.");
    this.gl = gl;
    this.rows = indices(data.rows);
    this.light = { azimuth: -0.6, elevation: 0.6, strength: 1.25, sky: 0.6 };
    this.textured = Boolean(data.texture);
    this.wired = false;
    this.target = data.center;
    this.far = data.distance;
    // A track is first seen as its camera saw it.
    this.side = data.track ? 0 : 0.42;
    this.program = this.build(data);
    this.home();
    this.listen();
    this.draws = 0;
    if (data.texture) this.paint(data.texture);
  }

  home() {
    this.yaw = this.side;
    this.pitch = this.side ? 0.08 : 0;
    this.distance = this.far;
    this.stale = true;
  }

  build(data) {
    const gl = this.gl, program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX_SHADER], [gl.FRAGMENT_SHADER, FRAGMENT_SHADER]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    this.program = program;
    this.positions = new Float32Array(3 * this.rows.length);
    this.normals = new Float32Array(3 * this.rows.length);
    const count = data.parents.length, weights = this.head.weights;
    const reached = floats(data.reached), matter = new Float32Array(2 * this.rows.length);
    this.rows.forEach((row, i) => {
      matter[2 * i] = weights[row * count + 3] + weights[row * count + 4] > 0.5 ? 1 : 0;
      matter[2 * i + 1] = reached[row];
    });
    this.buffers = {
      position: this.attribute("position", 3, this.positions, gl.DYNAMIC_DRAW),
      normal: this.attribute("normal", 3, this.normals, gl.DYNAMIC_DRAW),
    };
    this.attribute("uv", 2, floats(data.uv), gl.STATIC_DRAW);
    this.attribute("matter", 2, matter, gl.STATIC_DRAW);
    const corners = indices(data.corners), edges = new Uint32Array(2 * corners.length);
    for (let i = 0; i < corners.length; i++) {
      edges[2 * i] = corners[i];
      edges[2 * i + 1] = corners[i % 3 === 2 ? i - 2 : i + 1];
    }
    this.triangles = { buffer: gl.createBuffer(), count: corners.length, values: corners };
    this.edges = { buffer: gl.createBuffer(), count: edges.length, values: edges };
    for (const list of [this.triangles, this.edges]) {
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, list.buffer);
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, list.values, gl.STATIC_DRAW);
    }
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 1, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array([200, 170, 150, 255]));
    gl.enable(gl.DEPTH_TEST);
    return program;
  }

  attribute(name, size, values, usage) {
    const gl = this.gl, buffer = gl.createBuffer(), place = gl.getAttribLocation(this.program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, values, usage);
    if (place >= 0) {
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, size, gl.FLOAT, false, 0, 0);
    }
    return buffer;
  }

  paint(source) {
    const gl = this.gl, image = new Image();
    image.onload = () => {
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.SRGB8_ALPHA8, gl.RGBA, gl.UNSIGNED_BYTE, image);
      gl.generateMipmap(gl.TEXTURE_2D);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
      const wide = gl.getExtension("EXT_texture_filter_anisotropic");
      if (wide) gl.texParameterf(gl.TEXTURE_2D, wide.TEXTURE_MAX_ANISOTROPY_EXT, 8);
      this.stale = true;
    };
    image.src = source;
  }

  listen() {
    const canvas = this.canvas, fingers = new Map();
    const spread = () => {
      const [a, b] = [...fingers.values()];
      return Math.hypot(a.x - b.x, a.y - b.y);
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    });
    canvas.addEventListener("pointermove", (event) => {
      const last = fingers.get(event.pointerId);
      if (!last) return;
      const before = fingers.size === 2 ? spread() : 0;
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (fingers.size === 2) this.zoom(before / Math.max(spread(), 1));
      else if (fingers.size === 1) this.turn(event.clientX - last.x, event.clientY - last.y);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
    }
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(Math.sign(event.deltaY) * Math.min(Math.abs(event.deltaY), 100) * 0.0015));
    }, { passive: false });
    canvas.addEventListener("dblclick", () => this.home());
    new ResizeObserver(() => (this.stale = true)).observe(canvas);
  }

  turn(dx, dy) {
    this.yaw -= 0.008 * dx;
    this.pitch = Math.min(Math.max(this.pitch + 0.008 * dy, -LIMITS.pitch), LIMITS.pitch);
    this.stale = true;
  }

  zoom(factor) {
    this.distance = Math.min(Math.max(this.distance * factor, LIMITS.near), LIMITS.far);
    this.stale = true;
  }

  /** Take over the posed head. */
  update() {
    const { vertices } = this.head, normals = this.head.facing(), gl = this.gl;
    this.rows.forEach((row, i) => {
      for (let axis = 0; axis < 3; axis++) {
        this.positions[3 * i + axis] = vertices[3 * row + axis];
        this.normals[3 * i + axis] = normals[3 * row + axis];
      }
    });
    for (const [name, values] of [["position", this.positions], ["normal", this.normals]]) {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
      gl.bufferSubData(gl.ARRAY_BUFFER, 0, values);
    }
    this.stale = true;
  }

  draw() {
    if (!this.stale) return;
    this.stale = false;
    const gl = this.gl, canvas = this.canvas, ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const { matrix, eye } = this.camera(width / height);
    const place = (name) => gl.getUniformLocation(this.program, name);
    const { azimuth, elevation, strength, sky } = this.light;
    gl.uniformMatrix4fv(place("clip"), false, matrix);
    gl.uniform3fv(place("eye"), eye);
    gl.uniform3f(place("lamp"), Math.sin(azimuth) * Math.cos(elevation), Math.sin(elevation),
      Math.cos(azimuth) * Math.cos(elevation));
    gl.uniform1f(place("strength"), strength);
    gl.uniform1f(place("sky"), sky);
    gl.uniform1f(place("textured"), this.textured ? 1 : 0);
    const list = this.wired ? this.edges : this.triangles;
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, list.buffer);
    gl.drawElements(this.wired ? gl.LINES : gl.TRIANGLES, list.count, gl.UNSIGNED_INT, 0);
    this.draws += 1;
  }

  /** World to clip space (columns first), and where the eye is. */
  camera(aspect) {
    const [sy, cy, sp, cp] = [Math.sin(this.yaw), Math.cos(this.yaw), Math.sin(this.pitch), Math.cos(this.pitch)];
    const back = [sy * cp, sp, cy * cp], right = [cy, 0, -sy], up = [-sy * sp, cp, -cy * sp];
    // A narrow window shows the whole head as well.
    const distance = this.distance * Math.max(1, 0.95 / aspect);
    const eye = this.target.map((value, axis) => value + distance * back[axis]);
    const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    const f = 1 / Math.tan(FIELD_OF_VIEW / 2), near = 0.02, far = 20;
    const a = (far + near) / (near - far), b = (2 * far * near) / (near - far);
    const matrix = [];
    for (let axis = 0; axis < 3; axis++) {
      matrix.push((f / aspect) * right[axis], f * up[axis], a * back[axis], -back[axis]);
    }
    const z = -dot(back, eye);
    matrix.push((-f / aspect) * dot(right, eye), -f * dot(up, eye), a * z + b, -z);
    return { matrix, eye };
  }
}
