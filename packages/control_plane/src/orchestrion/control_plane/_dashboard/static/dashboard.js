// What every page does; what only some need is loaded by those.

import { ages, follow } from "./live.js";
import { calls } from "./calls.js";
import { keep } from "./proof.js";

function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const wanted = dark ? "light" : "dark";
  root.dataset.theme = wanted;
  document.cookie = `theme=${wanted}; path=/; max-age=31536000; samesite=strict`;
  document.dispatchEvent(new CustomEvent("theme"));
}

function search() {
  const dialog = document.getElementById("search");
  if (!dialog) return;
  const text = document.getElementById("search-text");
  const open = () => {
    if (dialog.open) return;
    dialog.showModal();
    text.select();
  };
  document.getElementById("search-open").addEventListener("click", open);
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      open();
    }
  });
  dialog.addEventListener("keydown", (event) => {
    const links = [...dialog.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement);
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const next = event.key === "ArrowDown" ? Math.min(at + 1, links.length - 1) : at - 1;
      (links[next] || text).focus();
    } else if (event.key === "Enter" && document.activeElement === text) {
      event.preventDefault();
      if (links.length) links[0].click();
    }
  });
  dialog.addEventListener("click", (event) => {
    // A link to a place on the page that is open already loads nothing.
    if (event.target.closest("a")) dialog.close();
  });
}

keep();
document.getElementById("theme")?.addEventListener("click", theme);
search();
calls();
ages();
const live = follow();
if (live && document.getElementById("logs")) {
  import("./output.js").then((module) => module.output(live));
}
if (document.getElementById("terminal")) {
  import("./terminal.js").then((module) => module.terminal());
}
if (document.getElementById("plot")) {
  import("./plot.js").then((module) => module.plot());
}
