"use strict";
(() => {
  const root = document.documentElement, theme = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const named = () => { theme.textContent = dark() ? "Light" : "Dark"; };
  const fromHash = () => { if (["#dark", "#light"].includes(location.hash)) root.dataset.theme = location.hash.slice(1); named(); };
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; named(); });
  window.addEventListener("hashchange", fromHash);
  system.addEventListener("change", named);
  theme.hidden = false;
  fromHash();
})();
