// What a person can have done: every act asks for a reason, which stands in the audit log of the run.

import { newKey, part } from "./api.js";
import { ask, parse } from "./dialogs.js";
import { money, price, signed, size } from "./format.js";
import { note } from "./messages.js";

const REASON = { name: "why", label: "Reason", kind: "text", required: true, hint: "it stands in the audit log" };
const HALTED_WORD = "KILL";

export const sideOf = (side) => (side > 0 ? "buy" : "sell");
export const termsOf = ({ type, limit, stop }, digits) => {
  const name = type.replace("_", " ");
  const prices = [stop, limit].filter((one) => one !== null).map((one) => price(one, digits));
  return prices.length ? `${name} ${prices.join(" / ")}` : name;
};

export class Acts {
  #placing = null;

  constructor(api, store) {
    this.api = api;
    this.store = store;
  }

  async #do(method, path, body, headers) {
    const done = await this.api.send(method, path, body, headers);
    note(done.text || "done");
    return done;
  }

  close(holding, share) {
    const digits = this.store.digits(holding.symbol);
    ask({
      title: `Close ${holding.symbol}`,
      facts: [
        ["Book", holding.strategy], ["Position", `${holding.size > 0 ? "long" : "short"} ${size(Math.abs(holding.size))} at ${price(holding.average_price, digits)}`],
        ["Open profit", `${signed(holding.profit)} ${this.store.state.currency}`],
      ],
      fields: [{ name: "share", label: "How much of it", kind: "choice", value: String(share), options: [["1", `all, ${size(Math.abs(holding.size))} lots`], ["0.5", "half of it"], ["0.25", "a quarter of it"]] }, REASON],
      confirm: "Close at market",
      act: ({ share: chosen, why }) => this.#do("POST", "positions/close", { strategy: holding.strategy, symbol: holding.symbol, share: Number(chosen), why }),
    });
  }

  cancel(order) {
    const { id, symbol, side, size: lots } = order.request;
    ask({
      title: `Cancel order ${id}`,
      facts: [["Order", `${sideOf(side)} ${size(lots)} ${symbol}, ${termsOf(order.request, this.store.digits(symbol))}`], ["Book", order.request.strategy]],
      fields: [REASON],
      confirm: "Cancel the order",
      act: ({ why }) => this.#do("POST", `orders/${part(id)}/cancel`, { why }),
    });
  }

  amend(order) {
    const asked = order.request, digits = this.store.digits(asked.symbol);
    const terms = [["size", "Size, lots"], ["limit", "Limit"], ["stop", "Stop"], ["stop_loss", "Stop loss"], ["take_profit", "Take profit"]]
      .filter(([name]) => asked[name] !== null || name === "stop_loss" || name === "take_profit");
    const shown = (name) => (asked[name] === null ? "" : name === "size" ? String(asked[name]) : price(asked[name], digits));
    ask({
      title: `Amend order ${asked.id}`,
      facts: [["Order", `${sideOf(asked.side)} ${size(asked.size)} ${asked.symbol}, ${termsOf(asked, digits)}`]],
      fields: [...terms.map(([name, label]) => ({ name, label, kind: "number", value: shown(name), hint: "none" })), REASON],
      confirm: "Amend the order",
      act: ({ why, ...given }) => {
        const changed = {};
        for (const [name, label] of terms) {
          if (given[name] === undefined && asked[name] !== null) throw new RangeError(`${label} can be changed, but not taken away; cancel the order`);
          if (given[name] !== undefined && String(given[name]) !== String(Number(shown(name) || NaN))) changed[name] = given[name];
        }
        if (!Object.keys(changed).length) throw new RangeError("nothing is changed; state other terms, or go back");
        return this.#do("PATCH", `orders/${part(asked.id)}`, { ...changed, why });
      },
    });
  }

  pause(strategy) {
    ask({
      title: `Pause ${strategy.name}`,
      text: "It may only reduce what it holds until it is resumed; its exits go on.",
      fields: [REASON],
      confirm: "Pause",
      act: ({ why }) => this.#do("POST", `strategies/${part(strategy.name)}/pause`, { why }),
    });
  }

  resume(strategy) {
    ask({
      title: `Resume ${strategy.name}`,
      fields: [REASON],
      confirm: "Resume",
      act: ({ why }) => this.#do("POST", `strategies/${part(strategy.name)}/resume`, { why }),
    });
  }

  kill() {
    const { strategies } = this.store.state;
    const scopes = [["account", "the whole account"], ...strategies.map((one) => [`strategy:${one.name}`, `strategy ${one.name}`]), ...this.store.symbols.map((one) => [`symbol:${one}`, `symbol ${one}`])];
    ask({
      title: "Kill switch",
      text: "Stops trading now. It holds, over restarts too, until somebody rearms it.",
      fields: [
        { name: "scope", label: "Of", kind: "choice", options: scopes },
        { name: "cancel_all", label: "Withdraw the working orders", kind: "check", value: true },
        { name: "flatten", label: "Close the positions at market", kind: "check", value: false },
        { name: "exits", label: "Let requests pass that only reduce", kind: "check", value: false },
        REASON,
        { name: "word", label: `Type ${HALTED_WORD} to confirm`, kind: "text", required: true, word: HALTED_WORD },
      ],
      confirm: "Stop trading",
      isDangerous: true,
      act: ({ word, ...body }) => this.#do("POST", "kill", body),
    });
  }

  rearm({ scope, who, why: reason }) {
    ask({
      title: `Rearm ${scope}`,
      facts: [["Stopped by", who], ["Because", reason]],
      fields: [{ name: "state", label: "What may pass", kind: "choice", options: [["ACTIVE", "everything again"], ["REDUCING", "only what reduces"]] }, REASON],
      confirm: "Rearm",
      act: ({ state, why }) => this.#do("POST", "rearm", { scope, state, why }),
    });
  }

  reconcile() {
    ask({
      title: "Reconcile", text: "Compares every account with the books, now.", fields: [REASON], confirm: "Reconcile",
      act: ({ why }) => this.#do("POST", "reconcile", { why }),
    });
  }

  reload() {
    ask({
      title: "Read settings again", text: "Those that may change while the run goes on.", fields: [REASON], confirm: "Read again",
      act: ({ why }) => this.#do("POST", "reload", { why }),
    });
  }

  // Place what the ticket says; return whether it was taken. Where real money is at stake a dialog asks once more.
  async place(values) {
    const body = { symbol: values.symbol, side: values.side, reduce_only: values.reduce_only, why: values.why.trim() };
    for (const [name, label] of [["size", "Size"], ["limit", "Limit"], ["stop", "Stop"], ["stop_loss", "Stop loss"], ["take_profit", "Take profit"]]) {
      const value = parse(values[name], label);
      if (value !== undefined) body[name] = value;
    }
    if (body.size === undefined) throw new RangeError("Size must be stated, in lots");
    // The same order again, because no answer came, is the same request to the server: it is never placed twice.
    const told = JSON.stringify(body);
    if (this.#placing?.told !== told) this.#placing = { told, key: newKey() };
    const send = async () => {
      try {
        await this.#do("POST", "orders", body, { "Idempotency-Key": this.#placing.key });
      } catch (error) {
        if (error.status && error.status !== 504) this.#placing = null;
        throw error;
      }
      this.#placing = null;
    };
    if (!this.store.isReal) { await send(); return true; }
    return new Promise((resolve) => {
      ask({
        title: "Real money",
        facts: [["Order", `${body.side} ${size(body.size)} ${body.symbol}`], ["Price", body.limit ?? body.stop ?? "at market"], ["Equity", `${money(this.store.state.equity)} ${this.store.state.currency}`]],
        fields: [], confirm: `Place it: ${body.side} ${size(body.size)} ${body.symbol}`, isDangerous: true,
        act: async () => { await send(); resolve(true); },
        closed: () => resolve(false),
      });
    });
  }
}
