// Equity and balance over the run, and the fall from the running peak below.

import { AreaSeries, LineSeries, createChart } from "./lightweight-charts.standalone.production.mjs";
import { make, setText } from "./dom.js";
import { minute, money, number } from "./format.js";
import { chartLook, color, onLook } from "./look.js";

export class EquityChart {
  constructor(box, legend) {
    this.points = [];
    this.falls = [];
    this.legend = ["when", "equity", "fall"].map(() => make("b"));
    const [when, equity, fall] = this.legend;
    legend.replaceChildren(when, make("span", { text: "equity" }), equity, make("span", { text: "drawdown" }), fall);
    this.chart = createChart(box, {
      ...chartLook(),
      autoSize: true,
      timeScale: { ...chartLook().timeScale, rightOffset: 1, timeVisible: true, secondsVisible: false, minBarSpacing: 0.0005, enableConflation: true },
      crosshair: { ...chartLook().crosshair, mode: 0 },
      localization: { locale: "en-US", timeFormatter: minute },
      handleScroll: { vertTouchDrag: false },
    });
    const quiet = { priceLineVisible: false, priceFormat: { type: "price", precision: 2, minMove: 0.01 } };
    this.balance = this.chart.addSeries(LineSeries, { ...quiet, lineWidth: 1, lastValueVisible: false, crosshairMarkerVisible: false });
    this.equity = this.chart.addSeries(AreaSeries, { ...quiet, lineWidth: 1.5 });
    const percents = { type: "custom", minMove: 0.01, formatter: (value) => `${value.toFixed(2)} %` };
    this.fall = this.chart.addSeries(AreaSeries, { ...quiet, lineWidth: 1, invertFilledArea: true, priceFormat: percents }, 1);
    this.chart.panes()[0].setStretchFactor(3);
    this.chart.panes()[1].setStretchFactor(1);
    this.chart.subscribeCrosshairMove((move) => {
      this.pointed = move.time ?? null;
      this.#showLegend();
    });
    onLook(() => this.#paint());
  }

  // Draw *points*, [{time, equity, balance}]: the last one alone where the rest is drawn, everything otherwise. *peak* is
  // the run's own, which may lie before the first point.
  set(points, peak) {
    const last = points[points.length - 1], drawn = this.points[this.points.length - 1];
    if (!last || (drawn && last.time === drawn.time && last.equity === drawn.equity && last.balance === drawn.balance)) return;
    const isNext = drawn && points.length >= this.points.length && points[0].time === this.points[0].time
      && points.length - this.points.length <= 1 && last.time >= drawn.time;
    if (isNext) {
      this.peak = Math.max(this.peak, last.equity);
      if (last.time === drawn.time) this.falls.pop();
      this.falls.push({ time: last.time, value: fallOf(last.equity, this.peak) });
      this.equity.update({ time: last.time, value: last.equity });
      this.balance.update({ time: last.time, value: last.balance });
      this.fall.update(this.falls[this.falls.length - 1]);
    } else {
      const highest = Math.max(...points.map((one) => one.equity));
      // A peak before the first point is only known to be one if no point reaches it.
      this.peak = highest < peak ? peak : points[0].equity;
      this.falls = points.map((one) => {
        this.peak = Math.max(this.peak, one.equity);
        return { time: one.time, value: fallOf(one.equity, this.peak) };
      });
      this.equity.setData(points.map((one) => ({ time: one.time, value: one.equity })));
      this.balance.setData(points.map((one) => ({ time: one.time, value: one.balance })));
      this.fall.setData(this.falls);
      this.chart.timeScale().fitContent();
    }
    this.points = points.slice();
    this.#showLegend();
  }

  read() { return { points: this.equity.data().length, falls: this.fall.data().length }; }

  #paint() {
    this.chart.applyOptions(chartLook());
    this.equity.applyOptions({ lineColor: color("accent"), topColor: color("accent", 0.2), bottomColor: color("accent", 0.02) });
    this.balance.applyOptions({ color: color("balance") });
    this.fall.applyOptions({ lineColor: color("down"), topColor: color("down", 0.03), bottomColor: color("down", 0.3) });
  }

  #showLegend() {
    const points = this.points;
    let index = points.length - 1;
    if (this.pointed) while (index > 0 && points[index].time > this.pointed) index -= 1;
    if (index < 0) return;
    const one = points[index];
    [minute(one.time).slice(5), money(one.equity), `${number(this.falls[index].value, 2)} %`].forEach((text, place) => setText(this.legend[place], text));
  }
}

const fallOf = (equity, peak) => (peak > 0 ? (equity / peak - 1) * 100 : 0);
