// A modal dialog. If the session is lost meanwhile, it waits until the same user has signed in again.

import { fill, h, newId } from "./dom.js";
import { who } from "./session.js";

/**
 * Open a dialog; return its element, and functions to `show(content)`, `close()` it, and `keep(isKept)` it: a kept
 * dialog cannot be left by Escape, its cross or the back button. `onClose` is called once it is gone.
 */
export function openDialog(title, { isWide = false, onClose = () => {} } = {}) {
  const user = who().id;
  const id = newId("dialog");
  const ending = new AbortController();
  const body = h("div", { class: "dialog-body" });
  const cross = h("button", { type: "button", class: "cross", "aria-label": "Close", onclick: leave }, "✕");
  const element = h("dialog", { class: isWide ? "action wide" : "action", "aria-labelledby": id }, h("header", {}, h("h2", { id }, title), cross), body);
  let isKept = false;
  let isWaiting = false; // for the user to sign in again

  function leave() {
    if (!isKept) element.close();
  }
  function end() {
    if (isWaiting) return;
    ending.abort();
    element.remove();
    onClose();
  }
  function listen(name, listener) {
    addEventListener(name, listener, { signal: ending.signal });
  }

  element.addEventListener("cancel", (event) => { if (isKept) event.preventDefault(); });
  element.addEventListener("keydown", (event) => { if (isKept && event.key === "Escape") event.preventDefault(); });
  element.addEventListener("close", end);
  listen("popstate", leave);
  listen("beforeunload", (event) => { if (isKept) event.preventDefault(); });
  listen("ledger-signed-out", () => { isWaiting = true; element.close(); });
  listen("ledger-signed-in", () => {
    const isSame = who().id === user;
    isWaiting = false;
    if (isSame) element.showModal();
    else end();
  });
  document.body.append(element);
  element.showModal();
  return {
    element,
    show: (...content) => fill(body, content),
    close: () => element.close(),
    keep: (kept) => { isKept = kept; cross.disabled = kept; },
  };
}
