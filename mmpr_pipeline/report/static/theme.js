"use strict";
// Light or dark: the system's choice until the button says otherwise; the choice is remembered where that is allowed.
(() => {
  const root = document.documentElement;
  const remembered = () => { try { return localStorage.getItem("mmpr-theme"); } catch { return null; } };
  const remember = (theme) => { try { localStorage.setItem("mmpr-theme", theme); } catch { /* a file:// page may not */ } };
  const chosen = remembered();
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
  document.addEventListener("click", (event) => {
    if (!event.target.closest(".theme-toggle")) return;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    remember(root.dataset.theme);
  });
})();
