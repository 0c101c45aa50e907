// Who is logged in, and which buttons that lets be pressed. The server decides; this only says it beforehand.

import { note } from "./messages.js";

const MEANING = {
  orders: "place and change orders",
  reduce: "withdraw orders and close positions",
  strategies: "pause and resume strategies",
  reconcile: "have the accounts compared",
  kill: "stop trading",
  "kill:reset": "let trading go on after a stop",
  admin: "read settings again",
};

let me = { name: "", role: "", scopes: [] };

const can = (scope) => me.scopes.includes(scope);
export const whyNot = (scope) => (can(scope) ? "" : `The role ${me.role} may not ${MEANING[scope] ?? scope}`);

const apply = (button) => {
  const reason = whyNot(button.dataset.scope);
  if (reason) button.setAttribute("aria-disabled", "true"); else button.removeAttribute("aria-disabled");
  button.title = reason || (button.dataset.title ?? "");
};

// Let *button* do *act* for whoever has *scope*. One that may not be pressed can still be reached, and says why.
export const guard = (button, scope, act) => {
  if (!button.dataset.scope) button.dataset.title = button.title;
  button.dataset.scope = scope;
  apply(button);
  if (act) {
    button.addEventListener("click", (event) => {
      if (whyNot(scope)) { event.preventDefault(); note(whyNot(scope)); } else act();
    });
  }
  return button;
};

export const setCaller = (caller) => {
  me = caller;
  for (const button of document.querySelectorAll("[data-scope]")) apply(button);
};
