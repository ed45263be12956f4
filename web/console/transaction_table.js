// How transactions are shown in a table.

import { h } from "./dom.js";
import { money, statusBadge, when, words } from "./format.js";
import { accountLink, transactionLink } from "./names.js";
import { fromArray, table } from "./table.js";

/** Return whether an event of the feed can be about a transaction. */
export const aboutTransactions = (event) => !event || !/^(Account|Funds|Incoming|User|Session|Token|Reference)/.test(event.topic);

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

/** The columns of a table of transactions. */
export const COLUMNS = [
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
