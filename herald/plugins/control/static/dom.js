// The only place that makes elements. Whatever comes from the server becomes text or an attribute, never markup.

export const at = (id) => document.getElementById(id);

export const make = (tag, { text, name, ...attributes } = {}, ...children) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(key, "");
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(key, String(value));
  }
  element.append(...children);
  return element;
};

// Writing what is there already would cost a layout each time; most values stay from one message to the next.
export const setText = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};
export const setClass = (element, name) => {
  if (element.className !== name) element.className = name;
};

// Tabs as the ARIA practices want them: one is in the tab order, arrows move between them.
export const tabs = (list, chosen) => {
  const all = () => [...list.querySelectorAll("[role=tab]")];
  const select = (tab, focus) => {
    for (const one of all()) {
      const is = one === tab;
      one.setAttribute("aria-selected", String(is));
      one.tabIndex = is ? 0 : -1;
      const panel = one.getAttribute("aria-controls") && at(one.getAttribute("aria-controls"));
      if (panel && panel.getAttribute("aria-labelledby") === one.id) panel.hidden = !is;
    }
    if (focus) tab.focus();
    tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    chosen(tab);
  };
  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) select(tab, false);
  });
  list.addEventListener("keydown", (event) => {
    const found = all(), index = found.indexOf(document.activeElement);
    const next = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: found.length - 1 }[event.key];
    if (index < 0 || next === undefined) return;
    event.preventDefault();
    select(found[(next + found.length) % found.length], true);
  });
  return select;
};
