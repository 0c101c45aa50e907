// Light and dark, and the colours of the style sheet for what is drawn on canvases.

const root = document.documentElement;
const system = window.matchMedia("(prefers-color-scheme: dark)");
const listeners = [];
const probe = document.createElement("i");
probe.hidden = true;
document.body.append(probe);

const known = new Map();

// A variable of the style sheet as rgb(); the computed value of the variable itself would be its source text. It is kept,
// because asking makes the browser work out the styles of the whole page.
export const color = (name, share = 1) => {
  if (!known.has(name)) {
    probe.style.color = `var(--${name})`;
    known.set(name, getComputedStyle(probe).color);
  }
  const found = known.get(name);
  return share === 1 ? found : found.replace("rgb(", "rgba(").replace(")", `, ${share})`);
};

const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
const tell = () => { known.clear(); for (const listener of listeners) listener(); };

export const onLook = (listener) => { listeners.push(listener); listener(); };

export const startTheme = (button) => {
  system.addEventListener("change", tell);
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("herald.theme", root.dataset.theme); } catch { /* it holds for this page */ }
    tell();
  });
};

export const chartLook = () => ({
  layout: {
    background: { type: "solid", color: color("panel") }, textColor: color("soft"), fontSize: 11, fontFamily: getComputedStyle(document.body).fontFamily,
    panes: { separatorColor: color("line"), separatorHoverColor: color("hover") },
    // The library would add a style element for its logo, which the page's policy forbids; the same logo and link
    // stand in index.html.
    attributionLogo: false,
  },
  grid: { vertLines: { color: color("grid") }, horzLines: { color: color("grid") } },
  rightPriceScale: { borderColor: color("line") },
  timeScale: { borderColor: color("line") },
  crosshair: {
    vertLine: { color: color("faint"), labelBackgroundColor: color("soft") },
    horzLine: { color: color("faint"), labelBackgroundColor: color("soft") },
  },
});
