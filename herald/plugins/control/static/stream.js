// The stream of news: opened again with a growing pause when it breaks, and watched, because one that is open may be silent.

const FIRST_PAUSE = 1000, LONGEST_PAUSE = 30000, SILENCE = 5000;

export class Stream {
  // *opened* is called with every new stream, *message* with what it brings, *status* with
  // {link: "connecting" | "live" | "silent" | "broken", since, next} once a second and after every change.
  constructor({ opened, message, status, probe }) {
    Object.assign(this, { opened, message, status, probe });
    this.source = null;
    this.attempts = 0;
    this.heard = 0;
    this.next = 0;
    this.timer = 0;
    this.isOn = false;
    window.addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.#hurry(); });
  }

  start() {
    this.stop();
    this.isOn = true;
    this.heard = performance.now();
    this.attempts = 0;
    this.ticker = setInterval(() => this.#tell(), 1000);
    this.#open();
  }

  stop() {
    this.isOn = false;
    clearInterval(this.ticker);
    clearTimeout(this.timer);
    this.timer = 0;
    this.source?.close();
    this.source = null;
  }

  // Begin anew after a pause: the stream is there, but what it builds on could not be fetched.
  retry() {
    if (!this.isOn || !this.source) return;
    this.source.close();
    this.#again();
  }

  #open() {
    this.timer = 0;
    const source = new EventSource("/api/v1/events");
    this.source = source;
    let isFirst = true;
    source.onmessage = ({ data }) => {
      this.heard = performance.now();
      const message = JSON.parse(data);
      if (isFirst) {
        isFirst = false;
        // It only counts as mended when everything could be fetched; otherwise the pauses go on growing.
        this.opened().then((isWhole) => {
          if (isWhole && source === this.source) { this.attempts = 0; this.#tell(); }
        });
      }
      this.message(message);
      if (this.link !== "live") this.#tell();
    };
    // The browser would try again by itself, at once and for ever; this way the pauses grow, and the page says so.
    source.onerror = () => {
      source.close();
      if (source === this.source) this.#again();
    };
    this.#tell();
  }

  #again() {
    this.source = null;
    const bound = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.attempts);
    this.attempts += 1;
    const pause = bound * (0.5 + Math.random() / 2);
    this.next = performance.now() + pause;
    this.timer = setTimeout(() => this.#probe(), pause);
    this.#tell();
  }

  // A stream does not say why it was refused; a question does, and a session that is over leads to the log-in.
  async #probe() {
    this.timer = 0;
    try { await this.probe(); } catch (error) {
      if (error.status === 401) return;
      if (this.isOn) this.#again();
      return;
    }
    if (this.isOn) this.#open();
  }

  #hurry() {
    if (!this.isOn || !this.timer) return;
    clearTimeout(this.timer);
    this.#probe();
  }

  #tell() {
    if (!this.isOn) return;
    const now = performance.now(), since = now - this.heard;
    if (this.timer) this.link = "broken";
    else this.link = since > SILENCE ? "silent" : this.attempts ? "connecting" : "live";
    this.status({ link: this.link, since: since / 1000, next: Math.max(0, this.next - now) / 1000 });
  }
}
