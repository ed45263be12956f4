// An account: its figures, its curve, its statement, its holds, and its events as they are stored.

import { accountActions } from "../actions/index.js";
import { url } from "../api.js";
import { stepChart } from "../chart.js";
import { downloadButton } from "../download.js";
import { copyable, facts, fill, h, state } from "../dom.js";
import { amount, idOf, money, shortId, statusBadge, timeText, when, words } from "../format.js";
import { accountLink, learn, transactionLink, userLink } from "../names.js";
import { setAt } from "../time.js";
import { table } from "../table.js";

const TABS = [["statement", "Statement"], ["holds", "Holds"], ["events", "Events"]];
const POINTS = 300;

let lastName = "Account";

/** Return the account's code, name or id, once it is known. */
export const title = () => lastName;

/** Show the account. */
export async function show(context) {
  const path = `/v1/accounts/${context.params.id}`;
  const account = await context.get(path, { at: true });
  const ours = (event) => !event || event.stream_id === account.id || JSON.stringify(event.state).includes(account.id);
  learn("account", [account]);
  lastName = account.code ?? account.name ?? shortId(account.id);
  const head = context.panel(path, { at: true, live: ours }, (now) => figures(now));
  const tab = TABS.some(([name]) => name === context.query.get("tab")) ? context.query.get("tab") : "statement";
  return h("div", { class: "full account" },
    heading(context, account),
    h("div", { class: "account-top" }, head, curve(context, account, ours)),
    tabs(context, account, tab),
    { statement, holds, events }[tab](context, account, ours));
}

function heading(context, account) {
  const id = account.id;
  const period = context.at?.time ? { to: context.at.time } : {};
  const statementAs = (format) => downloadButton(format.toUpperCase(), url(`/v1/accounts/${id}/statement`, { ...period, format }), `${lastName}.${format}`);
  return h("header", { class: "view-head" },
    h("h1", {}, lastName),
    account.frozen === "none" ? statusBadge(account.status) : h("span", { class: "badge warn" }, `frozen: ${words(account.frozen)}`),
    h("p", { class: "muted sub" }, account.code && account.name ? [h("span", {}, account.name), " · "] : "", userLink(account.user_id), account.type ? ` · ${account.type}` : "", " · ", idOf(id)),
    h("div", { class: "actions" }, accountActions(account, context)),
    h("div", { class: "actions" },
      downloadButton("Receipt", url(`/v1/accounts/${id}/proof`, context.at ? { at_version: account.version } : {}), `${lastName}.receipt.json`),
      statementAs("csv"), statementAs("pdf")));
}

function figures(account) {
  const { currency } = account;
  const tile = (name, cents) => h("div", {}, h("p", { class: "muted" }, name), h("p", { class: "figure" }, amount(cents, currency)));
  return [
    h("div", { class: "figures" }, tile(`Balance, ${currency}`, account.balance_cents), tile("Held", account.held_cents), tile("Available", account.available_cents)),
    facts([
      account.overdraft_limit_cents > 0 && ["Overdraft limit", money(account.overdraft_limit_cents, currency)],
      account.max_balance_cents !== null && ["Most it may hold", money(account.max_balance_cents, currency)],
      ["Opened", when(account.created_at)],
      ...Object.entries(account.metadata ?? {}).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]),
    ]),
  ];
}

/** Return the curve. A chosen part of it is read again, with as many points. */
function curve(context, account, ours) {
  const place = h("div", {});
  const draw = (from, to) => {
    const range = from === undefined ? {} : { from: new Date(from).toISOString(), to: new Date(to).toISOString() };
    fill(place, context.panel(`/v1/accounts/${account.id}/balance-series`, { query: { points: POINTS, ...range }, at: true, live: from === undefined && ours }, ({ points }) => {
      if (points.length === 0) return state("empty", "No entries yet");
      const end = to ?? (context.at?.time ? new Date(context.at.time).getTime() : Date.now());
      const label = `Balance from ${timeText(points[0].at)} to ${timeText(end)}: last ${amount(points.at(-1).balance_cents, account.currency)} ${account.currency}`;
      return stepChart({ points, until: end, currency: account.currency, label, onZoom: draw, isZoomed: from !== undefined });
    }));
  };
  draw();
  return place;
}

function tabs(context, account, tab) {
  const links = TABS.map(([name, text]) => h("a", { href: context.link(`/accounts/${account.id}`, name === "statement" ? {} : { tab: name }), "aria-current": name === tab ? "page" : null }, text));
  const by = context.query.get("by") === "effective" ? "effective" : "recorded";
  const other = by === "recorded" ? "effective" : "recorded";
  return h("div", { class: "sub-tabs" }, h("nav", { "aria-label": "Parts of the account" }, links),
    tab === "statement" && h("a", { class: "muted", href: context.link(`/accounts/${account.id}`, other === "effective" ? { by: other } : {}) }, `in order of ${by} time · change`));
}

function statement(context, account, ours) {
  const isDated = context.query.get("by") === "effective";
  const until = context.at && !isDated ? { to_version: account.version } : {};
  const given = isDated ? { query: { by: "effective" }, at: true } : { query: until };
  const source = context.source(`/v1/accounts/${account.id}/entries`, given);
  const grid = table({ label: "Statement", columns: entryColumns(account.currency), source, onOpen: (entry) => context.navigate(`/transactions/${entry.transaction_id}`), empty: "No entries" });
  if (!isDated) followEntries(context, account, grid, ours);
  return grid;
}

/** Put new entries at the top as they are recorded. */
function followEntries(context, account, grid, ours) {
  let last = null;
  let busy = false;
  let again = false;
  const read = async () => {
    if (busy) { again = true; return; }
    busy = true;
    last ??= grid.first()?.version ?? 0;
    const { items } = await context.page(`/v1/accounts/${account.id}/entries`, { query: { after: last, limit: 200 } }).catch(() => ({ items: [] }));
    if (items.length > 0) { last = items[0].version; grid.prepend(items); }
    busy = false;
    if (again) { again = false; void read(); }
  };
  context.onEvent((event) => { if (ours(event)) void read(); });
}

function entryColumns(currency) {
  const text = (entry) => entry.description ?? entry.reference ?? words(entry.kind);
  const paid = (entry) => (entry.amount_cents < 0 ? amount(-entry.amount_cents, currency) : "");
  const got = (entry) => (entry.amount_cents < 0 ? "" : amount(entry.amount_cents, currency));
  const width = "clamp(5.5rem, 11vw, 9rem)";
  return [
    { title: "Recorded", width: "clamp(5rem, 18vw, 10rem)", cell: (entry) => when(entry.created_at, { short: true }) },
    { title: "Effective", width: "10rem", from: 1100, cell: (entry) => (entry.effective_at ? when(entry.effective_at) : h("span", { class: "muted" }, "as recorded")) },
    { title: "Text", from: 640, cell: text },
    { title: "Other side", from: 640, cell: (entry) => accountLink(entry.other_account_id) },
    { title: "Text, other side", upto: 640, cell: (entry) => h("span", { class: "lines" }, h("span", {}, text(entry)), h("span", {}, accountLink(entry.other_account_id))) },
    { title: "Debit", width, end: true, from: 640, cell: paid },
    { title: "Credit", width, end: true, from: 640, cell: got },
    { title: "Balance", width, end: true, from: 640, cell: (entry) => h("span", { class: entry.balance_cents < 0 ? "negative" : null }, amount(entry.balance_cents, currency)) },
    { title: "Amount, balance", width: "7.5rem", end: true, upto: 640, cell: (entry) => h("span", { class: "lines" }, h("span", {}, entry.amount_cents < 0 ? "" : "+", amount(entry.amount_cents, currency)), h("span", { class: "muted" }, amount(entry.balance_cents, currency))) },
    { title: "Version", width: "5rem", end: true, from: 1000, cell: (entry) => h("span", { class: "id muted" }, `#${entry.version}`) },
  ];
}

function holds(context, account) {
  const source = context.source("/v1/transactions", { query: { account_id: account.id, kind: "hold" }, at: true });
  return table({ label: "Holds", source, empty: "No holds", onOpen: (hold) => context.navigate(`/transactions/${hold.id}`), columns: [
    { title: "Placed", width: "clamp(5rem, 18vw, 10rem)", cell: (hold) => when(hold.created_at, { short: true }) },
    { title: "Status", width: "6.5rem", cell: (hold) => statusBadge(hold.status) },
    { title: "Expires", width: "10rem", from: 800, cell: (hold) => when(hold.expires_at) },
    { title: "For", cell: (hold) => (hold.source_account_id === account.id ? accountLink(hold.destination_account_id) : ["from ", accountLink(hold.source_account_id)]) },
    { title: "Reference", from: 1000, cell: (hold) => hold.reference ?? "" },
    { title: "Captured", width: "9rem", end: true, from: 640, cell: (hold) => (hold.captured_cents ? amount(hold.captured_cents, hold.currency) : "") },
    { title: "Amount", width: "clamp(6rem, 16vw, 10rem)", end: true, cell: (hold) => money(hold.amount_cents, hold.currency) },
    { title: "Id", width: "7rem", from: 1000, cell: (hold) => transactionLink(hold.id) },
  ] });
}

function events(context, account) {
  const source = context.source(`/v1/accounts/${account.id}/events`);
  if (context.at) source.load = until(context.at.position, source.load);
  return table({ label: "Events", source, empty: "No events", onOpen: showEvent, columns: [
    { title: "Version", width: "5rem", end: true, cell: (event) => `#${event.version}` },
    { title: "Topic", width: "minmax(0, 14rem)", cell: (event) => event.topic },
    { title: "Recorded", width: "10rem", from: 640, cell: (event) => when(event.recorded_at) },
    { title: "Position", width: "7rem", from: 480, cell: (event) => h("button", { type: "button", class: "copy", title: "Show the ledger as of this event", onclick: () => setAt({ position: event.position, time: event.recorded_at }) }, `@ ${event.position}`) },
    { title: "State, as stored", from: 800, cell: (event) => h("code", {}, JSON.stringify(event.state)) },
  ] });
}

/** Return a loader that ends at a position of the log. */
function until(position, load) {
  if (position === undefined) return load;
  return async (address) => {
    const { items, next } = await load(address);
    const known = items.filter((event) => event.position <= position);
    return { items: known, next: known.length < items.length ? null : next };
  };
}

function showEvent(event) {
  const text = JSON.stringify(event, null, 2);
  const dialog = h("dialog", { "aria-label": event.topic }, h("h2", {}, event.topic), h("pre", { tabindex: "0" }, text),
    h("form", { method: "dialog", class: "actions" }, copyable(text, "Copy"), h("button", {}, "Close")));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
