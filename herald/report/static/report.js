"use strict";
// Draws the charts and the table of trades from the JSON beside it. All data is text to this page: nothing of it is
// ever parsed as HTML. `window.__herald` states what was drawn, for tests.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const Charts = window.LightweightCharts;
  const root = document.documentElement;
  const at = (id) => document.getElementById(id);
  const make = (tag, text, name) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (name) element.className = name;
    return element;
  };

  // --- data ------------------------------------------------------------------------------------------------------

  const kinds = { i1: Int8Array, i2: Int16Array, i4: Int32Array, f8: Float64Array };
  const raw = ([kind, text]) => {
    const binary = atob(text), bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i += 1) bytes[i] = binary.charCodeAt(i);
    return new kinds[kind](bytes.buffer);
  };
  // A column is either floats as they are, or whole steps: a first value and the change to each next one. Dividing a
  // whole number by another gives the nearest double to the decimal price.
  const column = (packed) => {
    const numbers = raw(packed.values);
    if (packed.values[0] === "f8") return numbers;
    const out = new Float64Array(numbers.length);
    let sum = packed.first;
    for (let i = 0; i < numbers.length; i += 1) {
      sum += numbers[i] * packed.unit;
      out[i] = (sum * packed.times) / packed.over;
    }
    return out;
  };
  const symbols = data.symbols; // their columns are unpacked when a symbol is shown
  const unpack = (symbol) => {
    if (symbol.times) return;
    symbol.times = column(symbol.time);
    for (const name of ["open", "high", "low", "close"]) symbol[name] = column(symbol[name]);
  };
  const curve = { time: column(data.equity.time), equity: column(data.equity.equity), balance: column(data.equity.balance) };

  const formats = new Map();
  const number = (value, digits) => {
    if (!formats.has(digits)) formats.set(digits, new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
    return formats.get(digits).format(value);
  };
  const stamp = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ");
  const signed = (value) => (value > 0 ? "up" : value < 0 ? "down" : "");
  const length = (seconds) => {
    const d = Math.floor(seconds / 86400), h = Math.floor(seconds / 3600) % 24, m = Math.floor(seconds / 60) % 60;
    return d ? `${d} d ${h} h` : h ? `${h} h ${m} min` : `${m} min`;
  };
  // Index of the last time that is not later; -1 before the first.
  const place = (times, time) => {
    let low = 0, high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] <= time) low = middle + 1; else high = middle;
    }
    return low - 1;
  };

  // --- look ------------------------------------------------------------------------------------------------------

  const color = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  const look = () => ({
    layout: {
      background: { type: "solid", color: color("panel") }, textColor: color("soft"), fontSize: 11, attributionLogo: true,
      fontFamily: getComputedStyle(document.body).fontFamily, panes: { separatorColor: color("line"), separatorHoverColor: color("hover") },
    },
    grid: { vertLines: { color: color("line") }, horzLines: { color: color("line") } },
    rightPriceScale: { borderColor: color("line") },
    timeScale: { borderColor: color("line") },
    crosshair: { vertLine: { color: color("faint"), labelBackgroundColor: color("soft") }, horzLine: { color: color("faint"), labelBackgroundColor: color("soft") } },
  });
  const base = {
    autoSize: true,
    timeScale: { minBarSpacing: 0.0005, rightOffset: 2, timeVisible: true, secondsVisible: false, enableConflation: true },
    crosshair: { mode: 0 },
    localization: { locale: "en-US", timeFormatter: stamp },
    handleScroll: { vertTouchDrag: false },
    handleScale: { mouseWheel: true },
  };
  const repaint = [];
  const setTheme = (theme) => {
    root.dataset.theme = theme;
    for (const paint of repaint) paint();
  };
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  setTheme(dark.matches ? "dark" : "light");
  let chosen = false;
  dark.addEventListener("change", () => { if (!chosen) setTheme(dark.matches ? "dark" : "light"); });
  at("theme").addEventListener("click", () => { chosen = true; setTheme(root.dataset.theme === "dark" ? "light" : "dark"); });

  // --- trades on the price ---------------------------------------------------------------------------------------

  // One line a trade from entry to exit, green when won; a triangle where it began, a ring where it ended. Close
  // together, the marks shrink to dots, so that nine years stay readable.
  class TradeMarks {
    constructor(chart, series) {
      this.chart = chart;
      this.series = series;
      this.items = [];
      this.view = { renderer: () => ({ draw: (target) => target.useMediaCoordinateSpace((scope) => this.draw(scope)) }) };
    }
    attached({ requestUpdate }) { this.update = requestUpdate; }
    paneViews() { return [this.view]; }
    set(items) { this.items = items; if (this.update) this.update(); }
    get count() { return this.items.reduce((sum, item) => sum + (item.to === null ? 1 : 2), 0); }
    draw({ context: c, mediaSize }) {
      const scale = this.chart.timeScale(), range = scale.getVisibleLogicalRange();
      if (!range || !this.series.options().visible) return; // a hidden series has no coordinates
      const shown = this.items.filter((item) => item.from <= range.to + 1 && (item.to === null ? item.from : item.to) >= range.from - 1);
      const spacing = mediaSize.width / Math.max(shown.length, 1);
      const size = spacing > 70 ? 7 : spacing > 24 ? 5.5 : spacing > 9 ? 3.5 : spacing > 4 ? 2.2 : 0;
      const up = color("up"), down = color("down"), soft = color("soft"), panel = color("panel");
      const x = (index) => scale.logicalToCoordinate(index), y = (price) => this.series.priceToCoordinate(price);
      c.lineWidth = 1.5;
      if (size > 3) c.setLineDash([4, 3]);
      for (const item of shown) {
        if (item.to === null) continue;
        c.strokeStyle = item.net < 0 ? down : up;
        c.beginPath(); c.moveTo(x(item.from), y(item.entry)); c.lineTo(x(item.to), y(item.exit)); c.stroke();
      }
      c.setLineDash([]);
      if (!size) return;
      for (const item of shown) {
        const left = x(item.from), top = y(item.entry), way = item.long ? 1 : -1;
        c.fillStyle = item.long ? up : down;
        c.strokeStyle = panel;
        c.lineWidth = 1;
        c.beginPath();
        if (size > 3) {
          c.moveTo(left, top - way * size); c.lineTo(left + size, top + way * size); c.lineTo(left - size, top + way * size); c.closePath();
        } else c.arc(left, top, size, 0, 7);
        c.fill();
        if (size > 3) c.stroke();
      }
      // Rings last and empty: where a trade ends as the next one begins, both marks can be seen.
      c.strokeStyle = c.fillStyle = soft;
      c.lineWidth = 1.5;
      for (const item of shown) {
        if (item.to === null) continue;
        c.beginPath(); c.arc(x(item.to), y(item.exit), size * (size > 3 ? 1.1 : 0.7), 0, 7);
        if (size > 3) c.stroke(); else c.fill();
      }
    }
  }

  // --- price -----------------------------------------------------------------------------------------------------

  const drawn = { bars: 0, markers: 0, points: 0, trades: 0, rows: 0, symbol: "" };
  window.__herald = drawn;
  const trades = data.trades.side.map((_, index) => Object.fromEntries([["index", index], ...Object.keys(data.trades).map((key) => [key, data.trades[key][index]])]));
  let priceChart = null, candles = null, line = null, marks = null, current = null;
  const filled = new Set();

  const pressed = (group, attribute, value) => {
    for (const button of at(group).children) button.setAttribute("aria-pressed", String(button.dataset[attribute] === value));
  };
  // Each series gets its bars when it is first shown: 60,000 of them are not free.
  const fill = (series) => {
    if (filled.has(series)) return;
    filled.add(series);
    const n = current.times.length, rows = new Array(n), { times, open, high, low, close } = current;
    for (let i = 0; i < n; i += 1) {
      rows[i] = series === line ? { time: times[i], value: close[i] } : { time: times[i], open: open[i], high: high[i], low: low[i], close: close[i] };
    }
    series.setData(rows);
  };
  const showKind = (kind) => {
    fill(kind === "line" ? line : candles);
    candles.applyOptions({ visible: kind === "candles" });
    line.applyOptions({ visible: kind === "line" });
    drawn.bars = (kind === "line" ? line : candles).data().length;
    at("price").dataset.bars = drawn.bars;
    pressed("kind", "kind", kind);
  };
  const showDays = (days) => {
    const n = current.times.length;
    if (!n) return;
    const from = days ? Math.max(place(current.times, current.times[n - 1] - days * 86400), 0) : 0;
    priceChart.timeScale().setVisibleLogicalRange({ from: from - 0.5, to: n - 0.5 + (n - from) * 0.02 });
    pressed("range", "days", String(days));
  };
  const showSymbol = (index) => {
    current = symbols[index];
    unpack(current);
    const n = current.times.length, digits = current.digits;
    const priceFormat = { type: "price", precision: digits, minMove: 10 ** -digits };
    candles.applyOptions({ priceFormat }); line.applyOptions({ priceFormat });
    filled.clear();
    candles.setData([]); line.setData([]);
    const items = [];
    for (const trade of trades) {
      if (trade.symbol !== index) continue;
      items.push({ from: place(current.times, trade.entry_time), to: place(current.times, trade.exit_time), entry: trade.entry_price, exit: trade.exit_price, net: trade.net, long: trade.side > 0 });
    }
    for (const held of data.open) {
      if (held.symbol === index) items.push({ from: place(current.times, held.time), to: null, entry: held.price, long: held.side > 0 });
    }
    for (const each of marks) each.set(items);
    Object.assign(drawn, { markers: marks[0].count, symbol: current.name });
    at("price").dataset.markers = drawn.markers;
    at("price").dataset.symbol = current.name;
    at("price-note").textContent = [
      `${number(n, 0)} bars of ${current.timeframe}`,
      current.merged > 1 ? `each drawn from ${current.merged}` : "",
      data.trades_total > trades.length ? `first ${number(trades.length, 0)} of ${number(data.trades_total, 0)} trades` : "",
    ].filter(Boolean).join(", ");
    showKind(n > 5000 ? "line" : "candles");
    showLegend(n - 1);
  };
  const showLegend = (index) => {
    const box = at("price-legend");
    box.replaceChildren();
    if (index < 0 || index >= current.times.length) return;
    box.append(`${current.name} ${stamp(current.times[index])} `);
    for (const [name, values] of [["O", current.open], ["H", current.high], ["L", current.low], ["C", current.close]]) {
      box.append(` ${name} `, make("b", number(values[index], current.digits)));
    }
  };
  const drawPrice = () => {
    priceChart = Charts.createChart(at("price"), base);
    candles = priceChart.addSeries(Charts.CandlestickSeries, { lastValueVisible: true, priceLineVisible: false });
    line = priceChart.addSeries(Charts.LineSeries, { lineWidth: 1.5, visible: false, priceLineVisible: false, crosshairMarkerRadius: 3 });
    marks = [candles, line].map((series) => new TradeMarks(priceChart, series))
    candles.attachPrimitive(marks[0]);
    line.attachPrimitive(marks[1]);
    const paint = () => {
      priceChart.applyOptions(look());
      const up = color("up"), down = color("down");
      candles.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down, borderVisible: false });
      line.applyOptions({ color: color("balance") });
    };
    paint();
    repaint.push(paint);
    priceChart.subscribeCrosshairMove((move) => showLegend(move.logical === undefined || move.logical === null ? current.times.length - 1 : Math.round(move.logical)));
    const choice = at("symbol");
    symbols.forEach((symbol, index) => { const option = make("option", symbol.name); option.value = index; choice.append(option); });
    choice.hidden = symbols.length < 2;
    choice.addEventListener("change", () => { showSymbol(Number(choice.value)); showDays(0); });
    at("kind").addEventListener("click", (event) => { if (event.target.dataset.kind) showKind(event.target.dataset.kind); });
    at("range").addEventListener("click", (event) => { if (event.target.dataset.days) showDays(Number(event.target.dataset.days)); });
    showSymbol(0);
    showDays(0);
  };
  const showTrade = (trade) => {
    if (symbols[trade.symbol] !== current) { at("symbol").value = trade.symbol; showSymbol(trade.symbol); }
    const from = place(current.times, trade.entry_time), to = place(current.times, trade.exit_time);
    const margin = Math.max(20, (to - from) * 0.6);
    showKind("candles");
    pressed("range", "days", "");
    priceChart.timeScale().setVisibleLogicalRange({ from: from - margin, to: to + margin });
    at("price-panel").scrollIntoView({ block: "start" });
  };

  // --- equity ----------------------------------------------------------------------------------------------------

  const drawEquity = () => {
    const chart = Charts.createChart(at("equity"), base);
    const money = { type: "price", precision: data.equity.digits, minMove: 10 ** -data.equity.digits };
    const balance = chart.addSeries(Charts.LineSeries, { lineWidth: 1, priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false, priceFormat: money });
    const equity = chart.addSeries(Charts.AreaSeries, { lineWidth: 1.5, priceLineVisible: false, priceFormat: money });
    const below = chart.addSeries(Charts.AreaSeries, { lineWidth: 1, priceLineVisible: false, invertFilledArea: true, priceFormat: { type: "custom", minMove: 0.01, formatter: (value) => `${value.toFixed(1)} %` } }, 1);
    const n = curve.time.length, points = new Array(n), balances = new Array(n), falls = new Array(n);
    let peak = data.cash;
    for (let i = 0; i < n; i += 1) {
      const time = curve.time[i], value = curve.equity[i];
      peak = Math.max(peak, value);
      points[i] = { time, value };
      balances[i] = { time, value: curve.balance[i] };
      falls[i] = { time, value: (value / peak - 1) * 100 };
    }
    equity.setData(points); balance.setData(balances); below.setData(falls);
    chart.panes()[0].setStretchFactor(3);
    chart.panes()[1].setStretchFactor(1);
    const paint = () => {
      chart.applyOptions(look());
      const accent = color("accent"), down = color("down");
      equity.applyOptions({ lineColor: accent, topColor: `${accent}33`, bottomColor: `${accent}05` });
      balance.applyOptions({ color: color("balance") });
      below.applyOptions({ lineColor: down, topColor: `${down}08`, bottomColor: `${down}55` });
    };
    paint();
    repaint.push(paint);
    const legend = (index) => {
      const box = at("equity-legend");
      box.replaceChildren();
      if (index < 0 || index >= n) return;
      const digits = data.equity.digits;
      box.append(`${stamp(curve.time[index])}  equity `, make("b", number(curve.equity[index], digits)), "  balance ", make("b", number(curve.balance[index], digits)), "  drawdown ", make("b", `${number(falls[index].value, 2)} %`));
    };
    chart.subscribeCrosshairMove((move) => legend(move.logical === undefined || move.logical === null ? n - 1 : Math.round(move.logical)));
    legend(n - 1);
    chart.timeScale().setVisibleLogicalRange({ from: -0.5, to: n - 0.5 + n * 0.02 });
    drawn.points = equity.data().length;
    at("equity").dataset.points = drawn.points;
    at("equity").dataset.drawdownPoints = below.data().length;
    at("equity-note").textContent = `${number(n, 0)} points` + (data.equity.merged > 1 ? `, thinned from ${number(data.equity.total, 0)}` : "");
  };

  // --- table -----------------------------------------------------------------------------------------------------

  const columns = [
    ["#", (t) => t.index + 1, (t) => String(t.index + 1)],
    ["Symbol", (t) => symbols[t.symbol]?.name ?? "", null, "text"],
    ["Strategy", (t) => data.strategies[t.strategy], null, "text"],
    ["Side", (t) => (t.side > 0 ? "long" : "short"), null, "text"],
    ["Size", (t) => t.size, (t) => String(t.size)],
    ["Entry", (t) => t.entry_time, (t) => stamp(t.entry_time)],
    ["Entry price", (t) => t.entry_price, (t) => number(t.entry_price, symbols[t.symbol]?.digits ?? 5)],
    ["Exit", (t) => t.exit_time, (t) => stamp(t.exit_time)],
    ["Exit price", (t) => t.exit_price, (t) => number(t.exit_price, symbols[t.symbol]?.digits ?? 5)],
    ["Held", (t) => t.exit_time - t.entry_time, (t) => length(t.exit_time - t.entry_time)],
    ["Fees", (t) => t.fees, (t) => number(t.fees, 2)],
    ...(trades.some((t) => t.swap) ? [["Swap", (t) => t.swap, (t) => number(t.swap, 2)]] : []),
    ["Net profit", (t) => t.net, (t) => number(t.net, 2)],
    ["Why closed", (t) => t.exit_tag || "strategy", null, "text"],
  ];
  const ROWS = 500;
  let sorted = { by: 0, up: true };
  const fillTable = () => {
    const [, key] = columns[sorted.by], way = sorted.up ? 1 : -1;
    const order = [...trades].sort((a, b) => {
      const x = key(a), y = key(b);
      return (x < y ? -1 : x > y ? 1 : a.index - b.index) * way;
    });
    const body = document.createDocumentFragment();
    for (const trade of order.slice(0, ROWS)) {
      const row = make("tr");
      row.tabIndex = -1;
      for (const [name, value, show, kind] of columns) {
        const text = show ? show(trade) : value(trade);
        const cell = make("td", text, [kind ?? "", name === "Net profit" ? signed(trade.net) : ""].join(" ").trim());
        if (kind) cell.title = text;
        row.append(cell);
      }
      row.addEventListener("click", () => showTrade(trade));
      body.append(row);
    }
    at("trades").tBodies[0].replaceChildren(body);
    [...at("trades").tHead.rows[0].cells].forEach((cell, index) => {
      if (index === sorted.by) cell.setAttribute("aria-sort", sorted.up ? "ascending" : "descending"); else cell.removeAttribute("aria-sort");
    });
    drawn.rows = at("trades").tBodies[0].rows.length;
  };
  const drawTable = () => {
    const head = make("tr");
    columns.forEach(([name, , , kind], index) => {
      const cell = make("th", undefined, kind);
      const button = make("button", name);
      button.type = "button";
      button.addEventListener("click", () => { sorted = { by: index, up: sorted.by === index ? !sorted.up : index !== 11 }; fillTable(); });
      cell.append(button);
      head.append(cell);
    });
    at("trades").tHead.append(head);
    fillTable();
    drawn.trades = trades.length;
    at("trades").dataset.trades = data.trades_total;
    const shown = Math.min(ROWS, trades.length);
    at("trades-note").textContent = data.trades_total
      ? `${shown < data.trades_total ? `${number(shown, 0)} of ` : ""}${number(data.trades_total, 0)} trades; click a heading to sort, a row to see it on the chart` + (shown < data.trades_total ? "; all of them are in trades.csv" : "")
      : "no trade was closed";
  };

  for (const cell of document.querySelectorAll("dt[data-formula]")) cell.tabIndex = 0;
  if (symbols.length) drawPrice(); else at("price-panel").hidden = true;
  if (curve.time.length) drawEquity(); else at("equity-panel").hidden = true;
  drawTable();
  drawn.ready = true;
})();
