// The chart of one symbol: bars, the bar that is forming, indicators, fills, and the levels of orders and positions.

import { CandlestickSeries, HistogramSeries, LineSeries, LineStyle, createChart, createSeriesMarkers } from "./lightweight-charts.standalone.production.mjs";
import { make, setText } from "./dom.js";
import { minute, number, price, seconds, span } from "./format.js";
import { chartLook, color, onLook } from "./look.js";

const KEPT = 1000, MOST = 1500, MARKERS = 300, SHOWN = 140;
const SHADES = ["line-1", "line-2", "line-3", "line-4", "line-5", "line-6"];

export class PriceChart {
  constructor(box, legend) {
    this.box = box;
    this.legend = legend;
    this.rows = [];
    this.lines = [];
    this.hidden = new Set();
    this.levels = new Map();
    this.fills = [];
    this.quote = null;
    this.forming = null;
    this.chart = createChart(box, {
      ...chartLook(),
      autoSize: true,
      timeScale: { ...chartLook().timeScale, rightOffset: 12, timeVisible: true, secondsVisible: false, minBarSpacing: 0.5 },
      crosshair: { ...chartLook().crosshair, mode: 0 },
      localization: { locale: "en-US", timeFormatter: minute },
      handleScroll: { vertTouchDrag: false },
    });
    this.candles = this.chart.addSeries(CandlestickSeries, { priceLineVisible: false, borderVisible: false });
    this.volume = this.chart.addSeries(HistogramSeries, { priceScaleId: "", priceLineVisible: false, lastValueVisible: false, priceFormat: { type: "volume" } });
    this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.86, bottom: 0 } });
    this.candles.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.12 } });
    this.marks = createSeriesMarkers(this.candles, []);
    this.chart.subscribeCrosshairMove((move) => {
      this.pointed = move.time === undefined ? null : move.time;
      this.showLegend();
    });
    onLook(() => this.#paint());
  }

  // --- data --------------------------------------------------------------------------------------------------------

  // Show another series, or the same one after a gap.
  load(answer) {
    const isSame = answer.symbol === this.symbol && answer.timeframe === this.timeframe;
    const range = isSame ? this.chart.timeScale().getVisibleLogicalRange() : null;
    Object.assign(this, { symbol: answer.symbol, timeframe: answer.timeframe, digits: answer.digits, rows: answer.rows.slice(-KEPT) });
    this.names = answer.lines;
    this.forming = null;
    this.candles.applyOptions({ priceFormat: { type: "price", precision: this.digits, minMove: 10 ** -this.digits } });
    if (!isSame) this.quote = null;
    this.#makeLines();
    this.#fillAll();
    const count = this.rows.length;
    if (range) this.chart.timeScale().setVisibleLogicalRange(range);
    else this.chart.timeScale().setVisibleLogicalRange({ from: Math.max(count - SHOWN, -4), to: Math.max(count, 40) + 12 });
  }

  // Add a bar that ended. False where it does not fit on what is here, so that the series must be fetched anew.
  add(row, names) {
    if (names.length !== this.names.length) return false;
    const last = this.rows[this.rows.length - 1];
    if (last && row[0] < last[0]) return true;
    if (last && row[0] === last[0]) this.rows.pop();
    this.rows.push(row);
    const isBehind = this.forming && this.forming.time > seconds(row[0]);
    if (this.forming && this.forming.time <= seconds(row[0])) this.forming = null;
    if (this.rows.length > MOST || isBehind) {
      this.rows = this.rows.slice(-KEPT);
      this.forming = null;
      this.#fillAll();
    } else {
      this.#drawRow(row);
      if (this.isLoose) this.#markFills();
    }
    return true;
  }

  // Form the next bar from quotes; the run's own bar takes its place when it ends.
  setQuote([time, bid, ask]) {
    if (!this.quote) this.candles.applyOptions({ lastValueVisible: false }); // the bid is labelled
    this.quote = { bid, ask };
    const last = this.rows[this.rows.length - 1];
    if (last && bid !== null && time > last[0]) {
      const width = span(this.timeframe), base = seconds(last[0]);
      const end = base + Math.max(Math.ceil((time / 1e9 - base) / width), 1) * width;
      if (!this.forming || this.forming.time !== end) this.forming = { time: end, open: bid, high: bid, low: bid, close: bid };
      else Object.assign(this.forming, { high: Math.max(this.forming.high, bid), low: Math.min(this.forming.low, bid), close: bid });
      this.candles.update({ ...this.forming });
      if (this.isLoose) this.#markFills();
    }
    this.#level("quote bid", { price: bid, title: "bid", color: color("bid"), lineStyle: LineStyle.Dotted });
    this.#level("quote ask", { price: ask, title: "ask", color: color("ask"), lineStyle: LineStyle.Dotted });
    this.showLegend();
  }

  setFills(fills) {
    this.fills = fills;
    this.#markFills();
  }

  // Lines at the prices of orders, entries, stops and targets: [{id, price, title, shade, style}].
  setLevels(levels) {
    const wanted = new Set(levels.map((level) => level.id));
    for (const [id, level] of this.levels) {
      if (id.startsWith("quote ") || wanted.has(id)) continue;
      this.candles.removePriceLine(level.line);
      this.levels.delete(id);
    }
    for (const { id, price: at, title, shade, style } of levels) {
      this.#level(id, { price: at, title, color: color(shade), lineStyle: style === "dashed" ? LineStyle.Dashed : LineStyle.Solid });
    }
  }

  latest() { this.chart.timeScale().scrollToRealTime(); }

  // What the library holds, for whoever checks what is drawn.
  read() {
    return {
      symbol: this.symbol,
      bars: this.candles.data().length - (this.forming ? 1 : 0),
      markers: this.marks.markers().length,
      levels: [...this.levels].filter(([id]) => !id.startsWith("quote ")).map(([id, level]) => [id, level.line.options().price]),
      lines: Object.fromEntries(this.lines.map((line) => [line.name, line.series.data().filter((point) => point.value !== undefined).length])),
    };
  }

  // --- drawing -----------------------------------------------------------------------------------------------------

  #fillAll() {
    const times = this.rows.map((row) => seconds(row[0]));
    this.candles.setData(this.rows.map(([, open, high, low, close], index) => ({ time: times[index], open, high, low, close })));
    this.volume.setData(this.rows.map((row, index) => this.#volumeOf(row, times[index])));
    this.lines.forEach((line, place) => {
      line.series.setData(this.rows.map((row, index) => point(times[index], row[6 + place])));
    });
    if (!this.quote) this.#dropQuote();
    this.#markFills();
    this.showLegend();
  }

  #drawRow(row) {
    const [time, open, high, low, close] = row, end = seconds(time);
    this.candles.update({ time: end, open, high, low, close });
    this.volume.update(this.#volumeOf(row, end));
    this.lines.forEach((line, place) => line.series.update(point(end, row[6 + place])));
    this.showLegend();
  }

  #volumeOf([, open, , , close, volume], time) {
    return volume === null ? { time } : { time, value: volume, color: close >= open ? this.upVolume : this.downVolume };
  }

  // What stays near the prices is drawn over them; an oscillator gets a pane below.
  #makeLines() {
    const names = this.names.join("\n");
    if (names === this.lineNames && this.linesOf === this.symbol) return;
    for (const line of this.lines) this.chart.removeSeries(line.series);
    this.lineNames = names;
    this.linesOf = this.symbol;
    let low = Infinity, high = -Infinity;
    for (const row of this.rows) { low = Math.min(low, row[3]); high = Math.max(high, row[2]); }
    const reach = (high - low) / 2 || Math.abs(high) / 100;
    const panes = new Map();
    this.lines = this.names.map((name, place) => {
      const values = this.rows.map((row) => row[6 + place]).filter((value) => value !== null && value !== undefined);
      const near = values.filter((value) => value >= low - reach && value <= high + reach).length;
      const isOver = !values.length || near > values.length / 2;
      const family = name.split(/[ (]/)[0];
      if (!isOver && !panes.has(family)) panes.set(family, panes.size + 1);
      const series = this.chart.addSeries(LineSeries, {
        lineWidth: 1.5, priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false,
        priceFormat: { type: "price", precision: this.digits, minMove: 10 ** -this.digits }, visible: !this.hidden.has(name),
      }, isOver ? 0 : panes.get(family));
      return { name, series, shade: SHADES[place % SHADES.length] };
    });
    const all = this.chart.panes();
    for (let index = all.length - 1; index > panes.size; index -= 1) this.chart.removePane(index);
    this.chart.panes().forEach((pane, index) => pane.setStretchFactor(index ? 1 : 4));
    this.#makeLegend();
    this.#paintLines();
  }

  #markFills() {
    this.isLoose = false;
    const times = this.rows.map((row) => seconds(row[0]));
    if (!times.length) { this.marks.setMarkers([]); return; }
    const first = times[0] - span(this.timeframe), last = this.forming ? this.forming.time : times[times.length - 1];
    const up = color("up"), down = color("down"), found = [];
    for (const fill of this.fills.slice(-MARKERS)) {
      const time = fill.time / 1e9;
      if (time < first) continue;
      let bar = ceiling(times, time);
      if (bar === undefined) { bar = last; this.isLoose = true; } // its bar has not ended; it moves there when it does
      const isBuy = fill.side > 0;
      found.push({ time: bar, price: fill.price, position: isBuy ? "atPriceBottom" : "atPriceTop", shape: isBuy ? "arrowUp" : "arrowDown", color: isBuy ? up : down, size: 0.8, id: fill.id });
    }
    this.marks.setMarkers(found.sort((one, other) => one.time - other.time));
  }

  #level(id, options) {
    const known = this.levels.get(id);
    if (options.price === null || options.price === undefined) {
      if (known) { this.candles.removePriceLine(known.line); this.levels.delete(id); }
      return;
    }
    if (!known) {
      const line = this.candles.createPriceLine({ lineWidth: 1, axisLabelVisible: true, ...options });
      this.levels.set(id, { line, told: JSON.stringify(options) });
    } else if (known.told !== JSON.stringify(options)) {
      known.told = JSON.stringify(options);
      known.line.applyOptions(options);
    }
  }

  #dropQuote() {
    this.candles.applyOptions({ lastValueVisible: true });
    for (const id of ["quote bid", "quote ask"]) this.#level(id, { price: null });
  }

  // --- look --------------------------------------------------------------------------------------------------------

  #paint() {
    this.chart.applyOptions(chartLook());
    const up = color("up"), down = color("down");
    this.upVolume = color("up", 0.22);
    this.downVolume = color("down", 0.22);
    this.candles.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down });
    this.#paintLines();
    if (this.rows.length) this.volume.setData(this.rows.map((row) => this.#volumeOf(row, seconds(row[0]))));
    for (const [id, level] of this.levels) if (!id.startsWith("quote ")) level.told = "";
    if (this.quote) for (const side of ["bid", "ask"]) this.#level(`quote ${side}`, { price: this.quote[side], title: side, color: color(side), lineStyle: LineStyle.Dotted });
    if (this.fills.length) this.#markFills();
  }

  #paintLines() {
    for (const line of this.lines) line.series.applyOptions({ color: color(line.shade) });
  }

  #makeLegend() {
    this.values = ["O", "H", "L", "C"].map(() => make("b"));
    this.when = make("span", { name: "when" });
    const parts = [this.when, ...["O", "H", "L", "C"].flatMap((name, index) => [make("span", { text: name }), this.values[index]])];
    for (const [place, line] of this.lines.entries()) {
      line.value = make("b");
      const button = make("button", { name: `line-name shade-${(place % SHADES.length) + 1}`, type: "button", "aria-pressed": !this.hidden.has(line.name) ? "true" : "false", title: "Show or hide" }, make("span", { text: line.name }), line.value);
      button.addEventListener("click", () => {
        const isShown = this.hidden.has(line.name);
        if (isShown) this.hidden.delete(line.name); else this.hidden.add(line.name);
        button.setAttribute("aria-pressed", String(isShown));
        line.series.applyOptions({ visible: isShown });
      });
      parts.push(button);
    }
    this.legend.replaceChildren(...parts);
  }

  showLegend() {
    if (!this.values) return;
    let row = this.rows[this.rows.length - 1], bar = null;
    if (this.pointed) {
      const index = this.rows.findIndex((one) => seconds(one[0]) === this.pointed);
      if (index >= 0) row = this.rows[index];
      else if (this.forming?.time === this.pointed) bar = this.forming;
    } else bar = this.forming;
    if (!row) { setText(this.when, "no bar has ended yet"); return; }
    const shown = bar ? [bar.open, bar.high, bar.low, bar.close] : row.slice(1, 5);
    setText(this.when, minute(bar ? bar.time : seconds(row[0])));
    shown.forEach((value, index) => setText(this.values[index], price(value, this.digits)));
    this.lines.forEach((line, place) => setText(line.value, number(row[6 + place] ?? null, this.digits)));
  }
}

const point = (time, value) => (value === null || value === undefined ? { time } : { time, value });

// The first of ascending *times* that is not before *time*; undefined behind the last.
const ceiling = (times, time) => {
  let low = 0, high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < time) low = middle + 1; else high = middle;
  }
  return times[low];
};
