// The fields of a dialog. Each says while one types whether its text can be read, and shows refusals that are about it.
//
// A field has: `element`; `read()`, the member's value or undefined; `flaw()`, what is wrong with its text, or null;
// `say(text, pointer)`, which shows a refusal, or clears it; `covers(pointer)`, whether a member is this field's; and
// `focus()`. `isExtra` fields are folded away until somebody wants them.

import { h, newId } from "../dom.js";
import { amount, digitsIn, parseAmount } from "../format.js";

const MAX_CENTS = BigInt(Number.MAX_SAFE_INTEGER);

/** Return a field around a control. `read` returns its value or undefined, `flaw` what is wrong with it, or null. */
export function field({ name, label, control, input = control, hint = null, note = null, isExtra = false, read, flaw = () => null }) {
  const id = newId("field");
  const problem = h("p", { id: `${id}-problem`, class: "problem", role: "alert" });
  const help = hint && h("p", { id: `${id}-hint`, class: "hint" }, hint);
  input.id = id;
  input.setAttribute("aria-describedby", [help?.id, problem.id].filter(Boolean).join(" "));
  const say = (text) => {
    problem.textContent = text ?? "";
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  };
  input.addEventListener("input", () => say(flaw(true)));
  input.addEventListener("change", () => say(flaw(true)));
  return {
    name, isExtra, read, say,
    element: h("div", { class: "field" }, h("label", { for: id }, label), control, note, help, problem),
    flaw: () => flaw(false),
    covers: (pointer) => pointer === `/${name}` || pointer.startsWith(`/${name}/`),
    focus: () => input.focus(),
  };
}

/** Return a field for a text. */
export function textField({ name, label, value = "", hint, isExtra, isRequired = false, list = null, maxlength, inputmode }) {
  const input = h("input", { name, value, autocomplete: "off", spellcheck: "false", maxlength, list, inputmode });
  const read = () => input.value.trim() || undefined;
  return field({ name, label, control: input, hint, isExtra, read, flaw: (isTyping) => (isRequired && !isTyping && !read() ? "This is needed" : null) });
}

/** Return a field for a position of the log. */
export function positionField({ name, label, hint, isExtra }) {
  const input = h("input", { name, inputmode: "numeric", autocomplete: "off" });
  const typed = () => input.value.replace(/[#,\s]/g, "");
  const isPosition = () => /^\d+$/.test(typed()) && Number(typed()) >= 1 && Number.isSafeInteger(Number(typed()));
  const flaw = () => (typed() === "" || isPosition() ? null : "This is not a position: a whole number from 1");
  return field({ name, label, control: input, hint, isExtra, read: () => (isPosition() ? Number(typed()) : undefined), flaw });
}

/** Return a field with choices, each a value and its text. */
export function choiceField({ name, label, choices, value, hint, isExtra, onChange = () => {} }) {
  const select = h("select", { name, onchange: () => onChange(select.value) }, choices.map(([each, text]) => h("option", { value: each, selected: each === value }, text)));
  return field({ name, label, control: select, hint, isExtra, read: () => select.value || undefined });
}

/** Return a field for yes or no. */
export function checkField({ name, label, isChecked = false, hint, isExtra }) {
  const input = h("input", { name, type: "checkbox", checked: isChecked });
  const made = field({ name, label: "", control: h("label", { class: "check-box" }, input, label), input, hint, isExtra, read: () => input.checked });
  made.element.firstChild.remove(); // the label around the box names it
  return made;
}

/** Return an input for an amount, and how to read it. Its unit is what `unit()` says now. */
export function amountInput({ name, label = null, value = "", unit, placeholder = null }) {
  const input = h("input", { name, value, inputmode: "decimal", autocomplete: "off", class: "amount", "aria-label": label, placeholder });
  const read = () => (input.value.trim() === "" ? undefined : parseAmount(input.value, unit()));
  const flaw = (isTyping) => {
    const cents = read();
    if (cents === undefined) return null;
    if (cents === null) return isTyping && /^[-\u2212.]$/.test(input.value.trim()) ? null : whyNot(unit());
    if (BigInt(cents) > MAX_CENTS || BigInt(cents) < -MAX_CENTS) return `The largest amount is ${amount(MAX_CENTS, unit())}`;
    return null;
  };
  return { input, read, flaw };
}

function whyNot(currency) {
  const digits = digitsIn(currency);
  const example = amount(BigInt(`123456${"78".padEnd(digits, "0").slice(0, digits)}`), currency);
  return `This is not an amount of ${currency}. It has ${digits === 0 ? "no decimal places" : `at most ${digits} decimal ${digits === 1 ? "place" : "places"}`}, as in ${example}`;
}

/** Return a field for an amount, in the unit that `unit()` returns. `from` is the smallest amount in minor units. */
export function amountField({ name, label, value, unit, hint, isExtra, isRequired = true, from = 1n, placeholder }) {
  const { input, read, flaw } = amountInput({ name, value, unit, placeholder });
  const shown = h("span", { class: "unit" });
  const showUnit = () => {
    shown.textContent = unit();
    input.style.setProperty("padding-right", `calc(${unit().length}ch + 24px)`);
  };
  const check = (isTyping) => {
    const cents = read();
    if (cents === undefined) return isRequired && !isTyping ? "This is needed" : null;
    if (flaw(isTyping)) return flaw(isTyping);
    return cents !== null && BigInt(cents) < from && !(isTyping && BigInt(cents) === 0n) ? `This must be ${amount(from, unit())} or more` : null;
  };
  const made = field({ name, label, control: h("span", { class: "with-unit" }, input, shown), input, hint, isExtra, read: () => (read() === undefined ? undefined : Number(read())), flaw: check });
  /** Show another unit, and check the text again. */
  made.refresh = () => { showUnit(); made.say(check(true)); };
  showUnit();
  return made;
}

/** Return a field for a day on which something counts. */
export function dayField({ name, label, hint, isExtra }) {
  const input = h("input", { name, type: "date" });
  return field({ name, label, control: input, hint, isExtra, read: () => input.value || undefined, flaw: () => (input.validity.badInput ? "This is not a day" : null) });
}

/** Return a field for a local time. */
export function timeField({ name, label, hint, isExtra }) {
  const input = h("input", { name, type: "datetime-local" });
  const read = () => (input.value ? new Date(input.value).toISOString() : undefined);
  return field({ name, label, control: input, hint, isExtra, read, flaw: () => (input.validity.badInput ? "This is not a time" : null) });
}

/** Return a field for metadata: rows of a name and a value. There is always an empty one. */
export function metadataField({ known = {}, isExtra = true }) {
  const rows = h("div", { class: "pairs", role: "group" });
  const pairs = () => [...rows.children].map((row) => [...row.querySelectorAll("input")].map((input) => input.value.trim()));
  const add = (key = "", value = "") => rows.append(h("div", {},
    h("input", { value: key, placeholder: "Name", "aria-label": "Name of metadata", autocomplete: "off" }),
    h("input", { value, placeholder: "Value", "aria-label": "Value of metadata", autocomplete: "off" })));
  const grow = () => { if (pairs().at(-1)?.some(Boolean) ?? true) add(); };
  const flaw = (isTyping) => {
    const names = pairs().filter((pair) => pair.some(Boolean)).map(([key]) => key);
    if (!isTyping && names.includes("")) return "Each value needs a name";
    return new Set(names).size < names.length ? "A name is given twice" : null;
  };
  for (const [key, value] of Object.entries(known)) add(key, value);
  grow();
  rows.addEventListener("input", grow);
  const read = () => {
    const given = pairs().filter(([key]) => key);
    return given.length > 0 ? Object.fromEntries(given) : undefined;
  };
  const made = field({ name: "metadata", label: "Metadata", control: rows, isExtra, read, flaw });
  made.element.querySelector("label").removeAttribute("for");
  rows.setAttribute("aria-label", "Metadata");
  made.focus = () => rows.querySelector("input").focus();
  return made;
}
