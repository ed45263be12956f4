// A field that finds one of many: an account by its code, name, metadata or id, or a user by name.

import { accountsAt } from "../account_list.js";
import { get } from "../api.js";
import { fill, h, newId } from "../dom.js";
import { amount, money, shortId, words } from "../format.js";
import { matches } from "../tree.js";
import { field } from "./fields.js";

const MOST = 50; // options in the list
const LOW = 260; // pixels below the field, under which the list goes above it
const REFERENCE = /^\S+$/; // an id or a code
let sorted = { of: null, open: [] };
const byName = new Intl.Collator("en", { numeric: true });

/**
 * Return an input with a list of options below it (the combobox of the ARIA practices). `find(text)` returns
 * { options, more } of { value, title, note, end }; `ready` is a promise of what `find` needs. `isFree(text)` says whether
 * a text may stand for itself. `onPick` is called with the option, or with null once there is none any more.
 */
export function combobox({ name, label, find, ready, isFree = () => false, onPick = () => {}, initial = null }) {
  const id = newId("list");
  const list = h("ul", { id, class: "options", role: "listbox", "aria-label": label, popover: "manual" });
  const input = h("input", { name, role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": id, value: initial?.title, autocomplete: "off", spellcheck: "false" });
  let chosen = initial;
  let options = [];
  let active = -1;

  function draw() {
    const found = find(input.value.trim().toLowerCase());
    options = found.options.slice(0, MOST);
    active = input.value && options.length > 0 ? 0 : -1;
    const more = found.more + found.options.length - options.length;
    fill(list, options.map(row), options.length === 0 && h("li", { class: "muted", role: "presentation" }, found.empty ?? "Nothing fits"),
      more > 0 && h("li", { class: "muted", role: "presentation" }, `and ${more} more: type to find them`));
    mark();
  }
  function row(option, index) {
    return h("li", { role: "option", id: `${id}-${index}`, "aria-selected": "false", onmousedown: (event) => { event.preventDefault(); pick(option); } },
      h("span", { class: "option-title" }, option.title), h("span", { class: "muted option-note" }, option.note ?? ""), h("span", { class: "end" }, option.end ?? ""));
  }
  function mark() {
    for (const [index, each] of [...list.querySelectorAll("[role=option]")].entries()) each.setAttribute("aria-selected", String(index === active));
    if (active >= 0) input.setAttribute("aria-activedescendant", `${id}-${active}`);
    else input.removeAttribute("aria-activedescendant");
    list.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }
  function open() {
    if (!input.isConnected || list.matches(":popover-open")) return draw();
    list.showPopover();
    input.setAttribute("aria-expanded", "true");
    place();
    draw();
  }
  function place() {
    const { left, right, top, bottom } = input.getBoundingClientRect();
    const isBelow = innerHeight - bottom > Math.min(LOW, top);
    const room = isBelow ? innerHeight - bottom : top;
    const style = { left: `${left}px`, width: `${right - left}px`, "max-height": `${Math.min(room - 16, 320)}px`, top: isBelow ? `${bottom + 4}px` : "auto", bottom: isBelow ? "auto" : `${innerHeight - top + 4}px` };
    for (const [property, value] of Object.entries(style)) list.style.setProperty(property, value);
  }
  function close() {
    if (list.matches(":popover-open")) list.hidePopover();
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }
  function pick(option) {
    chosen = option;
    if (option) input.value = option.title;
    close();
    onPick(option);
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }
  /** Take what was typed in full, or the only option that fits. */
  function settle() {
    close();
    const text = input.value.trim();
    if (chosen || text === "") return;
    const found = find(text.toLowerCase()).options;
    const exact = found.find((each) => each.title === text || each.value === text) ?? (found.length === 1 ? found[0] : null);
    if (exact) pick(exact);
    else input.dispatchEvent(new Event("change", { bubbles: true }));
  }

  const step = (by) => { active = options.length === 0 ? -1 : (active + by + options.length) % options.length; mark(); };
  input.addEventListener("input", () => { if (chosen) { chosen = null; onPick(null); } open(); });
  input.addEventListener("focus", () => input.select());
  input.addEventListener("click", () => open());
  input.addEventListener("blur", settle);
  input.addEventListener("keydown", (event) => {
    const isOpen = list.matches(":popover-open");
    if (event.key === "ArrowDown" || event.key === "ArrowUp") { if (isOpen) step(event.key === "ArrowDown" ? 1 : -1); else open(); }
    else if (event.key === "Enter" && isOpen && active >= 0) pick(options[active]);
    else if (event.key === "Escape" && isOpen) close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  ready.then(() => { if (list.matches(":popover-open")) draw(); }, () => {});
  return {
    input, list,
    read: () => chosen?.value ?? (isFree(input.value.trim()) ? input.value.trim() : undefined),
    isUnclear: () => input.value.trim() !== "" && !chosen && !isFree(input.value.trim()),
    chosen: () => chosen,
    redraw: () => { if (list.matches(":popover-open")) draw(); },
  };
}

/**
 * Return a field for an account. Customers may name an account of others by its id or code, unless it must be their own.
 * The field has `account()`: what is known of it, or null.
 */
export function accountField({ name, label, context, account = null, isOwn = false, isExtra = false, isRequired = true, like = () => null, onChange = () => {} }) {
  const picker = accountPicker({ name, label, context, account, isOwn, like, onChange: (given) => { describe(given); onChange(); } });
  const note = h("p", { class: "hint" });
  const describe = (given) => fill(note, given ? describeAccount(given) : "");
  const flaw = (isTyping) => {
    if (picker.isUnclear()) return isTyping && document.activeElement === picker.input ? null : "Choose an account of the list";
    return isRequired && !isTyping && picker.read() === undefined ? "This is needed" : null;
  };
  describe(account);
  return Object.assign(field({ name, label, control: h("span", { class: "picker" }, picker.input, picker.list), input: picker.input, note, isExtra, read: picker.read, flaw }), { account: picker.account });
}

/**
 * Return a combobox of accounts, which also has `account()`. Those with the currency of `like()` are the first.
 * `onChange(account, isSame)` is called when one is chosen, and when its newest balance is known.
 */
export function accountPicker({ name, label, context, account = null, isOwn = false, like = () => null, onChange = () => {} }) {
  const mayBeForeign = !isOwn && !context.can("admin");
  let list = null;
  let fresh = account;
  const ready = accountsAt(context).then((found) => {
    list = found;
    context.onLeave(list.onChange(() => picker.redraw()));
  });
  const find = (text) => {
    if (!list) return { options: [], more: 0, empty: "Loading" };
    const fits = inOrder(list).filter((each) => matches(each, { q: text, world: "on" }, list.textOf(each)));
    const wanted = like()?.currency;
    const found = wanted ? [...fits.filter(({ currency }) => currency === wanted), ...fits.filter(({ currency }) => currency !== wanted)] : fits;
    return { options: found.slice(0, MOST).map(optionOf), more: Math.max(0, found.length - MOST), empty: mayBeForeign ? "None of yours: type the code or id of an account" : "No account fits" };
  };
  const onPick = async (option) => {
    fresh = option?.account ?? null;
    onChange(fresh);
    if (!option) return;
    const read = await get(`/v1/accounts/${option.value}`).catch(() => null);
    if (read && picker.chosen()?.value === read.id) onChange(fresh = read, true);
  };
  const picker = combobox({ name, label, find, ready, isFree: (text) => mayBeForeign && REFERENCE.test(text), onPick, initial: account && optionOf(account) });
  return Object.assign(picker, { account: () => fresh });
}

/** Return the open accounts of a list by their names. They are sorted anew only when the list has changed. */
function inOrder({ accounts }) {
  if (sorted.of !== accounts) sorted = { of: accounts, open: accounts.filter(({ status }) => status === "open").sort((one, other) => byName.compare(nameOf(one), nameOf(other))) };
  return sorted.open;
}

function optionOf(account) {
  const title = nameOf(account);
  return { value: account.id, title, note: account.name && account.name !== title ? account.name : "", end: money(account.balance_cents, account.currency), account };
}

/** Return what an account is called. */
export function nameOf(account) {
  return account.code ?? account.name ?? (account.user_id === null ? `world ${account.currency}` : shortId(account.id));
}

function describeAccount(account) {
  const { currency } = account;
  const parts = [`balance ${amount(account.balance_cents, currency)} ${currency}`];
  if (account.available_cents !== account.balance_cents && account.user_id !== null) parts.push(`available ${amount(account.available_cents, currency)}`);
  if (account.frozen !== "none") parts.push(`frozen: ${words(account.frozen)}`);
  return parts.join(" · ");
}

/** Return a field for a user. */
export function userField({ name, label, context }) {
  let users = [];
  const ready = context.get("/v1/users").then((found) => { users = found; });
  const find = (text) => {
    const found = users.filter((user) => [user.username, user.email, user.id].some((each) => each.toLowerCase().includes(text)));
    return { options: found.map((user) => ({ value: user.id, title: user.username, note: user.email, end: h("span", { class: "muted" }, user.roles) })), more: 0 };
  };
  const picker = combobox({ name, label, find, ready });
  const flaw = (isTyping) => {
    if (picker.isUnclear()) return isTyping && document.activeElement === picker.input ? null : "Choose a user of the list";
    return !isTyping && picker.read() === undefined ? "This is needed" : null;
  };
  return field({ name, label, control: h("span", { class: "picker" }, picker.input, picker.list), input: picker.input, read: picker.read, flaw });
}
