// Wiring: the state of the head, what may change it, and the loop that draws it.

const PRESETS = {
  Smile: { smile: 1.1, cheek_raise: 0.6, squint: 0.3, lips_part: 0.6, turns: { jaw: 2 } },
  Surprise: { brow_raise_inner: 1, brow_raise_outer: 1, wide: 1, funnel: 0.2, turns: { jaw: 13 } },
  Anger: { brow_lower: 1.1, nose_wrinkle: 0.6, squint: 0.5, lips_press: 1, frown: 0.4 },
  Sadness: { brow_raise_inner: 1, frown: 0.9, chin_raise: 0.6, turns: { up: -8 } },
  Disgust: { nose_wrinkle: 1.2, upper_lip_raise: 0.8, brow_lower: 0.6, frown: 0.4, squint: 0.4 },
  Kiss: { pucker: 1.2, brow_raise_outer: 0.3 },
  Wink: { blink_left: 1, smile_left: 0.9, cheek_raise_left: 0.8 },
  Talk: { lips_part: 0.6, funnel: 0.3, turns: { jaw: 9 } },
};
const DEGREE = Math.PI / 180;
const [ROOT, NECK, JAW, LEFT_EYE, RIGHT_EYE] = [0, 3, 6, 9, 12];
// A normal draw is a plausible face within this many standard deviations.
const SPREAD = 0.9;

class Page {
  constructor(data) {
    this.data = data;
    this.head = new Head(data);
    this.view = new View(document.getElementById("canvas"), this.head, data);
    this.names = data.names;
    this.kinds = data.kinds;
    this.reset();
    this.panel = new Panel(document.getElementById("controls"), () => (this.dirty = true));
    this.build();
    if (data.track) this.player = new Player(data.track, (row) => this.take(row));
    if (this.player) this.player.seek(0);
    requestAnimationFrame((now) => this.loop(now));
  }

  reset() {
    const start = this.data.start;
    this.coefficients = Float32Array.from(start.coefficients);
    this.pose = Float32Array.from(start.pose);
    this.translation = Float32Array.from(start.translation);
    this.dirty = true;
  }

  /** Rows of the coefficients whose name is `name`, or that with a side. */
  rowsOf(name) {
    const wanted = [name, `${name}_left`, `${name}_right`];
    return this.names.flatMap((known, row) => (wanted.includes(known) && this.kinds[row] !== "shape" ? [row] : []));
  }

  /** Face and gaze at rest; identity and the head's turn stay. */
  relax() {
    this.kinds.forEach((kind, row) => {
      if (kind !== "shape") this.coefficients[row] = 0;
    });
    this.pose.fill(0, JAW);
  }

  preset(amounts) {
    this.relax();
    for (const [name, amount] of Object.entries(amounts)) {
      if (name !== "turns") for (const row of this.rowsOf(name)) this.coefficients[row] = amount;
    }
    const { jaw = 0, up = 0, aside = 0 } = amounts.turns || {};
    this.pose[JAW] = jaw * DEGREE;
    for (const eye of [LEFT_EYE, RIGHT_EYE]) {
      this.pose[eye] = -up * DEGREE;
      this.pose[eye + 1] = aside * DEGREE;
    }
    this.changed();
  }

  randomize() {
    const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    this.kinds.forEach((kind, row) => {
      if (kind === "shape") this.coefficients[row] = Math.min(Math.max(SPREAD * normal(), -2.5), 2.5);
    });
    this.changed();
  }

  changed() {
    if (this.player) this.player.pause();
    this.dirty = true;
    this.panel.refresh();
  }

  build() {
    const named = Object.entries(PRESETS).filter(([, amounts]) =>
      Object.keys(amounts).every((name) => name === "turns" || this.rowsOf(name).length));
    const some = named.length ? named : [["Open mouth", { turns: { jaw: 15 } }], ["Look aside", { turns: { aside: 25 } }]];
    this.panel.bar([
      ["Random person", () => this.randomize(), "main"],
      ["Reset", () => {
        this.reset();
        this.view.home();
        this.changed();
      }],
    ]);
    this.panel.bar([["Neutral", () => this.preset({})], ...some.map(([name, amounts]) => [name, () => this.preset(amounts)])]);
    this.turns();
    this.sliders("expression", "Expression", true);
    this.sliders("shape", "Identity", false);
    this.light();
    const panel = document.getElementById("panel"), fold = document.getElementById("fold");
    fold.onclick = () => fold.setAttribute("aria-expanded", String(!panel.classList.toggle("folded")));
  }

  turns() {
    const joint = (name, low, high, at, sign = 1) => ({
      name, low, high, unit: "\u00b0", digits: 0,
      get: () => (sign * this.pose[at[0]]) / DEGREE,
      set: (value) => at.forEach((index) => (this.pose[index] = sign * value * DEGREE)),
    });
    const rows = this.panel.group("Jaw, eyes, head", "degrees", true);
    this.panel.row(rows, joint("jaw_open", 0, 30, [JAW]));
    this.panel.row(rows, joint("jaw_aside", -8, 8, [JAW + 1]));
    this.panel.row(rows, joint("look_aside", -35, 35, [LEFT_EYE + 1, RIGHT_EYE + 1]));
    this.panel.row(rows, joint("look_up", -25, 25, [LEFT_EYE, RIGHT_EYE], -1));
    const lids = this.names.flatMap((_, row) => (this.kinds[row] === "eyelid" ? [row] : []));
    if (lids.length) this.panel.coefficients(rows, lids.map((row) => this.coefficient(row)));
    this.panel.row(rows, joint("turn_head", -60, 60, [NECK + 1]));
    this.panel.row(rows, joint("nod", -35, 35, [NECK]));
    this.panel.row(rows, joint("tilt_head", -35, 35, [NECK + 2], -1));
  }

  coefficient(row) {
    const [low, high] = this.data.ranges[row];
    return {
      name: this.names[row], low, high,
      get: () => this.coefficients[row],
      set: (value) => (this.coefficients[row] = value),
    };
  }

  sliders(kind, title, open) {
    const found = this.kinds.flatMap((known, row) => (known === kind ? [row] : []));
    if (!found.length) return;
    const rows = this.panel.group(title, `${found.length}, standard deviations`, open);
    this.panel.coefficients(rows, found.map((row) => this.coefficient(row)));
  }

  light() {
    const rows = this.panel.group("Light and surface", "", false), light = this.view.light;
    const number = (name, low, high, key, factor, unit, digits) => this.panel.row(rows, {
      name, low, high, unit, digits,
      get: () => light[key] * factor,
      set: (value) => {
        light[key] = value / factor;
        this.view.stale = true;
      },
    });
    number("light_aside", -120, 120, "azimuth", 1 / DEGREE, "\u00b0", 0);
    number("light_from_above", -80, 80, "elevation", 1 / DEGREE, "\u00b0", 0);
    number("lamp", 0, 3, "strength", 1, "", 2);
    number("sky", 0, 1.5, "sky", 1, "", 2);
    const set = (name) => (value) => {
      this.view[name] = value;
      this.view.stale = true;
    };
    if (this.data.texture) this.panel.check(rows, "Texture", true, set("textured"));
    this.panel.check(rows, "Edges only", false, set("wired"));
  }

  /** Show a frame of the track; without the head's motion the head stands as it does at rest. */
  take(row) {
    this.kinds.forEach((kind, k) => {
      if (kind !== "shape") this.coefficients[k] = 0;
    });
    this.data.track.rows.forEach((k, i) => (this.coefficients[k] = row.coefficients[i]));
    this.pose.set(row.pose);
    this.translation.set(row.translation);
    if (!document.getElementById("motion").checked) {
      this.pose.fill(0, ROOT, JAW);
      this.translation.fill(0);
    }
    this.dirty = true;
    this.panel.refresh();
  }

  loop(now) {
    if (this.player) this.player.tick(now);
    if (this.dirty) {
      this.dirty = false;
      this.head.posed(this.coefficients, this.pose, this.translation);
      this.view.update();
    }
    this.view.draw();
    requestAnimationFrame((next) => this.loop(next));
  }
}

function complain(text) {
  const message = document.getElementById("message");
  message.textContent = text;
  message.hidden = false;
}

try {
  const page = new Page(JSON.parse(document.getElementById("head-data").textContent));
  // For scripts: the page itself, and vertices of any parameters as plain numbers.
  window.flamehead = {
    page,
    vertices: (coefficients, pose, translation) => Array.from(page.head.posed(coefficients, pose, translation)),
  };
} catch (error) {
  complain(error.message);
  throw error;
}
