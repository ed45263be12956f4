// The keys: `/` searches, `g` and a letter go to a view, `?` shows all of them.

import { h } from "./dom.js";
import { navigate, VIEWS } from "./router.js";
import { can } from "./session.js";
import { at, bounds, setAt, slideTo } from "./time.js";

let isGoing = false; // `g` was pressed

/** Listen to the keys of the whole console. Tables have `j` and `k` of their own. */
export function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest("input:not([type=range]), textarea, select, dialog") || document.body.classList.contains("signed-out")) return;
    if (press(event.key)) event.preventDefault();
  });
}

function press(key) {
  const wasGoing = isGoing;
  isGoing = false;
  const view = wasGoing && VIEWS.find((each) => each.key === key && can(...each.roles));
  if (view) navigate(view.path);
  else if (key === "g") isGoing = true;
  else if (key === "/") document.getElementById("search")?.focus();
  else if (key === "?") void showKeys();
  else if (key === "n") setAt(null);
  else if (key === "[" || key === "]") step(key === "[" ? -1 : 1);
  else if (key === "j" || key === "k") return enterTable();
  else return false;
  return true;
}

function step(by) {
  const { min, max, value } = bounds();
  if (by < 0 || at()) void slideTo(Math.max(min, Math.min(max, value + by)));
}

function enterTable() {
  const grid = document.querySelector("main .grid");
  if (!grid || grid.contains(document.activeElement)) return false;
  grid.focusFirst();
  return true;
}

async function showKeys() {
  const { openDialog } = await import("./dialog.js");
  const rows = [
    ["/", "Search"],
    ...VIEWS.filter((view) => view.key && can(...view.roles)).map((view) => [`g ${view.key}`, view.name]),
    ["j k", "Next and previous row"],
    ["Enter", "Open the row"],
    ["[ ]", "Back and forth by one event"],
    ["n", "Now"],
    ["?", "These keys"],
  ];
  const dialog = openDialog("Keys", { size: "narrow" });
  const close = h("button", { type: "button", onclick: dialog.close }, "Close");
  dialog.show(
    h("dl", { class: "keys" }, rows.map(([keys, text]) => h("div", {}, h("dt", {}, keys.split(" ").map((key) => h("kbd", {}, key))), h("dd", {}, text)))),
    h("div", { class: "buttons" }, close));
  close.focus();
}
