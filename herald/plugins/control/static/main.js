// Puts the page together: log-in, the stream, and one drawing for whatever came in between.

import { guard, setCaller, whyNot } from "./access.js";
import { Acts } from "./acts.js";
import { Api, part } from "./api.js";
import { closeDialogs } from "./dialogs.js";
import { at, make, setText, tabs } from "./dom.js";
import { EquityChart } from "./equity.js";
import { minute, number, percent, price } from "./format.js";
import { LogTail } from "./log.js";
import { startTheme } from "./look.js";
import { clearMessages, complain } from "./messages.js";
import { Panels, levelsOf } from "./panels.js";
import { PriceChart } from "./price.js";
import { Store } from "./store.js";
import { Stream } from "./stream.js";
import { Table } from "./tables.js";

const PAUSE = 200; // milliseconds between two drawings; nobody reads faster
const BARS = 1000, FILLS = 500, WAITING = 500;
const ASK_AGAIN = 60000;
// What is worth remembering of a tab's page: whether somebody logged in, and the symbol.
const remember = (key, value) => { try { if (value === null) localStorage.removeItem(key); else localStorage.setItem(key, value); } catch { /* not kept, then */ } };
const recall = (key) => { try { return localStorage.getItem(key); } catch { return null; } };

class Dashboard {
  constructor() {
    this.api = new Api((text) => this.leave(text));
    this.store = new Store(this.api);
    this.acts = new Acts(this.api, this.store);
    this.panels = new Panels(this.store, this.acts);
    this.log = new LogTail(at("log"), at("log-level"), at("log-pause"), at("log-note"));
    this.bars = [];
    this.chartFills = [];
    this.isLoaded = false;
    this.stream = new Stream({
      opened: () => this.load(),
      message: (message) => this.take(message),
      status: (status) => this.panels.link(status),
      probe: () => this.ask(),
    });
    this.connectPage();
  }

  // --- session -------------------------------------------------------------------------------------------------------

  async begin() {
    // Without a session the question would only fill the browser's console with a refusal.
    if (!recall("herald.session")) { this.showLogin(""); return; }
    try { await this.ask(); } catch (error) {
      if (error.status !== 401) this.showLogin(error.message);
      return;
    }
    this.enter();
  }

  async ask() {
    const me = await this.api.get("me");
    this.setCaller(me);
  }

  async login() {
    setText(at("login-error"), "");
    try {
      this.setCaller(await this.api.send("POST", "login", { key: at("key").value.trim() }));
    } catch (error) {
      setText(at("login-error"), error.message);
      at("key").select();
      return;
    }
    remember("herald.session", "1");
    this.enter();
  }

  setCaller(me) {
    this.api.csrf = me.csrf;
    setText(at("who"), `${me.name} · ${me.role}`);
    setCaller(me);
  }

  enter() {
    at("key").value = "";
    at("login").hidden = true;
    at("app").hidden = false;
    if (!this.price) {
      this.price = new PriceChart(at("price"), at("price-legend"));
      this.equity = new EquityChart(at("equity"), at("equity-legend"));
    }
    at("main").focus({ preventScroll: true });
    this.stream.start();
    clearInterval(this.asking);
    // While somebody looks, the session goes on, and a key that was taken back is noticed.
    this.asking = setInterval(() => { if (!document.hidden) this.ask().catch(() => {}); }, ASK_AGAIN);
  }

  leave(text) {
    remember("herald.session", null);
    clearInterval(this.asking);
    this.stream.stop();
    this.isLoaded = false;
    closeDialogs();
    this.showLogin(text);
  }

  showLogin(text) {
    clearMessages();
    at("app").hidden = true;
    at("login").hidden = false;
    setText(at("login-error"), text);
    at("key").focus();
  }

  async logout() {
    try { await this.api.send("POST", "logout", {}); } catch (error) {
      if (error.status !== 401) { complain(error.message, error.code); return; }
    }
    this.leave("");
  }

  // --- data ----------------------------------------------------------------------------------------------------------

  // Everything anew: at the start, and after a gap in the stream.
  async load() {
    try {
      await this.store.load();
    } catch (error) {
      if (error.status === 401) return false;
      complain(error.message, error.code);
      this.stream.retry(); // with its growing pauses; what is on the page stays marked as old until it is there
      return false;
    }
    this.showSymbols();
    await this.tryShowSeries();
    this.isLoaded = true;
    this.dirty = new Set(["state", "quotes"]);
    this.drawn = 0;
    this.schedule();
    document.documentElement.dataset.ready = "true";
    return true;
  }

  take(message) {
    if (message.bars) {
      for (const bar of message.bars) if (bar.symbol === this.symbol && bar.timeframe === this.timeframe) this.bars.push(bar);
      if (this.bars.length > WAITING) { this.bars = []; this.isBehind = true; } // a hidden page draws nothing
    }
    if (message.fills) this.addFills(message.fills);
    if (!this.store.take(message)) return;
    for (const key of Object.keys(message)) this.dirty?.add(key);
    this.schedule();
  }

  addFills(fills) {
    const known = new Set(this.chartFills.map((fill) => `${fill.order_id} ${fill.id}`));
    for (const fill of fills) if (fill.symbol === this.symbol && !known.has(`${fill.order_id} ${fill.id}`)) this.chartFills.push(fill);
    this.chartFills.splice(0, Math.max(this.chartFills.length - FILLS, 0));
    this.hasNewFills = true;
  }

  // Fetch the series of the symbol that is shown; what the stream brings meanwhile is added on top.
  async showSeries() {
    const { symbol, timeframe } = this;
    if (!timeframe) return;
    this.bars = [];
    this.isBehind = false;
    this.isFetching = true;
    try {
      const [series, fills] = await Promise.all([
        this.api.get(`series/${part(symbol)}?timeframe=${part(timeframe)}&bars=${BARS}`),
        this.api.get(`fills?symbol=${part(symbol)}&limit=${FILLS}`),
      ]);
      if (symbol !== this.symbol || timeframe !== this.timeframe) return; // somebody chose another one meanwhile
      this.price.load(series);
      this.chartFills = fills.fills;
      this.hasNewFills = true;
    } finally {
      if (symbol === this.symbol && timeframe === this.timeframe) this.isFetching = false;
    }
    this.dirty?.add("quotes").add("state");
    this.drawn = 0;
    this.schedule();
  }

  // A chart that cannot be had must not take the rest of the page with it.
  async tryShowSeries() {
    try { await this.showSeries(); } catch (error) {
      if (error.status !== 401) complain(error.message, error.code);
    }
  }

  showSymbols() {
    const symbols = this.store.symbols;
    const told = symbols.join("\n");
    if (told !== this.listed) {
      this.listed = told;
      this.prices = new Map();
      at("symbols").replaceChildren(...symbols.map((symbol) => {
        const shown = make("span", { name: "last" });
        this.prices.set(symbol, shown);
        return make("button", { role: "tab", type: "button", "data-symbol": symbol, "aria-controls": "price", "aria-selected": "false", tabindex: "-1" }, make("span", { text: symbol }), shown);
      }));
      at("ticket-symbol").replaceChildren(...symbols.map((symbol) => make("option", { value: symbol, text: symbol })));
    }
    const wanted = this.symbol ?? recall("herald.symbol");
    this.symbol = symbols.includes(wanted) ? wanted : symbols[0];
    for (const tab of at("symbols").children) {
      const is = tab.dataset.symbol === this.symbol;
      tab.setAttribute("aria-selected", String(is));
      tab.tabIndex = is ? 0 : -1;
    }
    at("ticket-symbol").value = this.symbol;
    this.showTimeframes();
  }

  showTimeframes() {
    const found = this.store.series.filter((one) => one.symbol === this.symbol).map((one) => one.timeframe);
    at("timeframe").replaceChildren(...found.map((name) => make("option", { value: name, text: name })));
    this.timeframe = found.includes(this.timeframe) ? this.timeframe : found[0];
    if (this.timeframe) at("timeframe").value = this.timeframe;
    at("timeframe").disabled = found.length < 2;
  }

  choose(symbol) {
    if (symbol === this.symbol) return;
    this.symbol = symbol;
    remember("herald.symbol", symbol);
    at("ticket-symbol").value = symbol;
    this.showTimeframes();
    this.tryShowSeries();
  }

  // --- drawing -------------------------------------------------------------------------------------------------------

  // One drawing for whatever came since the last one, at once where that is long ago. The charts paint in the frame that
  // follows, with the rest of the page; to paint each message in a frame of its own would cost twice as much.
  schedule() {
    if (this.timer || !this.isLoaded || document.hidden) return;
    this.timer = setTimeout(() => { this.timer = 0; this.draw(); }, Math.max(0, this.drawn + PAUSE - performance.now()));
  }

  draw() {
    if (!this.isLoaded || document.hidden) return;
    this.drawn = performance.now();
    if (!this.isFetching) this.drawChart();
    this.drawRest();
  }

  drawChart() {
    if (this.isBehind) { this.isBehind = false; this.tryShowSeries(); return; }
    const bars = this.bars;
    this.bars = [];
    for (const bar of bars) {
      if (!this.price.add(bar.row, bar.lines)) { this.tryShowSeries(); return; }
    }
    if (this.hasNewFills) { this.hasNewFills = false; this.price.setFills(this.chartFills); }
    const quote = this.store.quotes.get(this.symbol);
    if (quote && quote !== this.quote) {
      this.quote = quote;
      this.price.setQuote(quote);
      const digits = this.store.digits(this.symbol), [, bid, ask] = quote;
      const text = `bid ${price(bid, digits)}  ask ${price(ask, digits)}`;
      setText(at("quote"), `${text}  spread ${bid === null || ask === null ? "–" : number((ask - bid) * 10 ** digits, 0)}`);
      setText(at("ticket-quote"), text);
    } else if (!quote && this.quote) {
      this.quote = null;
      setText(at("quote"), "");
      setText(at("ticket-quote"), "");
    }
  }

  drawRest() {
    const dirty = this.dirty;
    this.dirty = new Set();
    if (dirty.has("quotes")) for (const [symbol, element] of this.prices) setText(element, this.store.quotes.has(symbol) ? price(this.store.quotes.get(symbol)[1], this.store.digits(symbol)) : "");
    if (dirty.has("state") || dirty.has("orders") || dirty.has("fills")) {
      this.panels.header();
      this.panels.warnings();
      this.panels.cards();
      this.panels.books();
      this.panels.parts();
      this.price.setLevels(levelsOf(this.store, this.symbol));
      this.equity.set(this.store.equity, this.store.state.peak);
      this.sayChart();
    }
    this.log.set(this.store.lines);
  }

  sayChart() {
    const { rows, timeframe, forming } = this.price;
    const marked = this.chartFills.length;
    const last = rows.length ? `, the last ended ${minute(Math.round(rows[rows.length - 1][0] / 1e9))}` : "";
    setText(at("price-note"), `${number(rows.length, 0)} bars of ${timeframe ?? "–"}${last}${forming ? ", one is forming" : ""} · ${number(marked, 0)} ${marked === 1 ? "fill" : "fills"}`);
  }

  // --- the page's own controls -----------------------------------------------------------------------------------------

  connectPage() {
    document.addEventListener("visibilitychange", () => this.schedule());
    startTheme(at("theme"));
    at("login-form").addEventListener("submit", (event) => { event.preventDefault(); this.login(); });
    at("logout").addEventListener("click", () => this.logout());
    guard(at("kill"), "kill", () => this.acts.kill());
    guard(at("reconcile"), "reconcile", () => this.acts.reconcile());
    guard(at("reload"), "admin", () => this.acts.reload());
    guard(at("place"), "orders", () => {});
    const views = document.querySelector(".views");
    this.showView = tabs(views, (tab) => {
      if (tab.id === "tab-runs") this.showRuns();
      if (tab.id === "tab-plan") this.showPlan();
    });
    tabs(at("books"), () => { if (this.isLoaded) this.panels.books(); });
    tabs(at("symbols"), (tab) => this.choose(tab.dataset.symbol));
    at("timeframe").addEventListener("change", () => {
      this.timeframe = at("timeframe").value;
      this.tryShowSeries();
    });
    at("latest").addEventListener("click", () => this.price.latest());
    at("runs-again").addEventListener("click", () => this.showRuns());
    const ticket = at("ticket");
    const name = () => {
      const side = ticket.elements.side.value;
      ticket.dataset.side = side;
      setText(at("place"), `${side === "buy" ? "Buy" : "Sell"} ${ticket.elements.size.value.trim() || "…"} ${ticket.elements.symbol.value}`);
    };
    ticket.addEventListener("input", name);
    name();
    ticket.addEventListener("submit", (event) => { event.preventDefault(); this.place(ticket); });
  }

  async place(ticket) {
    if (whyNot("orders")) return;
    const { side, symbol, size, limit, stop, stop_loss, take_profit, why, reduce_only } = ticket.elements;
    at("place").disabled = true;
    try {
      const isDone = await this.acts.place({
        side: side.value, symbol: symbol.value, size: size.value, limit: limit.value, stop: stop.value,
        stop_loss: stop_loss.value, take_profit: take_profit.value, why: why.value, reduce_only: reduce_only.checked,
      });
      if (isDone) for (const field of [limit, stop, stop_loss, take_profit, why]) field.value = "";
    } catch (error) {
      complain(error.message, error.code);
    } finally {
      at("place").disabled = false;
    }
  }

  async showRuns() {
    this.runs ??= new Table(at("runs"), {
      caption: "Finished runs, newest first", empty: "No run has finished yet", key: (run) => run.name,
      columns: [
        { head: "Run", name: "text strong", text: (run) => run.name },
        { head: "Mode", name: "text less", text: (run) => run.mode ?? "–" },
        { head: "Status", name: "text", text: (run) => run.status ?? "–", tone: (run) => `pill ${run.status === "finished" ? "good" : run.status === "failed" ? "bad" : "fair"}` },
        { head: "Return", text: (run) => percent(run.total_return), tone: (run) => (run.total_return > 0 ? "up" : run.total_return < 0 ? "down" : "") },
        { head: "Max. drawdown", name: "less", text: (run) => percent(run.max_drawdown) },
        { head: "Trades", name: "less", text: (run) => number(run.total_trades, 0) },
        {
          head: "Report",
          name: "act",
          actions: (item) => {
            const run = item();
            if (!run.report) return { buttons: [make("span", { text: "none" })] };
            return { buttons: [make("a", { href: `/api/v1/runs/${part(run.name)}/report`, download: `${run.name}.html`, text: "Download" })] };
          },
        },
      ],
    });
    try { this.runs.set((await this.api.get("runs")).runs); } catch (error) { complain(error.message, error.code); }
  }

  async showPlan() {
    this.plugins ??= new Table(at("plugins"), {
      caption: "Loaded plugins", empty: "No plugins", key: (plugin) => plugin.name,
      columns: [
        { head: "Plugin", name: "text strong", text: (plugin) => plugin.name },
        { head: "Distribution", name: "text", text: (plugin) => plugin.distribution ?? "–" },
        { head: "Version", name: "text", text: (plugin) => plugin.version ?? "–" },
      ],
    });
    try {
      const [plan, plugins] = await Promise.all([this.api.get("plan"), this.api.get("plugins")]);
      setText(at("plan"), plan.text);
      setText(at("resolved"), JSON.stringify(plan.resolved, null, 2));
      this.plugins.set(plugins.plugins);
    } catch (error) { complain(error.message, error.code); }
  }
}

const dashboard = new Dashboard();
// What is drawn, for whoever checks it against the interface.
window.herald = { read: () => ({ ...dashboard.price.read(), ...dashboard.equity.read() }) };
dashboard.begin();
