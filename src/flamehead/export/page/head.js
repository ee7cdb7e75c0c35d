// The head's forward pass: coefficients and rotations to vertices, as in flamehead.model.
//
//   p = template + sum_k c_k morph_k + pose correctives (R - I)
//   v_i = sum_j w_ij (G_j (p_i - J_j) + posed_j) + translation
//
// Morphs are stored as 16-bit integers, each with a scale of its own.

function decodeBytes(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes.buffer;
}

const floats = (text) => new Float32Array(decodeBytes(text));
const integers = (text) => new Int16Array(decodeBytes(text));
const indices = (text) => new Uint32Array(decodeBytes(text));

/** Rotation matrix (nine numbers, rows first) of the axis-angle vector at `at`. */
function rotationOf(vectors, at) {
  const x = vectors[at], y = vectors[at + 1], z = vectors[at + 2];
  const squared = x * x + y * y + z * z;
  const angle = Math.sqrt(squared);
  // Sine over angle, and one minus cosine over its square; series near zero.
  const a = squared < 1e-8 ? 1 - squared / 6 : Math.sin(angle) / angle;
  const b = squared < 1e-8 ? 0.5 - squared / 24 : (1 - Math.cos(angle)) / squared;
  return [
    1 - b * (y * y + z * z), b * x * y - a * z, b * x * z + a * y,
    b * x * y + a * z, 1 - b * (x * x + z * z), b * y * z - a * x,
    b * x * z - a * y, b * y * z + a * x, 1 - b * (x * x + y * y),
  ];
}

function product(a, b) {
  const out = new Array(9);
  for (let r = 0; r < 3; r++) {
    for (let c = 0; c < 3; c++) out[3 * r + c] = a[3 * r] * b[c] + a[3 * r + 1] * b[3 + c] + a[3 * r + 2] * b[6 + c];
  }
  return out;
}

function applied(m, x, y, z) {
  return [m[0] * x + m[1] * y + m[2] * z, m[3] * x + m[4] * y + m[5] * z, m[6] * x + m[7] * y + m[8] * z];
}

class Head {
  constructor(data) {
    this.template = floats(data.template);
    this.weights = floats(data.weights);
    this.morphs = integers(data.morphs.values);
    this.scales = floats(data.morphs.scales);
    this.jointMorphs = floats(data.morphs.joints);
    this.correctives = integers(data.correctives.values);
    this.correctiveScales = floats(data.correctives.scales);
    this.joints = floats(data.joints);
    this.parents = data.parents;
    this.faces = indices(data.faces);
    this.size = this.template.length;
    this.rest = new Float32Array(this.size);
    this.vertices = new Float32Array(this.size);
    this.normals = new Float32Array(this.size);
  }

  /** Add `amount` times row `row` of 16-bit fields to the head at rest. */
  add(fields, row, amount) {
    const rest = this.rest, start = row * this.size;
    for (let i = 0; i < this.size; i++) rest[i] += amount * fields[start + i];
  }

  /** Pose the head; returns its vertices, metres. `pose` holds five axis-angle vectors. */
  posed(coefficients, pose, translation) {
    const joints = Float64Array.from(this.joints);
    this.rest.set(this.template);
    coefficients.forEach((amount, k) => {
      if (amount === 0) return;
      this.add(this.morphs, k, amount * this.scales[k]);
      for (let i = 0; i < joints.length; i++) joints[i] += amount * this.jointMorphs[k * joints.length + i];
    });
    const turns = this.parents.map((_, j) => rotationOf(pose, 3 * j));
    for (let j = 1; j < turns.length; j++) {
      for (let i = 0; i < 9; i++) {
        const amount = turns[j][i] - (i % 4 === 0 ? 1 : 0), row = 9 * (j - 1) + i;
        if (amount !== 0) this.add(this.correctives, row, amount * this.correctiveScales[row]);
      }
    }
    this.skin(this.transforms(turns, joints), translation);
    return this.vertices;
  }

  /** Twelve numbers for each joint: rotation, then what is added after it. */
  transforms(turns, joints) {
    const whole = [], placed = [];
    this.parents.forEach((parent, j) => {
      const at = [joints[3 * j], joints[3 * j + 1], joints[3 * j + 2]];
      if (parent < 0) {
        whole.push(turns[j]);
        placed.push(at);
      } else {
        const bone = applied(whole[parent], ...at.map((value, axis) => value - joints[3 * parent + axis]));
        whole.push(product(whole[parent], turns[j]));
        placed.push(bone.map((value, axis) => value + placed[parent][axis]));
      }
    });
    return whole.map((turn, j) => {
      const moved = applied(turn, joints[3 * j], joints[3 * j + 1], joints[3 * j + 2]);
      return [...turn, ...moved.map((value, axis) => placed[j][axis] - value)];
    });
  }

  skin(transforms, translation) {
    const { rest, weights, vertices } = this, count = transforms.length;
    const mixed = new Float64Array(12);
    for (let v = 0; v < this.size / 3; v++) {
      mixed.fill(0);
      for (let j = 0; j < count; j++) {
        const weight = weights[v * count + j];
        if (weight !== 0) for (let i = 0; i < 12; i++) mixed[i] += weight * transforms[j][i];
      }
      const x = rest[3 * v], y = rest[3 * v + 1], z = rest[3 * v + 2];
      for (let axis = 0; axis < 3; axis++) {
        const row = 3 * axis;
        vertices[3 * v + axis] =
          mixed[row] * x + mixed[row + 1] * y + mixed[row + 2] * z + mixed[9 + axis] + translation[axis];
      }
    }
  }

  /** Normals of the vertices, means over the triangles around them by area. */
  facing() {
    const { faces, vertices: p, normals: n } = this;
    n.fill(0);
    for (let f = 0; f < faces.length; f += 3) {
      const a = 3 * faces[f], b = 3 * faces[f + 1], c = 3 * faces[f + 2];
      const ux = p[b] - p[a], uy = p[b + 1] - p[a + 1], uz = p[b + 2] - p[a + 2];
      const vx = p[c] - p[a], vy = p[c + 1] - p[a + 1], vz = p[c + 2] - p[a + 2];
      const x = uy * vz - uz * vy, y = uz * vx - ux * vz, z = ux * vy - uy * vx;
      for (const i of [a, b, c]) {
        n[i] += x;
        n[i + 1] += y;
        n[i + 2] += z;
      }
    }
    for (let i = 0; i < n.length; i += 3) {
      const length = Math.hypot(n[i], n[i + 1], n[i + 2]) || 1;
      n[i] /= length;
      n[i + 1] /= length;
      n[i + 2] /= length;
    }
    return n;
  }
}
