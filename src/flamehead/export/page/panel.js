// The controls: presets, and sliders for whatever the data names.

/** Colour a slider's track from its zero to its value. */
function mark(slider, zero) {
  const low = Number(slider.min), span = Number(slider.max) - low || 1;
  const at = (value) => (100 * Math.min(Math.max((value - low) / span, 0), 1)).toFixed(2);
  const ends = [at(zero), at(Number(slider.value))].sort((a, b) => a - b);
  slider.style.setProperty("--from", `${ends[0]}%`);
  slider.style.setProperty("--to", `${ends[1]}%`);
}

function element(kind, properties = {}, ...children) {
  const out = Object.assign(document.createElement(kind), properties);
  out.append(...children);
  return out;
}

const titled = (name) => {
  const words = name.replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
};

class Panel {
  constructor(root, changed) {
    this.root = root;
    this.changed = changed;
    this.sliders = [];
    this.linked = true;
  }

  /** A row of buttons: [label, what it does, class]. */
  bar(buttons) {
    const bar = element("div", { className: "bar" });
    for (const [label, run, className = ""] of buttons) {
      bar.append(element("button", { type: "button", textContent: label, className, onclick: run }));
    }
    this.root.append(bar);
  }

  group(title, note, open) {
    const rows = element("div", { className: "rows" });
    const head = element("summary", {}, title, element("small", { textContent: note }));
    this.root.append(element("details", { open }, head, rows));
    return rows;
  }

  /** A slider over a number that `get` reads and `set` writes. */
  slider({ name, low, high, get, set, unit = "", digits = 2 }, output) {
    const step = digits === 0 ? 1 : 0.01;
    const input = element("input", { type: "range", min: low, max: high, step, title: `${titled(name)}; double-click for zero` });
    input.dataset.name = name;
    input.setAttribute("aria-label", titled(name));
    const refresh = () => {
      const value = get();
      input.min = Math.min(low, Math.floor(value));
      input.max = Math.max(high, Math.ceil(value));
      input.value = value;
      mark(input, 0);
      if (output) output.textContent = value.toFixed(digits).replace(/^-(?=[0.]*$)/, "") + unit;
    };
    const take = () => {
      set(Number(input.value));
      this.changed();
      this.refresh();
    };
    input.addEventListener("input", take);
    input.addEventListener("dblclick", () => {
      input.value = 0;
      take();
    });
    this.sliders.push(refresh);
    refresh();
    return input;
  }

  row(rows, options) {
    const output = element("output");
    const label = element("span", { textContent: titled(options.name), title: titled(options.name) });
    rows.append(element("label", { className: "row" }, label, this.slider(options, output), output));
  }

  /** Two sliders for the two sides of a movement; linked, they move as one. */
  pair(rows, name, left, right) {
    const tied = (one, other) => ({
      ...one,
      set: (value) => {
        one.set(value);
        if (this.linked) other.set(value);
      },
    });
    const label = element("span", { textContent: titled(name), title: titled(name) });
    rows.append(element("div", { className: "row pair" }, label, this.slider(tied(right, left)), this.slider(tied(left, right))));
  }

  /** Sliders for coefficients; NAME_left and NAME_right share a row, the subject's right first, as one sees the face. */
  coefficients(rows, entries) {
    const byName = new Map(entries.map((entry) => [entry.name, entry]));
    const pairs = entries.filter(({ name }) => name.endsWith("_left") && byName.has(name.replace(/_left$/, "_right")));
    if (pairs.length) {
      const box = element("input", { type: "checkbox", checked: true, onchange: () => (this.linked = box.checked) });
      rows.append(element("label", { className: "check" }, box, "Move both sides together"));
      rows.append(element("div", { className: "sides" }, element("span"), element("span", { textContent: "Right" }), element("span", { textContent: "Left" })));
    }
    const rights = new Set(pairs.map(({ name }) => name.replace(/_left$/, "_right")));
    for (const entry of pairs) {
      const base = entry.name.replace(/_left$/, "");
      this.pair(rows, base, entry, byName.get(`${base}_right`));
    }
    for (const entry of entries) if (!pairs.includes(entry) && !rights.has(entry.name)) this.row(rows, entry);
  }

  check(rows, label, value, set) {
    const box = element("input", { type: "checkbox", checked: value, onchange: () => set(box.checked) });
    rows.append(element("label", { className: "check" }, box, label));
  }

  refresh() {
    for (const update of this.sliders) update();
  }
}
