// The list of transactions, newest first, with filters in the address.

import { newActions } from "../actions/index.js";
import { h, noTransactions, state } from "../dom.js";
import { money, statusBadge, when, words } from "../format.js";
import { accountLink, transactionLink } from "../names.js";
import { fromArray, table } from "../table.js";

export const title = "Transactions";

const FILTERS = [
  { name: "kind", text: "Kind", choices: ["transfer", "journal", "hold", "reversal", "opening", "adjustment"] },
  { name: "status", text: "Status", choices: ["posted", "pending", "captured", "voided", "expired", "scheduled", "failed"] },
  { name: "currency", text: "Currency" },
  { name: "reference", text: "Reference" },
];

/** Show the list. */
export async function show(context) {
  const given = Object.fromEntries(context.query);
  const source = context.source("/v1/transactions", { query: given, at: true });
  const empty = () => (context.query.size > 0 ? state("empty", "No transaction fits") : noTransactions(context));
  const grid = table({ label: title, columns: COLUMNS, source, onOpen: (each) => context.navigate(`/transactions/${each.id}`), empty });
  return h("div", { class: "full" },
    h("header", { class: "view-head" }, h("h1", {}, title), filters(context, given), h("div", { class: "actions" }, newActions(context, ["transfer", "hold", "entry"]))),
    grid);
}

function filters(context, given) {
  const change = (event) => {
    event.preventDefault?.();
    const query = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
    context.navigate("/transactions", { query });
  };
  const form = h("form", { class: "filters", onsubmit: change, onchange: change }, FILTERS.map(({ name, text, choices }) => h("label", {}, h("span", { class: "unseen" }, text),
    choices
      ? h("select", { name, class: given[name] ? "set" : null }, h("option", { value: "" }, `Any ${text.toLowerCase()}`), choices.map((choice) => h("option", { value: choice, selected: given[name] === choice }, choice)))
      : h("input", { name, value: given[name] ?? "", placeholder: text, autocomplete: "off", spellcheck: "false" }))));
  return form;
}

/** Return a table of a few transactions, without a height of its own. */
export function transactionsTable(transactions, { classOf, onOpen }) {
  const grid = table({ label: "Transactions", columns: COLUMNS, source: fromArray(transactions), classOf, onOpen });
  grid.classList.add("short");
  return grid;
}

/** The parties of a transaction, of any kind. */
function parties(each) {
  if (!each.postings) return { from: accountLink(each.source_account_id), to: accountLink(each.destination_account_id) };
  const name = (side) => (side.length === 1 ? accountLink(side[0].account_id) : h("span", { class: "muted" }, `${side.length} accounts`));
  return { from: name(each.postings.filter((one) => one.amount_cents < 0)), to: name(each.postings.filter((one) => one.amount_cents >= 0)) };
}

function totalOf(each) {
  if (!each.postings) return [each.amount_cents, each.currency];
  const [{ currency }] = each.postings;
  const same = each.postings.filter((one) => one.currency === currency && one.amount_cents > 0);
  return [same.reduce((sum, one) => sum + BigInt(one.amount_cents), 0n), currency];
}

const COLUMNS = [
  { title: "Time", width: "clamp(5rem, 18vw, 10rem)", cell: (each) => when(each.created_at, { short: true }) },
  { title: "Kind", width: "6rem", from: 640, cell: (each) => words(each.kind) },
  { title: "Status", width: "6.5rem", from: 800, cell: (each) => statusBadge(each.status) },
  { title: "From", from: 640, cell: (each) => parties(each).from },
  { title: "To", from: 640, cell: (each) => parties(each).to },
  { title: "From, to", upto: 640, cell: (each) => h("span", { class: "lines" }, h("span", {}, parties(each).from), h("span", {}, "→ ", parties(each).to)) },
  { title: "Reference", width: "minmax(4rem, 1fr)", from: 1000, cell: (each) => each.reference ?? each.description ?? h("span", { class: "muted" }, "–") },
  { title: "Amount", width: "clamp(7.5rem, 16vw, 11rem)", end: true, cell: (each) => money(...totalOf(each)) },
  { title: "Id", width: "7rem", from: 1200, cell: (each) => transactionLink(each.id) },
];
