// A transaction: what it moved, what became of it, who sent it, its stored events, and its proof.

import { actionsOf } from "../actions/index.js";
import { Problem } from "../api.js";
import { chainOf } from "../chain.js";
import { card, copyable, facts, fill, h, loading, problemState, state } from "../dom.js";
import { amount, count, idOf, shortId, statusBadge, when, words } from "../format.js";
import { accountLink, actorLink, transactionLink } from "../names.js";
import { flowPicture, postingsOf } from "../posting_flow.js";
import { contentOf } from "../proof.js";
import { proofPart, receiptButton } from "../proof_view.js";
import { fromArray, table } from "../table.js";
import { setAt } from "../time.js";

const REACH = 100; // positions between a transaction's event and its entries
const OF_ACCOUNTS = /^(Account|Funds|Incoming)/; // topics of events in the stream of an account
const MOST_COMMANDS = 20; // whose senders are shown
const MOST_REVERSALS = 100;

let lastTitle = "Transaction";

/** Return the kind and amount, once they are known. */
export const title = () => lastTitle;

/** Show the transaction. */
export async function show(context) {
  const path = `/v1/transactions/${context.params.id}`;
  const transaction = await find(context, path);
  if (!transaction) return h("div", {}, h("h1", { class: "unseen" }, "Transaction"), state("missing", "Not recorded yet", "At this point in time, there was no such transaction."));
  lastTitle = headline(transaction);
  const view = h("div", { class: "transaction" });
  const ours = (event) => !event || event.stream_id === transaction.id || JSON.stringify(event.state).includes(transaction.id);
  const events = eventsCard(context, transaction);
  const content = [];
  const showAs = (name, page = null) => {
    view.classList.toggle("failed", page !== null);
    document.title = `${name} · Ledger`;
    fill(view, page ?? content);
  };
  const proof = proofPart(context, transaction, {
    onProven: (checked) => { if (view.classList.contains("failed")) showAs(title()); events.prove(checked); },
    onFailed: (page) => showAs("Not proven", page),
  });
  content.push(
    context.panel(path, { at: true, live: ours }, (now) => [heading(context, now), flowPicture(now), parts(context, now)]),
    card("Proof", proof, { actions: receiptButton(transaction) }),
    events,
  );
  context.onEvent((event) => { if (event && ours(event)) { void proof.check(); events.read(); } });
  return fill(view, ...content);
}

/** Return the transaction; null if it was recorded after the point in time that is shown. */
async function find(context, path) {
  try {
    return await context.get(path, { at: true });
  } catch (error) {
    if (error instanceof Problem && error.status === 404 && !context.isNow) return null;
    throw error;
  }
}

function headline(transaction) {
  const [{ currency }] = postingsOf(transaction);
  const cents = postingsOf(transaction).filter((each) => each.currency === currency && each.amount_cents > 0).reduce((sum, each) => sum + BigInt(each.amount_cents), 0n);
  const kind = transaction.kind === "journal" ? "journal entry" : words(transaction.kind);
  return `${kind.charAt(0).toUpperCase()}${kind.slice(1)} ${amount(cents, currency)} ${currency}`;
}

function heading(context, transaction) {
  return h("header", { class: "view-head" },
    h("h1", {}, headline(transaction)),
    statusBadge(transaction.status),
    h("p", { class: "muted sub" }, when(transaction.created_at), " · ", idOf(transaction.id)),
    h("div", { class: "actions" }, actionsOf(transaction, context)),
    transaction.description && h("p", { class: "said-text" }, transaction.description));
}

/** Return what depends on the transaction as it is now: its chain, its details and its senders. */
function parts(context, transaction) {
  return h("div", { class: "transaction-parts" },
    chain(context, transaction),
    card("Details", [details(transaction), amendments(context, transaction)]),
    card("Who did it", senders(context, transaction)));
}

/** Return the chain, from the transaction that was reversed, if this is a reversal. */
function chain(context, transaction) {
  const place = card("Chain", chainOf(transaction, [], transaction.id), { className: "wide" });
  const draw = (list) => { place.lastChild.replaceWith(list); place.hidden = list.children.length < 2; };
  draw(place.lastChild);
  const id = transaction.reverses ?? transaction.id;
  const read = async () => {
    const original = transaction.reverses ? await context.get(`/v1/transactions/${id}`, { at: true }) : transaction;
    const reversals = original.reversed_by || original.reversed_cents ? await context.get("/v1/transactions", { query: { reverses: id, limit: MOST_REVERSALS }, at: true }) : [];
    const found = reversals.some((each) => each.id === transaction.id) || !transaction.reverses ? reversals : [transaction, ...reversals];
    draw(chainOf(original, found.toReversed(), transaction.id));
  };
  read().catch((error) => { if (error.name !== "AbortError") throw error; });
  return place;
}

function details(transaction) {
  const metadata = Object.entries(transaction.metadata ?? {});
  return [
    facts([
      ["Recorded", when(transaction.created_at)],
      ["Effective", transaction.effective_at ? when(transaction.effective_at) : h("span", { class: "muted" }, "as recorded")],
      ["Reference", transaction.reference ?? h("span", { class: "muted" }, "none")],
      transaction.requested_effective_at && ["Effective, as asked", when(transaction.requested_effective_at)],
      transaction.expires_at && ["Expires", when(transaction.expires_at)],
      transaction.execute_at && ["To be executed", when(transaction.execute_at)],
      transaction.reverses && ["Reverses", transactionLink(transaction.reverses)],
      transaction.failure_codes && ["Failed because of", transaction.failure_codes.map(words).join(", ")],
    ]),
    metadata.length > 0 && h("div", { class: "metadata" }, h("h3", {}, "Metadata"), facts(metadata)),
  ];
}

/** Return what the transaction said before it was amended; nothing if it never was. */
function amendments(context, transaction) {
  const isKnown = (each) => !context.at?.time || each.created_at <= context.at.time;
  return context.panel(`/v1/transactions/${transaction.id}/amendments`, { lines: 0 }, (all) => {
    const versions = all.filter(isKnown);
    if (versions.length < 2) return [];
    return h("div", { class: "metadata" }, h("h3", {}, `Amended ${versions.length === 2 ? "once" : `${count(versions.length - 1)} times`}`),
      h("ol", { class: "versions", reversed: true }, versions.toReversed().map((each) => h("li", {},
        h("span", { class: "muted" }, `version ${each.version}, `, when(each.created_at, { short: true })),
        h("span", {}, each.description ?? "no description"),
        each.metadata && h("span", { class: "muted" }, Object.entries(each.metadata).map(([name, value]) => `${name}: ${value}`).join(" · "))))));
  });
}

/** Return who sent the commands of the transaction. The log is for admins and auditors. */
function senders(context, transaction) {
  if (!context.can("admin", "auditor")) return state("denied", "Admins and auditors see who did it");
  return context.panel("/v1/events", { query: { stream: transaction.id, limit: 200 } }, (events) => {
    const sent = events.filter((event) => isBefore(context, event));
    const shown = sent.slice(0, MOST_COMMANDS);
    return [
      h("ul", { class: "senders" }, shown.map((event) => h("li", {}, event.command_id ? context.panel(`/v1/audit/commands/${event.command_id}`, { lines: 1 }, (command) => sender(event, command)) : sender(event, null)))),
      sent.length > shown.length && h("p", { class: "muted" }, `and ${count(sent.length - shown.length)} more`)];
  });
}

function sender(event, command) {
  const ids = command ? [["session", command.session_id], ["request", command.request_id], ["command", command.command_id]] : [];
  return [
    h("span", { class: "sender-what" }, titled(event.topic), h("span", { class: "muted" }, " by "), actorLink(command?.user_id ?? null)),
    h("span", { class: "muted sender-when" }, when(event.recorded_at, { short: true })),
    h("span", { class: "sender-ids" }, ids.filter(([, id]) => id).map(([name, id]) => h("span", { class: "muted" }, `${name} `, copyable(id, shortId(id))))),
  ];
}

/** Return the topic of an event as one reads it: `HoldPlaced` is "Hold placed". */
function titled(topic) {
  return topic.replaceAll(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function isBefore({ at }, { position, recorded_at: time }) {
  if (!at) return true;
  return at.position === undefined ? time <= at.time : position <= at.position;
}

/** Return the stored events. Customers see those of their receipt. `prove(checked)` marks the proven ones, `read()` reads again. */
function eventsCard(context, transaction) {
  const place = h("div", {}, loading(3));
  const isReader = context.can("admin", "auditor");
  let proven = new Set(); // positions
  let known = null; // events
  const draw = () => { if (known) fill(place, eventsTable(known.filter((event) => isBefore(context, event)), proven)); };
  const part = card("Stored events", place);
  part.prove = (checked) => {
    proven = new Set(checked.filter(({ holds }) => holds).map(({ proof: { event } }) => event.notification_id));
    if (!isReader) known = checked.map(({ proof: { event } }) => stored(event));
    draw();
  };
  part.read = async () => {
    if (!isReader) return;
    try {
      known = await eventsOf(context, transaction.id);
      draw();
    } catch (error) {
      if (error.name !== "AbortError") fill(place, problemState(error, part.read));
    }
  };
  if (!isReader) fill(place, state("empty", "Your receipt has them", "They are shown when they are sealed."));
  void part.read();
  return part;
}

/** Return an event of a receipt as the API shows it. */
function stored(event) {
  return { position: event.notification_id, stream_id: event.originator_id, version: event.originator_version, topic: event.topic, recorded_at: event.recorded_at, command_id: event.command_id, state: contentOf(event) };
}

/** Return the events of a transaction, with the entries that the same commands made in accounts. */
async function eventsOf(context, id) {
  const own = await context.get("/v1/events", { query: { stream: id, limit: 200 } });
  const found = new Map(own.map((event) => [event.position, event]));
  const commands = new Set(own.map((event) => event.command_id));
  let end = 0;
  for (const event of own.slice(0, MOST_COMMANDS)) {
    if (event.position <= end - REACH) continue;
    const after = Math.max(end, event.position - REACH - 1);
    const near = await context.get("/v1/events", { query: { after, limit: 2 * REACH + 1 } });
    end = near.at(-1)?.position ?? end;
    for (const each of near) if (commands.has(each.command_id) && JSON.stringify(each.state).includes(id)) found.set(each.position, each);
  }
  return [...found.values()].sort((one, other) => one.position - other.position);
}

function eventsTable(events, proven) {
  const grid = table({ label: "Stored events", source: fromArray(events), onOpen: showEvent, empty: "No events", columns: [
    { title: "Proven", width: "4rem", cell: ({ position }) => (proven.has(position) ? h("span", { class: "good" }, "✓") : h("span", { class: "muted", title: "Not in the receipt" }, "–")) },
    { title: "Position", width: "6rem", from: 480, cell: (event) => h("button", { type: "button", class: "copy", title: "Show the ledger as of this event", onclick: () => setAt({ position: event.position, time: event.recorded_at }) }, `@ ${event.position}`) },
    { title: "Topic", width: "minmax(0, 12rem)", cell: (event) => event.topic },
    { title: "Stream", width: "minmax(0, 12rem)", cell: (event) => (OF_ACCOUNTS.test(event.topic) ? accountLink(event.stream_id) : idOf(event.stream_id)) },
    { title: "Version", width: "4rem", end: true, from: 640, cell: (event) => `#${event.version}` },
    { title: "State, as stored", from: 800, cell: (event) => h("code", {}, JSON.stringify(event.state)) },
  ] });
  grid.classList.add("short");
  return grid;
}

function showEvent(event) {
  const text = JSON.stringify(event, null, 2);
  const dialog = h("dialog", { "aria-label": event.topic }, h("h2", {}, event.topic), h("pre", { tabindex: "0" }, text),
    h("form", { method: "dialog", class: "actions" }, copyable(text, "Copy"), h("button", {}, "Close")));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
