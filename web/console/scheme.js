// Light or dark, before the first paint: what was chosen on this machine, or else what the system prefers.

"use strict";

(() => {
  const KEY = "ledger-console-scheme";
  const chosen = () => { try { return localStorage.getItem(KEY); } catch { return null; } };
  const apply = (scheme) => {
    if (scheme === "light" || scheme === "dark") document.documentElement.dataset.theme = scheme;
    else delete document.documentElement.dataset.theme;
  };
  apply(chosen());
  addEventListener("storage", (event) => { if (event.key === KEY) apply(event.newValue); });
  addEventListener("ledger-scheme", () => {
    const isDark = getComputedStyle(document.documentElement).colorScheme === "dark";
    const scheme = isDark ? "light" : "dark";
    apply(scheme);
    try { localStorage.setItem(KEY, scheme); } catch { /* the choice lasts as long as the page */ }
  });
})();
