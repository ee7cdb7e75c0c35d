// Playing a track: rows of 16-bit numbers, each column with a lowest value and a step of its own.

class Player {
  constructor(data, show) {
    this.show = show;
    this.times = floats(data.times);
    this.lowest = floats(data.lowest);
    this.steps = floats(data.steps);
    this.values = new Uint16Array(decodeBytes(data.values));
    this.columns = data.columns;
    this.count = this.times.length;
    this.frame = 0;
    this.playing = false;
    this.place();
  }

  place() {
    const find = (id) => document.getElementById(id);
    this.button = find("play");
    this.timeline = find("timeline");
    this.clock = find("clock");
    this.speed = find("speed");
    this.timeline.max = this.count - 1;
    find("player").hidden = false;
    this.button.addEventListener("click", () => (this.playing ? this.pause() : this.play()));
    this.timeline.addEventListener("input", () => {
      this.pause();
      this.seek(Number(this.timeline.value));
    });
    this.speed.addEventListener("change", () => this.playing && this.play());
    find("motion").addEventListener("change", () => this.seek(this.frame));
    window.addEventListener("keydown", (event) => {
      if (event.key === " " && !(event.target instanceof HTMLButtonElement)) {
        event.preventDefault();
        this.button.click();
      }
    });
  }

  /** The numbers of a frame, by name of their group. */
  row(frame) {
    const width = this.lowest.length, out = {};
    for (const [name, [first, last]] of Object.entries(this.columns)) {
      out[name] = Float32Array.from({ length: last - first }, (_, i) => {
        const column = first + i;
        return this.lowest[column] + this.steps[column] * this.values[frame * width + column];
      });
    }
    return out;
  }

  seek(frame) {
    this.frame = Math.min(Math.max(frame, 0), this.count - 1);
    this.timeline.value = this.frame;
    mark(this.timeline, 0);
    this.clock.textContent = `${this.times[this.frame].toFixed(2)} s \u00b7 ${this.frame + 1} / ${this.count}`;
    this.show(this.row(this.frame));
  }

  play() {
    this.playing = true;
    this.button.innerHTML = "&#10074;&#10074;";
    this.button.setAttribute("aria-label", "Pause");
    if (this.frame === this.count - 1) this.seek(0);
    this.began = performance.now();
    this.from = this.times[this.frame];
  }

  pause() {
    this.playing = false;
    this.button.innerHTML = "&#9654;";
    this.button.setAttribute("aria-label", "Play");
  }

  /** Called for every picture: go on to the frame whose time has come, and round at the end. */
  tick(now) {
    if (!this.playing) return;
    const time = this.from + ((now - this.began) / 1000) * Number(this.speed.value);
    let frame = this.frame;
    while (frame + 1 < this.count && this.times[frame + 1] <= time) frame += 1;
    if (frame !== this.frame) this.seek(frame);
    const pause = this.count > 1 ? this.times[this.count - 1] - this.times[this.count - 2] : 1;
    if (frame === this.count - 1 && time > this.times[frame] + pause) {
      this.seek(0);
      this.began = now;
      this.from = this.times[0];
    }
  }
}
