// The overview: whether the books balance, and what happens right now.

import { activityChart, minutesOf, movesMoney } from "../activity.js";
import { card, facts, fill, h, loading, noAccounts, noTransactions, state } from "../dom.js";
import { ago, amount, badge, count, money, when, words } from "../format.js";
import { ageBars, ageCounts, readHolds, timeOf } from "../hold_ages.js";
import { accountLink, learn } from "../names.js";
import { aboutTransactions, transactionsTable } from "../transaction_table.js";

export const title = "Overview";

const NEWEST = 15; // transactions
const MOST = 12; // currencies, or own accounts
const STATUS_MILLISECONDS = 2000;
const HOUR = 3_600_000; // milliseconds
const MOST_RECENT = 1000; // transactions of the hour before a point in time

/** Show what the user may see. */
export async function show(context) {
  if (!context.can("admin", "auditor", "customer")) {
    return h("div", {}, h("h1", { class: "unseen" }, title), state("denied", "A guest sees no books", "An admin can give you another role."));
  }
  const isReader = context.can("admin", "auditor");
  return h("div", { class: "overview" },
    h("h1", { class: "unseen" }, title),
    isReader ? books(context) : ownAccounts(context),
    isReader ? (context.isNow ? present(context) : past(context)) : null,
    newest(context));
}

const link = (context, path, text, query = {}) => h("a", { href: context.link(path, query) }, text);

/** Return the sums by currency and type. */
function books(context) {
  const panel = context.panel("/v1/ledger/reports/trial-balance", { query: { depth: 1 }, at: true, live: true }, ({ currencies }) => {
    if (currencies.length === 0) return noAccounts(context);
    const rest = currencies.length - MOST;
    const largest = [...currencies].sort((one, other) => other.accounts - one.accounts);
    return [h("div", { class: "tiles books" }, largest.slice(0, MOST).map(currencyTile)), rest > 0 && h("p", { class: "muted more" }, `and ${rest} more in the trial balance`)];
  });
  return card("Books", panel, { actions: link(context, "/reports", "Trial balance", { report: "trial-balance" }) });
}

/** Return the sums of a currency. Whether they are equal is computed here, from what is shown. */
function currencyTile({ currency, accounts, sections }) {
  const sum = (side) => sections.reduce((all, section) => all + BigInt(section[side]), 0n);
  const [debits, credits] = [sum("debit_cents_text"), sum("credit_cents_text")];
  const isBalanced = debits === credits;
  const side = (cents) => h("td", { class: "end" }, BigInt(cents) === 0n ? "" : amount(cents, currency));
  return h("div", { class: "tile" },
    h("div", { class: "tile-head" }, h("span", { class: "tile-name" }, currency), h("span", { class: "muted" }, `${count(accounts)} ${accounts === 1 ? "account" : "accounts"}`)),
    h("p", { class: "figure" }, amount(debits, currency)),
    h("p", { class: isBalanced ? "check good" : "check bad" }, isBalanced ? "✓ debits = credits" : `✗ debits and credits differ by ${amount(debits - credits, currency)}`),
    h("table", { class: "types" }, h("caption", { class: "unseen" }, `${currency} by type`),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "unseen" }, "Type")), h("th", { scope: "col" }, "Debit"), h("th", { scope: "col" }, "Credit"))),
      h("tbody", {}, sections.filter((each) => each.lines.length > 0).map((each) => h("tr", {}, h("th", { scope: "row" }, each.section === "untyped" ? "no type" : each.section), side(each.debit_cents_text), side(each.credit_cents_text))))));
}

/** Return what the service does right now. One reading of the status fills all cards. */
function present(context) {
  const chart = activityChart();
  context.onEvent((event) => { if (event && movesMoney(event)) chart.add(event); });
  const places = { seals: h("div", {}), followers: h("div", {}), holds: h("div", {}) };
  const cards = h("div", { class: "status-cards" },
    card("Transfers", chart.element, { className: "tile wide" }),
    card("Seals", places.seals, { className: "tile" }),
    card("Followers", places.followers, { className: "tile" }),
    card("Holds", places.holds, { className: "tile", actions: link(context, "/holds", "All holds") }));
  return context.panel("/v1/ledger/status", { every: STATUS_MILLISECONDS }, (status) => {
    chart.set(status.activity, status.position);
    fill(places.seals, seals(status));
    fill(places.followers, followers(status));
    fill(places.holds, holds(status.holds));
    return cards;
  });
}

function seals({ seals: each, position }) {
  if (each.stopped) return [h("p", { class: "figure" }, "Stopped"), h("p", { class: "bad" }, "✗ sealing waits for an operator"), unsealed(each)];
  if (each.block === null) return [h("p", { class: "figure" }, "None"), h("p", { class: "muted" }, each.enabled ? "the first block is near" : "this worker has no key"), unsealed(each)];
  return [
    h("p", { class: "figure" }, `Block ${count(each.block)}`),
    h("p", { class: "muted" }, "sealed ", h("time", { datetime: each.sealed_at, title: each.sealed_at }, `${ago(each.sealed_at)} ago`), `, up to ${count(each.sealed_position)} of ${count(position)}`),
    unsealed(each)];
}

function unsealed({ unsealed_events: events, oldest_unsealed_at: oldest, anchored }) {
  return facts([
    ["Unsealed", events === 0 ? "none" : `${count(events)} ${events === 1 ? "event" : "events"}${oldest ? `, ${ago(oldest)}` : ""}`],
    ["Anchored", anchored ? "elsewhere too" : "here alone"]]);
}

const STATES = { failing: "warn", stopped: "bad", "not running": "plain" };

function followers({ followers: all }) {
  if (all.length === 0) return h("p", { class: "muted" }, "None is running.");
  return h("ul", { class: "followers" }, all.map((each) => h("li", { title: each.error },
    h("span", { class: "name" }, words(each.name)),
    each.state !== "following" && badge(each.state, STATES[each.state]),
    h("span", { class: "muted lag" }, each.lag_events === 0 ? "up to date" : `${count(each.lag_events)} behind, ${each.lag_seconds < 10 ? each.lag_seconds.toFixed(1) : count(Math.round(each.lag_seconds))} s`))));
}

function holds({ pending, overdue, complete, pending_by_age: ages }) {
  return [
    h("p", { class: "figure" }, count(pending), h("span", { class: "figure-note" }, ` pending${complete ? "" : ", or more"}`)),
    h("p", { class: overdue > 0 ? "warn" : "muted" }, overdue > 0 ? `! ${count(overdue)} overdue` : "none overdue"),
    ageBars(ages.map((each) => each.holds))];
}

/** Return what can be said of a point in time: the hour before it, and the holds of then. */
function past(context) {
  const place = h("div", {}, loading());
  return h("div", { class: "status-cards" },
    context.at.time && card("Transactions", hourBefore(context), { className: "tile wide" }),
    card("Holds", fillWith(place, () => pastHolds(context)), { className: "tile", actions: link(context, "/holds", "All holds") }));
}

function hourBefore(context) {
  const until = new Date(context.at.time).getTime();
  const from = new Date(Math.floor((until - HOUR) / 60_000) * 60_000).toISOString();
  return context.panel("/v1/transactions", { query: { from_time: from, limit: MOST_RECENT }, at: true }, (transactions) => {
    const { since, counts } = minutesOf(transactions, until, transactions.length < MOST_RECENT);
    const chart = activityChart({ unit: "that minute" });
    chart.set({ since, per_minute: counts }, Infinity);
    return chart.element;
  });
}

function fillWith(place, read) {
  place.className = "panel";
  place.ready = read().then((content) => fill(place, content), (error) => { if (error.name !== "AbortError") fill(place, state("error", error.message)); });
  return place;
}

async function pastHolds(context) {
  const { holds: all, isAll } = await readHolds(context);
  const { counts, overdue } = ageCounts(all, timeOf(context));
  return holds({ pending: all.length - overdue, overdue, complete: isAll, pending_by_age: counts.map((each) => ({ holds: each })) });
}

function ownAccounts(context) {
  return card("Your accounts", context.panel("/v1/accounts", { query: { limit: 1000 }, at: true, live: true }, (accounts) => {
    learn("account", accounts);
    if (accounts.length === 0) return noAccounts(context);
    const rest = accounts.length - MOST;
    return [ownSums(accounts), h("div", { class: "tiles" }, accounts.slice(0, MOST).map(accountTile)), rest > 0 && h("p", { class: "muted more" }, `and ${count(rest)} more`)];
  }), { actions: link(context, "/accounts", "All accounts") });
}

/** Return what a customer owns in each currency. */
function ownSums(accounts) {
  const sums = new Map();
  for (const { currency, balance_cents: balance, held_cents: held } of accounts) {
    const [all, reserved] = sums.get(currency) ?? [0n, 0n];
    sums.set(currency, [all + BigInt(balance), reserved + BigInt(held)]);
  }
  return h("div", { class: "figures" }, [...sums].map(([currency, [all, reserved]]) => h("div", {},
    h("p", { class: "muted" }, `All in ${currency}`),
    h("p", { class: "figure" }, amount(all, currency)),
    h("p", { class: "muted" }, reserved > 0n ? `${amount(reserved, currency)} held` : "nothing held"))));
}

function accountTile(account) {
  return h("div", { class: "tile" },
    h("div", { class: "tile-head" }, accountLink(account.id), h("span", { class: "muted" }, account.currency)),
    h("p", { class: "figure" }, amount(account.balance_cents, account.currency)),
    h("p", { class: "muted" }, "available ", money(account.available_cents, account.currency)));
}

/** Return the newest transactions. New ones slide in at the top. */
function newest(context) {
  let shown = []; // what the table has
  let fresh = new Set(); // ids of those that have just arrived
  const table = transactionsTable([], { classOf: (each) => (fresh.has(each.id) ? "arrives" : fresh.size > 0 ? "moves" : ""), onOpen: (each) => context.navigate(`/transactions/${each.id}`) });
  const panel = context.panel("/v1/transactions", { query: { limit: NEWEST }, at: true, live: aboutTransactions, lines: 8 }, (transactions, { isFirst }) => {
    const known = new Map(shown.map((each) => [each.id, each]));
    fresh = new Set(isFirst ? [] : transactions.filter((each) => !known.has(each.id)).map((each) => each.id));
    shown = transactions;
    if (transactions.length === 0) return noTransactions(context);
    table.style.setProperty("--by", String(Math.min(fresh.size, 3)));
    table.update(transactions);
    return table;
  });
  return card("Newest transactions", panel, { actions: link(context, "/transactions", "All transactions") });
}
