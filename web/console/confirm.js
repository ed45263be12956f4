// Dialogs: nothing changes before the reader has confirmed it, and a refusal is shown where it was caused.

import { command, Problem } from "./api.js";
import { copyable, h, newId } from "./dom.js";

/**
 * Return a button for a change, or null if none of the user's roles allows it. It asks first, with a `title`, a `text`
 * and a `verb`, then sends the request, and calls `done` with its response. It is disabled when the time is not now.
 */
export function changeButton(context, label, { roles, request, done, isDangerous = false, isPrimary = false, name = label, ...question }) {
  if (roles && !context.can(...roles)) return null;
  const send = async () => done?.(await command(request.method ?? "POST", request.path, { body: request.body }));
  const open = () => ask(context, { verb: label, isDangerous, act: send, ...question });
  const className = [isDangerous && "danger", isPrimary && "primary"].filter(Boolean).join(" ");
  const title = context.isNow ? null : "Nothing can be changed in the past";
  return h("button", { type: "button", class: className || null, disabled: !context.isNow, title, "aria-label": name === label ? null : name, onclick: open }, label);
}

/** Ask the reader; call `act` if the reader agrees. The dialog stays open while it runs, and if it is refused. */
export function ask(context, { title, text, verb, isDangerous, act }) {
  const problem = h("p", { class: "problem", role: "alert" });
  const about = newId("about");
  const agree = h("button", { class: isDangerous ? "danger primary" : "primary", value: "agree" }, verb);
  const cancel = h("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, "Cancel");
  const submit = async (event) => {
    event.preventDefault();
    agree.disabled = true;
    problem.textContent = "";
    try {
      await act();
      dialog.close();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      problem.textContent = [error.message, error.help].filter(Boolean).map((part) => (/[.!?]$/.test(part) ? part : `${part}.`)).join(" ");
    } finally {
      agree.disabled = false;
    }
  };
  const dialog = h("dialog", { class: "ask", "aria-label": title, "aria-describedby": about },
    h("h2", {}, title),
    h("div", { id: about, class: "ask-text" }, [text].flat().map((part) => h("p", {}, part))),
    problem,
    h("form", { class: "actions", onsubmit: submit }, cancel, agree));
  show(dialog, context.signal);
}

/** Show a value as it is stored. */
export function showJson(title, value, signal) {
  const text = JSON.stringify(value, null, 2);
  show(h("dialog", { "aria-label": title }, h("h2", {}, title), h("pre", { tabindex: "0" }, text),
    h("form", { method: "dialog", class: "actions" }, copyable(text, "Copy"), h("button", {}, "Close"))), signal);
}

function show(dialog, signal) {
  const close = () => dialog.close();
  signal.addEventListener("abort", close, { once: true });
  dialog.addEventListener("close", () => { signal.removeEventListener("abort", close); dialog.remove(); });
  document.body.append(dialog);
  dialog.showModal();
}
