// The postings of a journal entry: rows of an account, a debit or a credit, with their sums while one types.

import { fill, h, newId } from "../dom.js";
import { amount } from "../format.js";
import { amountInput } from "./fields.js";
import { accountPicker } from "./picker.js";

const MOST = 100; // postings
const AT_FIRST = 2;

/** Return the field of the postings. What an account pays is its debit, as in statements. */
export function postingsField({ context, account = null }) {
  const id = newId("postings");
  const list = h("div", { class: "postings" });
  const sums = h("p", { class: "sums", role: "status" });
  const problem = h("p", { class: "problem", role: "alert" });
  const add = h("button", { type: "button", class: "plain", onclick: () => { grow(); rows.at(-1).focus(); } }, "Add a posting");
  let rows = [];

  function grow(known = null) {
    const row = rowOf(context, known, { onChange: reckon, onRemove: () => remove(row) });
    rows.push(row);
    list.append(row.element);
    reckon();
  }
  function remove(row) {
    if (rows.length <= AT_FIRST) return;
    rows = rows.filter((each) => each !== row);
    row.element.remove();
    reckon();
    rows.at(-1).focus();
  }
  /** Show the sums of each currency, and what is missing. A problem stays until the reader changes something. */
  function reckon(isSame = false) {
    if (!isSame) problem.textContent = "";
    add.disabled = rows.length >= MOST;
    for (const row of rows) row.cross.disabled = rows.length <= AT_FIRST;
    fill(sums, [...totals()].map(([currency, { debit, credit }]) => sumOf(currency, debit, credit)));
  }
  function totals() {
    const all = new Map();
    for (const row of rows) {
      const cents = row.cents();
      if (cents === null) continue;
      const total = all.get(row.currency()) ?? { debit: 0n, credit: 0n };
      all.set(row.currency(), cents < 0n ? { ...total, debit: total.debit - cents } : { ...total, credit: total.credit + cents });
    }
    return all;
  }
  const flaw = () => {
    const open = rows.find((row) => row.flaw());
    if (open) return open.flaw();
    return [...totals().values()].some(({ debit, credit }) => debit !== credit) ? "Debits and credits differ" : null;
  };

  for (let index = 0; index < AT_FIRST; index += 1) grow(index === 0 ? account : null);
  return {
    name: "postings", isExtra: false, flaw,
    element: h("fieldset", { class: "field", "aria-describedby": id },
      h("legend", { class: "unseen" }, "Postings"),
      h("div", { class: "postings-head", "aria-hidden": "true" }, h("span", {}, "Account"), h("span", { class: "end" }, "Debit"), h("span", { class: "end" }, "Credit"), h("span", {})),
      list, h("div", { class: "postings-foot" }, add, sums), h("div", { id }, problem)),
    read: () => rows.map((row) => ({ account_id: row.account(), amount_cents: Number(row.cents()) })),
    say: (text, pointer) => {
      problem.textContent = text ?? "";
      const number = Number(/^\/postings\/(\d+)/.exec(pointer ?? "")?.[1] ?? -1);
      for (const [index, row] of rows.entries()) row.mark(index === number);
    },
    covers: (pointer) => pointer === "/postings" || pointer.startsWith("/postings/") || pointer === "/amount_cents" || pointer === "/destination_account_id",
    pointerOf: (account_id) => { const index = rows.findIndex((row) => row.account() === account_id); return index < 0 ? null : `/postings/${index}`; },
    focus: () => (rows.find((row) => row.flaw()) ?? rows[0]).focus(),
  };
}

function sumOf(currency, debit, credit) {
  const missing = debit > credit ? debit - credit : credit - debit;
  return h("span", { class: "sum" }, h("span", { class: "muted" }, "debits "), amount(debit, currency), h("span", { class: "muted" }, " credits "), amount(credit, currency), " ", h("span", { class: "unit" }, currency), " ",
    missing === 0n ? h("span", { class: "good" }, "✓ equal") : h("span", { class: "bad" }, `✗ ${amount(missing, currency)} more to ${debit > credit ? "credit" : "debit"}`));
}

/** A posting: the account, and one of two amounts. */
function rowOf(context, known, { onChange, onRemove }) {
  const picker = accountPicker({ name: "account", label: "Account", context, account: known, onChange: (_, isSame) => onChange(isSame) });
  const currency = () => picker.account()?.currency ?? "USD";
  const debit = amountInput({ name: "debit", label: "Debit", placeholder: "Debit", unit: currency });
  const credit = amountInput({ name: "credit", label: "Credit", placeholder: "Credit", unit: currency });
  const cross = h("button", { type: "button", class: "cross", "aria-label": "Remove this posting", onclick: onRemove }, "✕");
  const element = h("div", { class: "posting", role: "group", "aria-label": "Posting" }, h("span", { class: "picker" }, picker.input, picker.list), debit.input, credit.input, cross);
  const typed = () => [[debit, -1n], [credit, 1n]].find(([{ read }]) => read() !== undefined);
  const wrong = (side) => side.flaw(true) ?? (side.read()?.startsWith("-") ? "An amount of a posting has no sign: debit or credit it" : null);

  picker.input.setAttribute("aria-label", "Account");
  for (const [side, other] of [[debit, credit], [credit, debit]]) {
    side.input.addEventListener("input", () => {
      if (side.input.value) { other.input.value = ""; other.input.removeAttribute("aria-invalid"); }
      if (wrong(side)) side.input.setAttribute("aria-invalid", "true");
      else side.input.removeAttribute("aria-invalid");
      onChange();
    });
  }
  const cents = () => {
    const [side, sign] = typed() ?? [];
    return side && !wrong(side) && side.read() !== null ? sign * BigInt(side.read()) : null;
  };
  return {
    element, cross, currency, cents,
    account: picker.read,
    flaw: () => {
      if (picker.read() === undefined) return "Choose an account for each posting";
      const [side] = typed() ?? [];
      if (!side) return "Each posting needs a debit or a credit";
      return wrong(side) ?? (cents() === null || cents() === 0n ? "Each posting needs an amount" : null);
    },
    mark: (isWrong) => element.classList.toggle("wrong", isWrong),
    focus: () => (picker.read() === undefined ? picker.input : typed()?.[0].input ?? debit.input).focus(),
  };
}
