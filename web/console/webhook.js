// A webhook: what it sends, how far it has come, its last deliveries, and what an admin can do about it.

import { partAction } from "./actions/index.js";
import { changeButton, openDialog } from "./dialog.js";
import { copyable, facts, fill, h } from "./dom.js";
import { badge, count, idOf, timeText, when } from "./format.js";
import { actorLink } from "./names.js";
import { fromArray, table } from "./table.js";
import { watch } from "./watch.js";

const MOST_SHOWN = 100; // deliveries
const MILLISECONDS = 2000;

const REASONS = { requested: "by request", gone: "the answer was 410 Gone", failing: "no delivery for days", client_revoked: "its client was revoked" };

/** Return why a webhook is disabled, or null. */
export function reasonText({ status_reason: reason }) {
  return reason && (REASONS[reason] ?? reason);
}

/** Return the topics that a webhook sends. */
export function topicsText({ topics }) {
  return topics.length > 0 ? topics.join(", ") : "all that may leave the ledger";
}

/** Return which accounts the events of a webhook are about. */
export function accountsText({ code_prefix: prefix }) {
  return prefix === null ? "all" : `${prefix} and below`;
}

/** Return in which order a webhook sends events. */
export function orderText({ order }) {
  return order === "webhook" ? "of the log" : "of the log for each account";
}

/** Return until when the secret before the newest one signs, or null. */
export function deadlineOfOlder({ secrets }) {
  return secrets.find(({ expires_at: end }) => end !== null && new Date(end) > Date.now())?.expires_at ?? null;
}

/** Return in short what a webhook sends. */
export function sendsText({ topics, code_prefix: prefix }) {
  const what = topics.length === 0 ? "all events" : topics.length === 1 ? topics[0] : `${topics.length} topics`;
  return prefix === null ? what : `${what} · ${prefix}`;
}

/** Return the details of a webhook; `watched` has the list, and `close` is called to leave it. */
export function webhookDetails(context, watched, id, close) {
  const path = `/v1/webhooks/${id}`;
  const find = (list) => list.find((each) => each.id === id) ?? null;
  const isEnabled = (list) => find(list)?.status === "enabled";
  const deliveries = watch(context, `${path}/deliveries?limit=${MOST_SHOWN}`, { every: () => MILLISECONDS });
  const again = () => { void watched.again(); void deliveries.again(); };
  const result = h("p", { role: "status" });
  const tell = ({ body }) => { fill(result, "Test: ", outcome(body), h("span", { class: "muted" }, ` in ${count(body.milliseconds)} ms`)); again(); };
  return h("section", { class: "details", "aria-label": "Webhook" },
    h("header", { class: "card-head" }, watched.region((url) => h("h3", {}, url), { part: (list) => find(list)?.url ?? "Webhook", lines: 1 }), h("button", { type: "button", class: "plain close", "aria-label": "Close the webhook", onclick: close }, "✕")),
    watched.region((each) => (each ? settings(each) : h("p", { class: "muted" }, "There is no such webhook.")), { part: find }),
    watched.region(([exists, enabled]) => exists && h("div", { class: "actions start" }, buttons(context, path, enabled, { again, tell, close })), { part: (list) => [Boolean(find(list)), isEnabled(list)], lines: 0 }),
    result,
    h("h3", {}, "Last deliveries"),
    listOf(context, path, deliveries, again),
    deliveries.stale);
}

function settings(each) {
  const { progress } = each;
  const older = deadlineOfOlder(each);
  return facts([
    ["Status", [badge(each.status, each.status === "enabled" ? "good" : "plain"), reasonText(each) && h("span", { class: "muted" }, ` · ${reasonText(each)}`)]],
    progress && ["Position", `${count(progress.position)} of ${count(progress.log_end)}`],
    progress && ["Pending", eventsText(progress.pending)],
    progress?.failed_since && ["Failing since", [when(progress.failed_since, { short: true }), h("span", { class: "muted" }, ` · ${count(progress.failures)} ${progress.failures === 1 ? "attempt" : "attempts"}`)]],
    progress?.next_attempt_at && ["Next attempt", when(progress.next_attempt_at, { short: true })],
    ["Events", h("span", {}, topicsText(each))],
    ["Accounts", h("span", {}, accountsText(each))],
    ["Order", orderText(each)],
    each.description !== null && ["Description", h("span", {}, each.description)],
    ["Belongs to", each.client_id === null ? "the admins" : actorLink(each.client_id)],
    ["Secret", older ? ["two sign, the older one until ", when(older, { short: true })] : "one signs"],
    ["Created", when(each.created_at)],
    ["Id", idOf(each.id)],
  ]);
}

function eventsText(number) {
  return number === 0 ? "nothing" : `${count(number)} ${number === 1 ? "event" : "events"}`;
}

function buttons(context, path, isEnabled, { again, tell, close }) {
  const both = { roles: ["admin"], done: again };
  const read = () => context.get(path);
  return [
    changeButton(context, "Send a test", { ...both, title: "Send a test?", text: "A signed event that is not in the log goes to the address. The answer is shown here.", verb: "Send it", request: { path: `${path}/test` }, done: tell }),
    isEnabled
      ? changeButton(context, "Disable", { ...both, isDangerous: true, title: "Disable this webhook?", text: "It sends nothing until it is enabled again. The events wait in the log.", request: { path: `${path}/disable` } })
      : changeButton(context, "Enable", { ...both, title: "Enable this webhook?", text: "It continues where it was disabled: the events since then are sent, in order.", request: { path: `${path}/enable`, body: {} } }),
    partAction(context, "changeWebhook", { read, onMade: again }),
    partAction(context, "rotateSecret", { read, onMade: again }),
    partAction(context, "deleteWebhook", { read, onMade: close, onClosed: close }),
  ];
}

/** Return the last deliveries. The table stays while its rows change, so that the reader's place is kept. */
function listOf(context, path, deliveries, again) {
  let grid = null;
  return deliveries.region((items) => {
    if (items.length === 0) { grid = null; return h("p", { class: "muted" }, "Nothing has been sent yet."); }
    if (grid) grid.update(items);
    else {
      grid = table({ label: "Deliveries", columns: columns(context, path, again), source: fromArray(items), onOpen: showDelivery });
      grid.classList.add("bounded");
    }
    return grid;
  });
}

function outcome({ status, error }) {
  if (status === null) return h("span", { class: "bad", title: error }, error ?? "no answer");
  return badge(String(status), status >= 200 && status < 300 ? "good" : "bad");
}

const KINDS = { event: null, redelivery: "again", test: "test" };

function columns(context, path, again) {
  const muted = (text) => h("span", { class: "muted" }, text);
  const sent = (each) => when(each.sent_at, { short: true });
  const topic = (each) => [h("span", {}, each.topic), KINDS[each.kind] && muted(` · ${KINDS[each.kind]}`)];
  const position = (each) => (each.position === null ? muted("–") : h("button", { type: "button", class: "copy", title: "Show this event as it is stored", onclick: () => showEvent(context, each.position) }, `@ ${count(each.position)}`));
  const answer = (each) => (each.answer === "" ? muted("–") : h("code", { title: each.answer }, each.answer));
  const redeliver = (each) => each.kind !== "test" && changeButton(context, "Redeliver", {
    roles: ["admin"], name: `Redeliver ${each.topic} at ${each.position}`, title: `Send event ${count(each.position)} again?`,
    text: `${each.topic} is sent once more, with the same id, beside the others. The deliveries show the result.`,
    verb: "Send it", request: { path: `${path}/redeliver`, body: { delivery_id: each.id } }, done: again,
  });
  return [
    { title: "Sent", width: "minmax(5rem, 10rem)", from: 640, cell: sent },
    { title: "Event", width: "minmax(0, 1.2fr)", from: 640, cell: topic },
    { title: "Position", width: "minmax(4.5rem, .4fr)", from: 640, end: true, cell: position },
    { title: "Attempt", width: "4rem", end: true, from: 720, cell: (each) => count(each.attempt) },
    { title: "Event", width: "minmax(0, 1.4fr)", upto: 640, cell: (each) => h("span", { class: "lines" }, h("span", {}, topic(each)), h("span", {}, position(each), muted(` ${timeText(each.sent_at).slice(-8)}`))) },
    { title: "Result", width: "minmax(0, 1fr)", from: 640, cell: outcome },
    { title: "Result", width: "minmax(0, 1fr)", upto: 640, cell: (each) => h("span", { class: "lines" }, outcome(each), answer(each)) },
    { title: "Took", width: "4.5rem", end: true, from: 800, cell: (each) => `${count(each.milliseconds)} ms` },
    { title: "Answer", width: "minmax(0, 1.6fr)", from: 640, cell: answer },
    { width: "6rem", end: true, cell: redeliver },
  ];
}

function showDelivery(each) {
  const dialog = openDialog(each.kind === "test" ? "Test" : `Delivery of event ${count(each.position)}`);
  const close = h("button", { type: "button", onclick: dialog.close }, "Close");
  dialog.show(
    facts([["Event", each.topic], ["Sent", when(each.sent_at)], ["Attempt", count(each.attempt)], ["Result", outcome(each)], ["Took", `${count(each.milliseconds)} ms`], ["Id", idOf(each.id)]]),
    h("h3", {}, "Beginning of the answer"),
    h("pre", { tabindex: "0" }, each.answer === "" ? h("span", { class: "muted" }, "nothing") : h("code", {}, each.answer)),
    h("div", { class: "buttons" }, close));
  close.focus();
}

function showEvent(context, position) {
  const dialog = openDialog(`Event ${count(position)}`);
  const close = h("button", { type: "button", onclick: dialog.close }, "Close");
  const stored = context.panel("/v1/events", { query: { after: position - 1, limit: 1 }, lines: 6 }, ([event]) => {
    const text = JSON.stringify(event, null, 2);
    return h("div", {}, h("pre", { tabindex: "0" }, text), h("div", { class: "buttons" }, copyable(text, "Copy")));
  });
  dialog.show(stored, h("div", { class: "buttons" }, close));
  close.focus();
}
