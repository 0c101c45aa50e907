// What went wrong stays until it is dismissed; what went well leaves by itself.

import { at, make, setText } from "./dom.js";

const MOST = 20, NOTE_MILLISECONDS = 6000;
const shown = new Map();

export const complain = (text, code = "") => {
  const key = `${code} ${text}`, known = shown.get(key);
  if (known) {
    known.count += 1;
    setText(known.times, `${known.count} times`);
    return;
  }
  const times = make("span", { name: "times" });
  const dismiss = make("button", { name: "icon close", type: "button", "aria-label": "Dismiss this message" });
  const element = make("div", { name: "message" }, make("p", {}, make("b", { text: code ? `Refused: ${code}` : "Error" }), times, make("br"), text), dismiss);
  dismiss.addEventListener("click", () => { element.remove(); shown.delete(key); });
  shown.set(key, { element, times, count: 1 });
  at("messages").append(element);
  if (shown.size > MOST) {
    const [oldest, { element: old }] = shown.entries().next().value;
    old.remove();
    shown.delete(oldest);
  }
};

export const note = (text) => {
  const element = make("p", { text });
  at("notes").append(element);
  while (at("notes").children.length > 3) at("notes").firstChild.remove();
  setTimeout(() => element.remove(), NOTE_MILLISECONDS);
};

export const clearMessages = () => {
  at("messages").replaceChildren();
  at("notes").replaceChildren();
  shown.clear();
};
