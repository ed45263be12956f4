// Modal dialogs: nothing changes before the reader has confirmed it, and a refusal is shown where it was caused. If the
// session is lost meanwhile, a dialog waits until the same user has signed in again.

import { command, needsSignIn, Problem } from "./api.js";
import { copyable, fill, h, newId } from "./dom.js";
import { who } from "./session.js";

/**
 * Open a dialog, maybe of another `size`: "wide" or "narrow". Return its element, and functions to `show(content)`,
 * `close()` it, and `keep(isKept)` it: a kept dialog cannot be left by Escape, its cross or the back button. `onClose`
 * is called once it is gone.
 */
export function openDialog(title, { size = null, onClose = () => {} } = {}) {
  const user = who().id;
  const id = newId("dialog");
  const ending = new AbortController();
  const body = h("div", { class: "dialog-body" });
  const cross = h("button", { type: "button", class: "cross", "aria-label": "Close", onclick: leave }, "✕");
  const element = h("dialog", { class: size, "aria-labelledby": id }, h("header", {}, h("h2", { id }, title), cross), body);
  let isKept = false;
  let isWaiting = false; // for the user to sign in again

  /** Take the dialog away at once: the browser's "close" event comes later, and a lost session may come before it. */
  function close() {
    if (ending.signal.aborted) return;
    ending.abort();
    element.close();
    element.remove();
    onClose();
  }
  function leave() {
    if (!isKept) close();
  }
  function listen(name, listener) {
    addEventListener(name, listener, { signal: ending.signal });
  }

  element.addEventListener("cancel", (event) => { if (isKept) event.preventDefault(); });
  element.addEventListener("keydown", (event) => { if (isKept && event.key === "Escape") event.preventDefault(); });
  element.addEventListener("close", () => { if (!isWaiting) close(); });
  listen("popstate", leave);
  listen("beforeunload", (event) => { if (isKept) event.preventDefault(); });
  listen("ledger-signed-out", () => { isWaiting = true; element.close(); });
  listen("ledger-signed-in", () => {
    isWaiting = false;
    if (who().id === user) element.showModal();
    else close();
  });
  document.body.append(element);
  element.showModal();
  return {
    element,
    show: (...content) => fill(body, content),
    close,
    keep: (kept) => { isKept = kept; cross.disabled = kept; },
  };
}

/**
 * Return a button for a change, or null if none of the user's roles allows it. It asks first, with a `title`, a `text`
 * and a `verb`, then sends the request, and calls `done` with its response. It is disabled when the time is not now.
 */
export function changeButton(context, label, { roles, request, done, isDangerous = false, isPrimary = false, name = label, ...question }) {
  if (roles && !context.can(...roles)) return null;
  const act = async () => done?.(await command(request.method ?? "POST", request.path, { body: request.body }));
  const className = [isDangerous && "danger", isPrimary && "primary"].filter(Boolean).join(" ");
  const title = context.isNow ? null : "Nothing can be changed in the past";
  return h("button", { type: "button", class: className || null, disabled: !context.isNow, title, "aria-label": name === label ? null : name, onclick: () => ask({ verb: label, isDangerous, act, ...question }) }, label);
}

/** Ask the reader; call `act` if the reader agrees. The dialog stays open while it runs, and if it is refused. */
function ask({ title, text, verb, isDangerous, act }) {
  const dialog = openDialog(title, { size: "narrow" });
  const about = newId("about");
  const problem = h("p", { class: "problem", role: "alert" });
  const agree = h("button", { class: isDangerous ? "danger primary" : "primary" }, verb);
  const cancel = h("button", { type: "button", onclick: dialog.close }, "Cancel");
  const submit = async (event) => {
    event.preventDefault();
    agree.disabled = true;
    problem.textContent = "";
    try {
      await act();
      dialog.close();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (!needsSignIn(error)) problem.textContent = [error.message, error.help].filter(Boolean).map((part) => (/[.!?]$/.test(part) ? part : `${part}.`)).join(" ");
    } finally {
      agree.disabled = false;
    }
  };
  dialog.element.setAttribute("aria-describedby", about);
  dialog.show(h("form", { class: "form", onsubmit: submit },
    h("div", { id: about, class: "ask-text" }, [text].flat().map((part) => h("p", {}, part))),
    problem,
    h("div", { class: "buttons" }, cancel, agree)));
  cancel.focus();
}

/** Show a value as it is stored. */
export function showJson(title, value) {
  const text = JSON.stringify(value, null, 2);
  const dialog = openDialog(title);
  const close = h("button", { type: "button", onclick: dialog.close }, "Close");
  dialog.show(h("pre", { tabindex: "0" }, text), h("div", { class: "buttons" }, copyable(text, "Copy"), close));
  close.focus();
}
