// Questions in a modal dialog: the browser keeps the focus inside, Esc closes it, and what had the focus gets it back.

import { make, setText } from "./dom.js";

let count = 0;

// A number as a person writes it; undefined for an empty field.
export const parse = (text, label) => {
  const trimmed = text.trim().replace(",", ".");
  if (!trimmed) return undefined;
  const value = Number(trimmed);
  if (!Number.isFinite(value) || value <= 0) throw new RangeError(`${label} must be a number above 0, such as 1.25`);
  return value;
};

// Ask for *fields*, [{name, label, kind: "text" | "number" | "check" | "choice", value, options, required, hint, word}], and
// *act* with their values. The dialog stays open, with what is wrong, until *act* succeeds or it is closed.
export const ask = ({ title, text, facts = [], fields, confirm, isDangerous = false, act, closed = () => {} }) => {
  count += 1;
  const dialog = make("dialog", { "aria-labelledby": `dialog-${count}` });
  const error = make("p", { name: "error", role: "alert" });
  const submit = make("button", { name: isDangerous ? "danger solid" : "primary", type: "submit", text: confirm });
  const cancel = make("button", { name: "quiet", type: "button", text: "Back" });
  const inputs = new Map();
  const rows = fields.map((field) => {
    const id = `field-${count}-${field.name}`;
    let input;
    if (field.kind === "choice") {
      input = make("select", { id, name: "" }, ...field.options.map(([value, label]) => make("option", { value, text: label })));
      if (field.value !== undefined) input.value = field.value;
    } else if (field.kind === "check") {
      input = make("input", { id, type: "checkbox", checked: field.value });
    } else {
      input = make("input", { id, type: "text", inputmode: field.kind === "number" ? "decimal" : undefined, required: field.required, maxlength: 1000, placeholder: field.hint, autocomplete: "off", spellcheck: "false" });
      input.value = field.value ?? "";
    }
    inputs.set(field.name, input);
    if (field.kind === "check") return make("label", { name: "tick" }, input, make("span", { text: field.label }));
    return make("label", { name: "field", for: id }, make("span", { text: field.label }), input);
  });
  const list = facts.length ? [make("dl", { name: "facts" }, ...facts.flatMap(([term, value]) => [make("dt", { text: term }), make("dd", { text: value })]))] : [];
  const form = make("form", { method: "dialog", autocomplete: "off" }, make("h2", { id: `dialog-${count}`, text: title }), ...(text ? [make("p", { text })] : []), ...list, ...rows, error, make("div", { name: "buttons" }, cancel, submit));
  dialog.append(form);
  document.body.append(dialog);

  const words = fields.filter((field) => field.word);
  const check = () => { submit.disabled = words.some((field) => inputs.get(field.name).value !== field.word); };
  form.addEventListener("input", check);
  check();
  const values = () => Object.fromEntries(fields.map((field) => {
    const input = inputs.get(field.name);
    if (field.kind === "check") return [field.name, input.checked];
    return [field.name, field.kind === "number" ? parse(input.value, field.label) : input.value.trim()];
  }));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (submit.disabled) return;
    submit.disabled = true;
    setText(error, "");
    try {
      await act(values());
      dialog.close();
    } catch (problem) {
      setText(error, problem.message);
      check();
    }
  });
  cancel.addEventListener("click", () => dialog.close());
  const before = document.activeElement;
  dialog.addEventListener("close", () => {
    dialog.remove();
    closed();
    if (before?.isConnected) before.focus();
  });
  dialog.showModal();
  (inputs.get(fields.find((field) => field.kind !== "check" && field.kind !== "choice")?.name) ?? submit).focus();
};

// When the session ends, no question of it may stay open.
export const closeDialogs = () => { for (const dialog of document.querySelectorAll("dialog")) dialog.close(); };
