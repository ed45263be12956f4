// What can be done, and by whom. The dialogs are loaded when somebody opens one.

import { get, Problem } from "../api.js";
import { h } from "../dom.js";
import { at } from "../time.js";

const move = () => import("./move.js");
const settle = () => import("./settle.js");
const account = () => import("./account.js");
const webhook = () => import("./webhook.js");

/** A row for each action: its text, the roles that may, and the module that has a function of the same name. */
const ACTIONS = {
  transfer: { text: "Transfer", roles: ["admin", "customer"], load: move },
  hold: { text: "Hold", roles: ["admin", "customer"], load: move },
  entry: { text: "Journal entry", roles: ["admin"], load: move },
  open: { text: "Open account", roles: ["admin"], load: account },
  edit: { text: "Change…", roles: ["admin"], load: account },
  freeze: { text: "Freeze…", roles: ["admin"], load: account },
  close: { text: "Close…", roles: ["admin"], load: account },
  reopen: { text: "Open again", roles: ["admin"], load: account },
  capture: { text: "Capture", roles: ["admin"], load: settle },
  release: { text: "Release", roles: ["admin"], load: settle },
  cancel: { text: "Cancel", roles: ["admin", "customer"], load: settle },
  reverse: { text: "Reverse", roles: ["admin"], load: settle },
  amend: { text: "Amend", roles: ["admin"], load: settle },
  createWebhook: { text: "New webhook", roles: ["admin"], load: webhook },
  changeWebhook: { text: "Change…", roles: ["admin"], load: webhook },
  rotateSecret: { text: "Rotate the secret…", roles: ["admin"], load: webhook },
  deleteWebhook: { text: "Delete…", roles: ["admin"], load: webhook },
};

/** Return the buttons of a list: what can be made, such as `["open", "transfer"]`. None for roles that may not. */
export function newActions(context, names) {
  return buttons(context, names, () => null);
}

/** Return the buttons of an account, those that are pressed seldom in a menu. */
export function accountActions(one, context) {
  const isOwn = context.me.id === one.user_id;
  const isWorld = one.user_id === null;
  const read = () => get(`/v1/accounts/${one.id}`);
  if (one.status !== "open") return buttons(context, ["reopen"], read);
  const pays = context.can("admin") || isOwn ? ["transfer", !isWorld && "hold"].filter(Boolean) : [];
  return [buttons(context, pays, read), menuOf(context, buttons(context, ["entry", ...(isWorld ? [] : ["edit", "freeze", "close"])], read))];
}

/** Return the buttons of a transaction: what its state allows. */
export function actionsOf(transaction, context) {
  const { kind, status } = transaction;
  const isPending = kind === "hold" && status === "pending";
  const isReversible = kind !== "reversal" && ["posted", "captured"].includes(status) && !isReversed(transaction);
  const names = [isPending && "capture", isPending && "release", status === "scheduled" && "cancel", isReversible && "reverse", "amend"];
  return buttons(context, names.filter(Boolean), () => get(`/v1/transactions/${transaction.id}`));
}

function isReversed({ kind, amount_cents: cents, captured_cents: captured, reversed_by: by, reversed_cents: part }) {
  if (by === undefined) return false;
  return part === undefined || part >= (kind === "hold" ? captured : cents);
}

/**
 * Return the button of an action that changes a part of a view, or null for roles that may not. `onMade(result)` draws what has changed, behind the
 * dialog; `onClosed()` is called when that is gone, to give the focus a place if the button has none any more.
 */
export function partAction(context, name, { onMade, read = () => null, onClosed = () => {} }) {
  return buttons(context, [name], read, { onMade, onClosed })[0] ?? null;
}

/** Return a menu of buttons, or null without any. */
function menuOf(context, items) {
  if (items.length === 0) return null;
  const summary = h("summary", { "data-action": "more" }, "More");
  const menu = h("details", { class: "menu more-actions" }, summary, h("div", { class: "menu-body" }, items));
  const close = () => { menu.open = false; summary.focus(); };
  menu.addEventListener("keydown", (event) => { if (event.key === "Escape" && menu.open) close(); });
  menu.addEventListener("focusout", (event) => { if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false; });
  menu.addEventListener("click", (event) => { if (event.target.closest("button")) close(); });
  document.addEventListener("click", (event) => { if (menu.open && !menu.contains(event.target)) menu.open = false; }, { signal: context.signal });
  return menu;
}

/**
 * Return buttons; each reads what it is about when it is pressed, so that its dialog begins with what is true. The view is
 * drawn anew after a change, unless it is still there and the `part` of it does so itself.
 */
function buttons(context, names, read, part = null) {
  return names.filter((name) => context.can(...ACTIONS[name].roles)).map((name) => {
    const problem = h("span", { class: "problem", role: "alert" });
    let isDrawn = false; // what has changed, by the part
    const made = (result) => {
      if (!part || context.signal.aborted) return;
      isDrawn = true;
      part.onMade(result);
    };
    const closed = (hasChanged) => {
      if (isDrawn) { if (!button.isConnected) part.onClosed(); return; }
      if (!button.isConnected) document.querySelector(`main [data-action="${name}"]`)?.focus(); // the view has drawn it anew
      if (hasChanged) context.navigate(location.pathname + location.search, { replace: true });
    };
    const begin = async () => {
      const place = location.pathname;
      problem.remove();
      isDrawn = false;
      button.disabled = true;
      try {
        const [{ run }, module, subject] = await Promise.all([import("./run.js"), ACTIONS[name].load(), read()]);
        const action = await module[name](context, subject);
        if (location.pathname !== place || at() !== null) return; // the reader has gone on in the meantime
        button.disabled = false;
        if ([document.body, document.getElementById("main")].includes(document.activeElement)) button.focus(); // it was lost while the button was disabled
        run(action, { onMade: made, onClosed: closed });
      } catch (error) {
        const isLost = error instanceof TypeError; // a module could not be loaded
        problem.textContent = error instanceof Problem ? `${error.message}.` : "The service does not respond.";
        (button.closest("details") ?? button).after(problem);
        if (!(error instanceof Problem) && !isLost) throw error;
      } finally {
        button.disabled = false;
      }
    };
    const button = h("button", { type: "button", "data-action": name, disabled: !context.isNow, title: context.isNow ? null : "Go back to now to change something", onclick: begin }, ACTIONS[name].text);
    return button;
  });
}
