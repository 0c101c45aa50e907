// Before the first paint: the theme that was chosen here, if one was; the system's otherwise.
"use strict";
try {
  const chosen = localStorage.getItem("herald.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* a browser that keeps nothing follows the system */ }
