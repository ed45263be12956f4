// Runs an action: its form, what a dry run says it would change, and, once somebody says "Do it", the change itself.

import { needsSignIn, Problem } from "../api.js";
import { openDialog } from "../dialog.js";
import { fill, h } from "../dom.js";
import { reasonsOf } from "./refusals.js";
import { isUnclear, keyed, sendOnce, tryOut } from "./send.js";

/**
 * Run an action: { title, text, fields, request(values), preview(result, values), made(result, values) }. `request`
 * returns { method, path, body }, `preview` (a promise of) what would change, and `made` says what was done: { text,
 * links, content, isOnce }. A dialog with content that is shown once is closed by its button only. An action without
 * fields begins with its preview. `onMade(result)` is called at once, `onClosed(hasChanged)` when the dialog is gone.
 */
export function run(action, { onMade = () => {}, onClosed }) {
  const fields = action.fields ?? [];
  let hasChanged = false;
  const dialog = openDialog(action.title, { size: action.isWide ? "wide" : null, onClose: () => onClosed(hasChanged) });
  const form = formOf(action, fields, { onLook: look, onCancel: () => dialog.close() });
  let place = null; // what is shown

  function show(next) {
    place = next;
    dialog.show(next);
    (next.querySelector("[data-first]") ?? dialog.element).focus();
  }

  /** Ask what the change would do, and show it; a refusal goes to the member that it is about. */
  async function look() {
    const values = form.read();
    if (!values) return;
    const asking = form.element;
    asking.inert = true;
    form.say(null);
    try {
      const request = keyed(action.request(values));
      const result = await tryOut(request);
      show(previewOf(request, result, values, await action.preview(result, values)));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      asking.inert = false;
      if (needsSignIn(error)) return; // the dialog comes back after signing in
      form.say(error);
      if ([document.body, dialog.element].includes(document.activeElement)) asking.querySelector(".buttons :last-child").focus();
    } finally {
      asking.inert = false;
    }
  }

  function previewOf(request, result, values, content) {
    const note = h("p", { class: "problem", role: "alert" });
    const hint = h("p", { class: "hint" }, "This was a dry run: nothing has been written yet.");
    let goBack = () => (fields.length > 0 ? show(form.element) : dialog.close());
    const back = h("button", { type: "button", onclick: () => goBack() }, fields.length > 0 ? "Back" : "Cancel");
    const doIt = h("button", { type: "button", class: action.isGrave ? "primary grave" : "primary", "data-do": true }, "Do it");
    doIt.addEventListener("click", (event) => { if (event.detail < 2) void perform(); }); // not the second click on "Preview"
    const say = (text, isBusy) => {
      for (const button of [back, doIt]) button.disabled = isBusy;
      dialog.keep(isBusy);
      note.textContent = text;
    };
    const perform = async () => {
      hint.remove();
      say("", true);
      try {
        const made = await sendOnce(request, { onRepeat: (number) => say(`No answer yet. Asking again with the same key (${number})…`, true) });
        say("", false);
        hasChanged = true;
        const done = action.made(made ?? result, values);
        dialog.keep(Boolean(done.isOnce));
        show(doneOf(done));
        onMade(made ?? result);
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        say("", false);
        if (needsSignIn(error)) return; // the dialog comes back after signing in
        if (isUnclear(error)) stay(error);
        else refuse(error);
      }
    };
    /** The outcome is unknown: only the same request with the same key may follow. */
    const stay = (error) => {
      note.textContent = `${error.message}. It may have been done. Ask again: with the same key, it is done at most once.`;
      doIt.textContent = "Ask again";
      back.textContent = "Close anyway";
      goBack = () => { dialog.keep(false); hasChanged = true; dialog.close(); };
      dialog.keep(true);
      doIt.focus();
    };
    const refuse = (error) => { show(form.element); form.say(error); };
    return h("div", { class: "preview" },
      h("h3", { tabindex: "-1", "data-first": true }, "What will change"),
      content, hint, note,
      h("div", { class: "buttons" }, back, doIt));
  }

  function doneOf({ text, links = [], content = null }) {
    return h("div", { class: "done" },
      h("p", { class: "done-text", role: "status", tabindex: "-1", "data-first": true }, h("span", { class: "good", "aria-hidden": "true" }, "✓ "), text),
      content,
      h("div", { class: "buttons" }, links.map((link) => { link.addEventListener("click", () => { hasChanged = false; dialog.close(); }); return link; }),
        h("button", { type: "button", class: "primary", onclick: () => dialog.close() }, "Close")));
  }

  show(form.element);
  if (fields.length === 0) void look();
  else fields[0].focus();
}

/** Return the form of an action: its element, `read()` its values or null, and `say(problem)`. */
function formOf(action, fields, { onLook, onCancel }) {
  const problem = h("div", { class: "problem", role: "alert" });
  const extra = fields.filter((field) => field.isExtra);
  const more = extra.length > 0 && h("details", { class: "more" }, h("summary", {}, "More"), extra.map((field) => field.element));
  const element = h("form", { class: "form", novalidate: true, onsubmit: (event) => { event.preventDefault(); void onLook(); } },
    action.text && h("p", { class: "muted" }, action.text),
    fields.filter((field) => !field.isExtra).map((field) => field.element), more, problem,
    h("div", { class: "buttons" }, h("button", { type: "button", onclick: onCancel }, "Cancel"), fields.length > 0 && h("button", { class: "primary" }, "Preview")));

  const goTo = (field) => { if (field.isExtra) more.open = true; field.focus(); };
  const read = () => {
    const wrong = fields.filter((field) => { const text = field.flaw(); field.say(text); return text; });
    if (wrong.length > 0) return goTo(wrong[0]) ?? null;
    return Object.fromEntries(fields.map((field) => [field.name, field.read()]).filter(([, value]) => value !== undefined));
  };
  const say = (error) => {
    fill(problem);
    for (const field of fields) field.say(null);
    if (!error) return;
    const reasons = reasonsOf(error, fields);
    const meant = fields.filter((field) => {
      const about = reasons.filter(({ pointer }) => pointer !== null && field.covers(pointer));
      if (about.length > 0) field.say(about.map(({ text }) => text).join(". "), about[0].pointer);
      return about.length > 0;
    });
    fill(problem, reasons.filter(({ pointer }) => pointer === null).map(({ text }) => h("p", {}, text)));
    if (meant.length > 0) goTo(meant[0]);
  };
  return { element, read, say };
}
