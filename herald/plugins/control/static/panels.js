// Everything on the page besides the charts and the log: header, banners, figures, tables, limits and connectors.

import { guard } from "./access.js";
import { sideOf, termsOf } from "./acts.js";
import { at, make, setClass, setText } from "./dom.js";
import { hour, lasting, loose, money, number, percent, price, signed, size, stamp, tone } from "./format.js";
import { Table } from "./tables.js";

const GOOD = new Set(["healthy", "closed", "ok", "ready", "recovered", "connected", "ACTIVE"]);
const FAIR = new Set(["degraded", "half_open", "half-open", "stalled", "slow", "reconnecting", "connecting", "REDUCING"]);
const toneOf = (state) => (GOOD.has(state) ? "good" : FAIR.has(state) ? "fair" : "bad");
const STATUS_TONES = { filled: "good", accepted: "good", partial: "fair", unknown: "bad", rejected: "bad", denied: "bad", abandoned: "bad" };

const button = (text, name = "small") => make("button", { text, type: "button", name });
const sideText = (side) => sideOf(side).toUpperCase();
const sideTone = (side) => (side > 0 ? "up" : "down");

export class Panels {
  constructor(store, acts) {
    this.store = store;
    this.acts = acts;
    this.banners = new Map();
    this.makeTables();
    this.makeParts();
  }

  // --- header --------------------------------------------------------------------------------------------------------

  header() {
    const { state, isReal } = this.store;
    const name = state.source.split(/[\\/]/).pop();
    setText(at("run"), name);
    at("run").title = state.source;
    setText(at("clock"), `${stamp(state.time)} UTC`);
    const title = `${signed(state.equity - state.balance)} ${state.currency} · ${name} · Herald`;
    if (document.title !== title) document.title = title;
    const isLive = state.mode === "live";
    setText(at("mode"), isReal ? "LIVE · REAL MONEY" : isLive ? "LIVE · DEMO" : state.mode.toUpperCase());
    setClass(at("mode"), `badge ${isReal ? "real" : isLive ? "live" : "plain"}`);
    setClass(at("top"), `top ${isReal ? "real" : ""}`.trim());
    setText(at("trading"), state.started ? state.trading : "STARTING");
    setClass(at("trading"), `badge ${state.started ? toneOf(state.trading) : "fair"}`);
  }

  link({ link, since, next }) {
    const text = { live: "live", connecting: "connecting", silent: `silent for ${lasting(since)}`, broken: next ? `again in ${Math.ceil(next)} s` : "connecting" }[link];
    const badge = at("link");
    // Only a change of state is worth saying aloud; the seconds are for the eye.
    badge.setAttribute("aria-live", link === this.said ? "off" : "polite");
    this.said = link;
    setText(badge, text);
    setClass(badge, `badge ${{ live: "good", connecting: "fair", silent: "bad", broken: "bad" }[link]} dot`);
    const isOld = since > 5;
    document.body.classList.toggle("stale", isOld);
    const when = this.store.state ? ` What is shown is from ${stamp(this.store.state.time)} UTC.` : "";
    this.banner("link", isOld && (link === "silent" ? `The run is not heard: it may hang, or have ended.${when}` : `The server cannot be reached.${when} It is tried again and again.`), "bad");
  }

  // Show, change or take away the banner *key*; *acts* are [text, scope, act].
  banner(key, text, kind = "fair", acts = []) {
    const known = this.banners.get(key);
    if (!text) {
      known?.element.remove();
      this.banners.delete(key);
      return;
    }
    if (known?.text === text) return;
    known?.element.remove();
    const buttons = acts.map(([label, scope, act]) => guard(button(label), scope, act));
    const element = make("div", { name: `banner ${kind}`, "data-banner": key }, make("p", { text }), ...buttons);
    this.banners.set(key, { element, text });
    at("banners").append(element);
  }

  warnings() {
    const { state } = this.store, wanted = new Set(["link"]);
    const show = (key, ...rest) => { wanted.add(key); this.banner(key, ...rest); };
    for (const one of state.scopes) {
      const pending = one.pending ? " Orders or positions that it wants gone are still there." : "";
      const text = `${one.scope === "account" ? "Trading" : one.scope} is ${one.state} since ${stamp(one.time)}: ${one.why} (${one.who}).${pending}`;
      show(`scope ${one.scope}`, text, one.state === "HALTED" ? "bad" : "fair", [["Rearm", "kill:reset", () => this.acts.rearm(one)]]);
    }
    if (state.unresolved.length) show("unresolved", `Nobody knows whether the broker has ${state.unresolved.slice(0, 5).join(", ")}${state.unresolved.length > 5 ? ` and ${state.unresolved.length - 5} more` : ""}; it is being found out.`, "bad");
    if (!state.journal) show("journal", "The journal cannot be written: nothing new is sent.", "bad");
    for (const one of state.strategies) if (one.failed) show(`failed ${one.name}`, `Strategy ${one.name} was stopped: ${one.failed}`, "bad");
    const external = Object.entries(state.external);
    if (external.length) show("external", `Held at the broker, but in no book: ${external.map(([where, lots]) => `${where} ${size(lots)}`).join(", ")}`, "fair");
    for (const key of [...this.banners.keys()]) if (!wanted.has(key)) this.banner(key, "");
  }

  cards() {
    const { store } = this, { state } = store;
    const put = (id, text, kind = "") => { setText(at(id), text); setClass(at(id), kind); };
    const open = state.equity - state.balance;
    put("equity-now", `${money(state.equity)} ${state.currency}`);
    put("open-profit", signed(open), tone(open));
    const begin = store.dayStart, change = begin ? state.equity - begin.equity : null;
    setText(at("today-label"), begin && !begin.isWhole ? `Since ${stamp(begin.time * 1e9).slice(11, 16)}` : "Today");
    put("today", signed(change), tone(change));
    put("today-share", begin?.equity > 0 ? `${signed((change / begin.equity) * 100)} %` : "", tone(change));
    const fall = state.peak > 0 ? state.equity / state.peak - 1 : null;
    put("fall", fall === null ? "–" : `${signed(fall * 100)} %`, fall < 0 ? "down" : "");
    put("peak", money(state.peak));
    put("balance", money(state.balance));
    put("margin-used", money(state.margin_used));
    put("margin-share", state.equity > 0 ? percent(state.margin_used / state.equity, 1) : "");
    put("margin-free", money(state.margin_free));
  }

  // --- tables --------------------------------------------------------------------------------------------------------

  makeTables() {
    const digits = (symbol) => this.store.digits(symbol);
    const acts = this.acts;
    this.positions = new Table(at("book-positions"), {
      caption: "Open positions", empty: "No open positions", key: (one) => `${one.strategy}\n${one.symbol}`,
      columns: [
        { head: "Symbol", name: "text strong", text: (one) => one.symbol },
        { head: "Book", name: "text less", text: (one) => one.strategy },
        { head: "Size", text: (one) => signed(one.size, 2), tone: (one) => sideTone(one.size), title: (one) => `${one.size} lots` },
        { head: "Entry", name: "less", text: (one) => price(one.average_price, digits(one.symbol)) },
        { head: "Price", text: (one) => price(one.price, digits(one.symbol)) },
        { head: "Stop loss", name: "least", text: (one) => price(one.stop_loss, digits(one.symbol)) },
        { head: "Take profit", name: "least", text: (one) => price(one.take_profit, digits(one.symbol)) },
        { head: "Opened", name: "least", text: (one) => hour(one.opened), title: (one) => stamp(one.opened) },
        { head: "Profit", name: "strong", text: (one) => signed(one.profit), tone: (one) => tone(one.profit) },
        {
          head: "Actions",
          name: "act",
          actions: (item) => ({
            buttons: [
              guard(button("Half"), "reduce", () => acts.close(item(), 0.5)),
              guard(button("Close"), "reduce", () => acts.close(item(), 1)),
            ],
          }),
        },
      ],
    });
    const orderColumns = [
      { head: "Order", name: "text less", text: (one) => one.request.id, title: (one) => one.request.tag },
      { head: "Symbol", name: "text strong", text: (one) => one.request.symbol },
      { head: "Side", name: "text", text: (one) => sideText(one.request.side), tone: (one) => sideTone(one.request.side) },
      { head: "Terms", name: "text", text: (one) => termsOf(one.request, digits(one.request.symbol)) },
      { head: "Size", text: (one) => size(one.request.size) },
      { head: "Filled", name: "least", text: (one) => size(one.filled) },
    ];
    this.orders = new Table(at("book-orders"), {
      caption: "Working orders", empty: "No working orders", key: (one) => one.request.id,
      columns: [
        ...orderColumns,
        { head: "Stop loss", name: "least", text: (one) => price(one.request.stop_loss, digits(one.request.symbol)) },
        { head: "Take profit", name: "least", text: (one) => price(one.request.take_profit, digits(one.request.symbol)) },
        { head: "Status", name: "text less", text: (one) => one.status, tone: (one) => `pill ${STATUS_TONES[one.status] ?? ""}` },
        { head: "Since", name: "least", text: (one) => hour(one.time), title: (one) => stamp(one.time) },
        {
          head: "Actions",
          name: "act",
          actions: (item) => ({
            buttons: [
              guard(button("Amend"), "orders", () => acts.amend(item())),
              guard(button("Cancel"), "reduce", () => acts.cancel(item())),
            ],
          }),
        },
      ],
    });
    this.fills = new Table(at("book-fills"), {
      caption: "Last fills, newest first", empty: "No fills yet", key: (one) => `${one.order_id}\n${one.id}`, most: 200,
      columns: [
        { head: "Time", name: "text", text: (one) => hour(one.time), title: (one) => stamp(one.time) },
        { head: "Symbol", name: "text strong", text: (one) => one.symbol },
        { head: "Side", name: "text", text: (one) => sideText(one.side), tone: (one) => sideTone(one.side) },
        { head: "Size", text: (one) => size(one.size) },
        { head: "Price", text: (one) => price(one.price, digits(one.symbol)) },
        { head: "Fee", name: "less", text: (one) => `${money(one.fee)} ${one.fee_currency}` },
        { head: "Swap", name: "least", text: (one) => money(one.swap) },
        { head: "Order", name: "text least", text: (one) => one.order_id },
      ],
    });
    this.ended = new Table(at("book-ended"), {
      caption: "Orders that are at an end, newest first", empty: "No orders have ended yet", key: (one) => one.request.id, most: 200,
      columns: [
        { head: "Time", name: "text less", text: (one) => hour(one.time), title: (one) => stamp(one.time) },
        ...orderColumns,
        { head: "Average", name: "less", text: (one) => price(one.average_price, digits(one.request.symbol)) },
        { head: "Status", name: "text", text: (one) => one.status, tone: (one) => `pill ${STATUS_TONES[one.status] ?? ""}` },
        { head: "Why", name: "text least long", text: (one) => [one.code, one.reason].filter(Boolean).join(": "), title: (one) => one.reason },
      ],
    });
    this.strategies = new Table(at("strategies"), {
      caption: "Strategies", empty: "No strategies", key: (one) => one.name,
      columns: [
        { head: "Strategy", name: "text strong", text: (one) => one.name, title: (one) => one.use || "orders placed by hand" },
        { head: "Uses", name: "text least", text: (one) => one.use || "by hand" },
        { head: "Symbols", name: "text less long", text: (one) => one.symbols.join(" "), title: (one) => one.symbols.join(" ") },
        { head: "Bars", name: "text least", text: (one) => one.timeframes.join(" ") || "–" },
        { head: "Exits", name: "text least long", text: (one) => one.exits.map((exit) => exit.replace(/^exits\./, "")).join(" ") || "–", title: (one) => one.exits.join(" ") },
        { head: "State", name: "text", text: (one) => (one.failed ? "FAILED" : one.warm ? one.state : "WARMING UP"), tone: (one) => `pill ${one.failed ? "bad" : one.warm ? toneOf(one.state) : "fair"}`, title: (one) => one.failed },
        { head: "Orders", name: "least", text: (one) => number(one.orders, 0) },
        { head: "Trades", name: "less", text: (one) => number(one.trades, 0) },
        { head: "Realised", name: "strong", text: (one) => signed(one.realized), tone: (one) => tone(one.realized) },
        {
          head: "Actions",
          name: "act",
          actions: (item) => {
            const isPaused = () => item().state !== "ACTIVE";
            const change = button("Pause");
            change.addEventListener("click", () => {
              if (change.getAttribute("aria-disabled") !== "true") { if (isPaused()) acts.resume(item()); else acts.pause(item()); }
            });
            const scope = () => (this.store.state.scopes.some((one) => one.scope === `strategy:${item().name}` && one.state === "HALTED") ? "kill:reset" : "strategies");
            return { buttons: [guard(change, scope())], refresh: () => { setText(change, isPaused() ? "Resume" : "Pause"); guard(change, scope()); } };
          },
        },
      ],
    });
  }

  books() {
    const { state, orders, fills, ended } = this.store;
    this.positions.set(state.positions);
    this.orders.set([...orders.values()]);
    setText(at("count-positions"), String(state.positions.length));
    setText(at("count-orders"), String(orders.size));
    if (!at("book-fills").hidden) this.fills.set(fills.slice(-this.fills.most).reverse());
    if (!at("book-ended").hidden) this.ended.set([...ended.values()].slice(-this.ended.most).reverse());
    this.strategies.set(state.strategies);
  }

  // --- limits and connectors -------------------------------------------------------------------------------------------

  makeParts() {
    this.limits = new Parts(at("limits"), "No limit of this run says how much of it is used", (one) => `${one.name}\n${one.text}`, () => {
      const name = make("span", { name: "name" }), text = make("span", { name: "of" }), bar = make("i"), value = make("b");
      const gauge = make("div", { name: "gauge", role: "meter", "aria-valuemin": 0 }, bar);
      const element = make("div", { name: "limit" }, make("p", {}, name, value), gauge, text);
      return {
        element,
        fill: (one) => {
          const share = one.limit > 0 ? Math.max(0, one.used / one.limit) : 0;
          setText(name, one.name.replace(/^risk\./, "").replaceAll("_", " "));
          setText(text, one.text);
          setText(value, `${loose(one.used)} of ${loose(one.limit)}`);
          bar.style.width = `${Math.min(share, 1) * 100}%`;
          setClass(gauge, `gauge ${share >= 1 ? "bad" : share >= 0.75 ? "fair" : "good"}`);
          gauge.setAttribute("aria-valuenow", String(one.used ?? 0));
          gauge.setAttribute("aria-valuemax", String(one.limit ?? 0));
          gauge.setAttribute("aria-label", `${one.name}: ${one.text}`);
        },
      };
    });
    this.connectors = new Parts(at("connectors"), "No connectors", (one) => one.name, () => {
      const name = make("b"), use = make("span", { name: "of" }), ready = make("span");
      const account = make("p", { name: "of" }), health = make("p", { name: "pills" }), figures = make("p", { name: "of figures" });
      return {
        element: make("div", { name: "connector" }, make("p", { name: "line" }, name, use, ready), account, health, figures),
        fill: (one) => {
          setText(name, one.name);
          setText(use, one.use);
          setText(ready, one.ready ? "ready" : "not ready");
          setClass(ready, `pill ${one.ready ? "good" : "bad"}`);
          setText(account, `${one.account.id} at ${one.account.server}, ${one.account.mode}, ${one.account.real ? "REAL" : "no real money"}, 1:${loose(one.account.leverage)}`);
          const told = Object.entries(one.health).map(([layer, state]) => [layer.split(".").slice(2).join(".") || "connection", state]);
          if (health.dataset.told !== JSON.stringify(told)) {
            health.dataset.told = JSON.stringify(told);
            health.replaceChildren(...told.map(([layer, state]) => make("span", { name: `pill ${toneOf(state)}`, text: `${layer.replaceAll("_", " ")}: ${state.replaceAll("_", " ")}` })));
          }
          const skew = Math.abs(one.clock_skew) < 0.0005 ? "0 ms" : `${signed(one.clock_skew * 1000, 0)} ms`;
          setText(figures, `backlog ${one.backlog} · call ${one.busy_seconds ? `${number(one.busy_seconds, 1)} s` : "idle"} · clock skew ${skew}`);
        },
      };
    });
  }

  parts() {
    this.limits.set(this.store.state.limits);
    this.connectors.set(this.store.state.connectors);
  }
}

// A short list of blocks, each made once.
class Parts {
  constructor(box, empty, key, build) {
    Object.assign(this, { box, key, build, known: new Map(), nothing: make("p", { name: "empty", text: empty }) });
    box.replaceChildren(this.nothing);
  }

  set(items) {
    const keep = new Set();
    for (const item of items) {
      const key = this.key(item);
      keep.add(key);
      if (!this.known.has(key)) {
        const part = this.build();
        this.known.set(key, part);
        this.box.append(part.element);
      }
      this.known.get(key).fill(item);
    }
    for (const [key, part] of this.known) if (!keep.has(key)) { part.element.remove(); this.known.delete(key); }
    this.nothing.hidden = Boolean(items.length);
  }
}

// The levels of one symbol on its chart: entries, stops and targets of positions, and the prices of working orders.
export const levelsOf = ({ state, orders }, symbol) => {
  const levels = [], protective = new Set();
  for (const one of state.positions) {
    if (one.symbol !== symbol) continue;
    levels.push({ id: `entry ${one.strategy}`, price: one.average_price, title: `${one.strategy} ${signed(one.size)}`, shade: "entry", style: "solid" });
    for (const [name, title, shade] of [["stop_loss", "SL", "down"], ["take_profit", "TP", "up"]]) {
      if (one[name] === null) continue;
      protective.add(`${one.strategy} ${one[name]}`);
      levels.push({ id: `${name} ${one.strategy}`, price: one[name], title: `${title} ${one.strategy}`, shade, style: "dashed" });
    }
  }
  for (const order of orders.values()) {
    const asked = order.request;
    if (asked.symbol !== symbol) continue;
    for (const name of ["stop", "limit"]) {
      if (asked[name] === null || protective.has(`${asked.strategy} ${asked[name]}`)) continue;
      levels.push({ id: `${name} ${asked.id}`, price: asked[name], title: `${sideOf(asked.side)} ${name} ${size(asked.size)}`, shade: asked.side > 0 ? "up" : "down", style: "solid" });
    }
  }
  return levels;
};
