// The tail of the run's log: follows while its end is in view, waits while it is paused.

import { make, setText } from "./dom.js";
import { hour, stamp } from "./format.js";

const ROWS = 200;
const LEVELS = { INFO: 0, WARNING: 1, ERROR: 2 };

export class LogTail {
  constructor(box, level, pause, text) {
    Object.assign(this, { box, level, pause, text });
    this.last = 0;
    this.isPaused = false;
    this.lines = [];
    level.addEventListener("change", () => this.#all());
    pause.addEventListener("click", () => {
      this.isPaused = !this.isPaused;
      pause.setAttribute("aria-pressed", String(this.isPaused));
      setText(pause, this.isPaused ? "Go on" : "Pause");
      this.set(this.lines);
    });
  }

  // Show what is new in *lines*, [{number, time, level, kind, text}].
  set(lines) {
    this.lines = lines;
    const fresh = lines.filter((line) => line.number > this.last);
    if (this.isPaused) {
      setText(this.text, fresh.length ? `${fresh.length} new` : "paused");
      return;
    }
    setText(this.text, "");
    if (lines.length && lines[lines.length - 1].number < this.last) { this.#all(); return; } // the run began anew
    if (fresh.length) this.#append(fresh);
  }

  #all() {
    this.box.replaceChildren();
    this.last = 0;
    this.#append(this.lines);
  }

  #append(lines) {
    const least = LEVELS[this.level.value];
    const isAtEnd = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 40;
    const shown = lines.filter((line) => (LEVELS[line.level] ?? 0) >= least).slice(-ROWS);
    this.box.append(...shown.map((line) => make("p", { name: line.level.toLowerCase() === "info" ? "" : line.level.toLowerCase() },
      make("time", { text: hour(line.time), title: stamp(line.time) }), make("b", { text: line.level }), make("span", { text: line.text }))));
    if (lines.length) this.last = Math.max(this.last, lines[lines.length - 1].number);
    while (this.box.children.length > ROWS) this.box.firstChild.remove();
    if (isAtEnd) this.box.scrollTop = this.box.scrollHeight;
  }
}
