// The overview: whether the books balance, and what happens right now.

import { card, h, state } from "../dom.js";
import { amount, count, money } from "../format.js";
import { accountLink } from "../names.js";
import { transactionsTable } from "./transactions.js";

export const title = "Overview";

const NEWEST = 15; // transactions
const MOST = 12; // own accounts

/** Show what the user may see. */
export async function show(context) {
  if (!context.can("admin", "auditor", "customer")) {
    return h("div", {}, state("denied", "A guest sees no books", "An admin can give you another role."));
  }
  const isReader = context.can("admin", "auditor");
  return h("div", {},
    h("h1", { class: "unseen" }, title),
    isReader ? books(context) : ownAccounts(context),
    newest(context));
}

function books(context) {
  return card("Books", context.panel("/v1/ledger/trial-balance", { at: true, live: true }, (trial) => {
    if (trial.currencies.length === 0) return state("empty", "No accounts yet", "Open an account, and its balance appears here.");
    return h("div", { class: "tiles" }, trial.currencies.map(currencyTile));
  }));
}

/** Return the sums of a currency. Whether they are equal is computed here, from what is shown. */
function currencyTile(each) {
  const isBalanced = each.debit_cents_text === each.credit_cents_text;
  return h("div", { class: "tile" },
    h("div", { class: "tile-head" }, h("span", { class: "tile-name" }, each.currency), h("span", { class: "muted" }, `${count(each.accounts)} accounts`)),
    h("p", { class: "figure" }, amount(each.credit_cents_text, each.currency)),
    h("p", { class: isBalanced ? "check good" : "check bad" }, isBalanced ? "✓ debits = credits" : `✗ they differ by ${amount(each.sum_cents_text, each.currency)}`));
}

function ownAccounts(context) {
  return card("Your accounts", context.panel("/v1/accounts", { at: true, live: true }, (accounts) => {
    if (accounts.length === 0) return state("empty", "You own no account", "An admin can open one for you.");
    return h("div", { class: "tiles" }, accounts.slice(0, MOST).map((account) => h("div", { class: "tile" },
      h("div", { class: "tile-head" }, accountLink(account.id), h("span", { class: "muted" }, account.currency)),
      h("p", { class: "figure" }, amount(account.balance_cents, account.currency)),
      h("p", { class: "muted" }, "available ", money(account.available_cents, account.currency)))));
  }), { actions: h("a", { href: context.link("/accounts") }, "All accounts") });
}

function newest(context) {
  let known = new Set();
  return card("Newest transactions", context.panel("/v1/transactions", { query: { limit: NEWEST }, at: true, live: true, lines: 8 }, (transactions, { isFirst }) => {
    const isNew = (each) => !isFirst && !known.has(each.id);
    const table = transactionsTable(transactions, { classOf: (each) => (isNew(each) ? "arrives" : "") });
    known = new Set(transactions.map((each) => each.id));
    return transactions.length > 0 ? table : state("empty", "No transactions yet");
  }), { actions: h("a", { href: context.link("/transactions") }, "All transactions") });
}
