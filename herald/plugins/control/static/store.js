// What the page knows of the run: answers of the interface, kept current by the stream. Every list here has an end.

const MOST = { fills: 500, ended: 300, lines: 500, points: 1500, waiting: 500 };

const fillKey = (fill) => `${fill.order_id} ${fill.id}`;
const keepLast = (list, most) => { if (list.length > most) list.splice(0, list.length - most); };

export class Store {
  constructor(api) {
    this.api = api;
    this.state = null;
    this.series = [];
    this.quotes = new Map();
    this.orders = new Map();
    this.fills = [];
    this.ended = new Map();
    this.lines = [];
    this.equity = [];
    this.waiting = null;
  }

  // Fetch everything anew. What the stream brings meanwhile waits, and is applied on top.
  async load() {
    this.waiting = [];
    try {
      const [state, series, quotes, fills, ended, lines, equity] = await Promise.all([
        "state", "series", "quotes", `fills?limit=${MOST.fills}`, `orders?state=ended&limit=${MOST.ended}`, `logs?limit=${MOST.lines}`, "equity",
      ].map((path) => this.api.get(path)));
      this.series = series.series;
      this.quotes = new Map(quotes.quotes.map((quote) => [quote.symbol, [quote.time, quote.bid, quote.ask]]));
      this.fills = fills.fills;
      this.ended = new Map(ended.orders.map((order) => [order.request.id, order]));
      this.lines = lines.lines;
      this.equity = [];
      for (const [time, equityThen, balance] of equity.rows) this.#point(time, equityThen, balance);
      this.#setState(state);
    } finally {
      const waiting = this.waiting ?? [];
      this.waiting = null;
      if (this.state) for (const message of waiting) this.take(message);
    }
  }

  // Take over one message; return whether it could be used now.
  take(message) {
    if (this.waiting) {
      if (this.waiting.length >= MOST.waiting) this.waiting.shift();
      this.waiting.push(message);
      return false;
    }
    if (!this.state) return false;
    for (const [symbol, ...quote] of message.quotes ?? []) this.quotes.set(symbol, quote);
    for (const order of message.orders ?? []) this.#order(order);
    if (message.fills) {
      const known = new Set(this.fills.map(fillKey));
      for (const fill of message.fills) if (!known.has(fillKey(fill))) this.fills.push(fill);
      keepLast(this.fills, MOST.fills);
    }
    if (message.log) {
      const last = this.lines.length ? this.lines[this.lines.length - 1].number : 0;
      for (const line of message.log) if (line.number > last) this.lines.push(line);
      keepLast(this.lines, MOST.lines);
    }
    if (message.state) this.#setState(message.state);
    return true;
  }

  get isReal() { return this.state.connectors.some((one) => one.account.real); }

  get symbols() {
    const named = this.state.strategies.flatMap((one) => one.symbols);
    return [...new Set([...this.series.map((one) => one.symbol), ...named])];
  }

  digits(symbol) { return this.series.find((one) => one.symbol === symbol)?.digits ?? 5; }

  // The last point before the run's UTC day began (isWhole), or the first one of that day; null where there is none.
  get dayStart() {
    const begin = Math.floor(this.state.time / 864e11) * 86400;
    let found = null;
    for (let i = this.equity.length - 1; i >= 0; i -= 1) {
      const point = this.equity[i];
      if (point.time < begin) return { ...point, isWhole: true };
      found = point;
    }
    return found;
  }

  #setState(state) {
    this.state = state;
    this.orders = new Map(state.orders.map((order) => [order.request.id, order]));
    this.#point(state.time, state.equity, state.balance);
  }

  #order(order) {
    const id = order.request.id;
    if (["pending", "sent", "accepted", "partial", "unknown"].includes(order.status)) {
      this.orders.set(id, order);
      this.ended.delete(id);
      return;
    }
    this.orders.delete(id);
    this.ended.delete(id);
    this.ended.set(id, order);
    while (this.ended.size > MOST.ended) this.ended.delete(this.ended.keys().next().value);
  }

  // One point a second; older ones further apart where there are more than a screen shows apart.
  #point(time, equity, balance) {
    if (equity === null || balance === null) return;
    const point = { time: Math.floor(time / 1e9), equity, balance };
    // As the server does: a clock may be set back, and a chart takes time in one direction only.
    while (this.equity.length && this.equity[this.equity.length - 1].time >= point.time) this.equity.pop();
    this.equity.push(point);
    if (this.equity.length > MOST.points) {
      const half = this.equity.length >> 1;
      this.equity = [...this.equity.slice(0, half).filter((_, index) => index % 2 === 0), ...this.equity.slice(half)];
    }
  }
}
