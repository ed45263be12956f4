// Webhooks: where events of the ledger are sent, and how far each has come. One of them can be opened.

import { partAction } from "./actions/index.js";
import { Problem } from "./api.js";
import { card, fill, h, state } from "./dom.js";
import { badge, count, when } from "./format.js";
import { keep } from "./router.js";
import { fromArray, table } from "./table.js";
import { watch } from "./watch.js";
import { reasonText, sendsText, webhookDetails } from "./webhook.js";

const PATH = "/v1/webhooks";
const MOST = 1000; // that a ledger can have
const FIRST = 12; // whose progress is read before any row is in sight
const MILLISECONDS = 5000;

/** Return the card of all webhooks. */
export function webhooks(context) {
  if (!context.can("admin")) return card("Webhooks", h("p", { class: "muted" }, "Only admins see webhooks, and machine clients their own."));
  const progress = new Map(); // by id: of the rows in sight, and what was read before
  let opened = null; // { id, ending }
  let grid = null;

  const read = async () => {
    const list = await context.get(PATH, { query: { limit: MOST } });
    const rows = grid?.isConnected ? [...grid.querySelectorAll(".rows .row")].map((row) => row.item?.id) : list.slice(0, FIRST).map(({ id }) => id);
    const wanted = new Set([...rows, opened?.id]);
    await Promise.all(list.filter(({ id }) => wanted.has(id)).map(async ({ id }) => progress.set(id, await progressOf(context, id))));
    return list.map((each) => ({ ...each, progress: progress.get(each.id) ?? null }));
  };
  const watched = watch(context, "webhooks", { read, every: () => MILLISECONDS });
  const details = h("div", { class: "details-place" });
  const show = (id) => {
    opened?.ending.abort();
    opened = id && { id, ending: new AbortController() };
    fill(details, id && webhookDetails(until(context, opened.ending.signal), watched, id, () => open(null)));
  };
  const create = partAction(context, "createWebhook", { onMade: ({ id }) => void watched.again().then(() => { if (!context.signal.aborted) open(id); }) });
  const open = (id) => {
    show(id);
    keep("webhook", id);
    void watched.again();
    if (id) details.scrollIntoView({ block: "nearest" });
    else (grid?.isConnected ? grid : create)?.focus();
  };
  const list = watched.region((items) => {
    if (items.length === 0) { grid = null; return none(); }
    if (grid) grid.update(items);
    else {
      grid = table({ label: "Webhooks", columns: columns(open), source: fromArray(items), onOpen: ({ id }) => open(id) });
      grid.classList.add("bounded");
      grid.addEventListener("scrollend", () => void watched.again());
    }
    return grid;
  });
  if (context.query.get("webhook")) show(context.query.get("webhook"));
  return card("Webhooks", [h("div", { class: "side-main" }, list, details), watched.stale], { actions: create });
}

function none() {
  return state("empty", "No webhook", "A webhook sends events of the ledger, signed and in order, to an address of yours as they happen.",
    h("a", { href: "/docs", target: "_blank", rel: "noopener", class: "name" }, "API documentation"));
}

/** Return how far a webhook has come, or null if it was deleted. */
async function progressOf(context, id) {
  try {
    return await context.get(`${PATH}/${id}/progress`);
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return null;
    throw error;
  }
}

/** Return a context that ends with a signal, or with the view. */
function until(context, end) {
  const signal = AbortSignal.any([context.signal, end]);
  return { ...context, signal, onLeave: (leave) => signal.addEventListener("abort", leave, { once: true }) };
}

function columns(open) {
  const muted = (text) => h("span", { class: "muted" }, text);
  const address = (each) => h("button", { type: "button", class: "link", title: each.url, onclick: () => open(each.id) }, each.url);
  const known = (get) => (each) => (each.progress ? get(each.progress) : muted("…"));
  const number = (value) => (value === 0 ? muted("–") : count(value));
  const behind = known(({ log_end: end, position }) => number(Math.max(0, end - position)));
  const time = (name) => known((progress) => (progress[name] ? when(progress[name], { short: true }) : muted("–")));
  const note = (each) => reasonText(each) ?? (each.progress?.failed_since ? "failing" : "");
  return [
    { title: "Address", width: "minmax(0, 2fr)", from: 640, cell: address },
    { title: "Address", width: "minmax(0, 2fr)", upto: 640, cell: (each) => h("span", { class: "lines" }, h("span", {}, address(each)), muted(sendsText(each))) },
    { title: "Sends", width: "minmax(0, 1fr)", from: 640, cell: (each) => h("span", { title: each.topics.join(", ") || null }, sendsText(each)) },
    { title: "Status", width: "minmax(0, 1.2fr)", from: 640, cell: (each) => [status(each), note(each) && muted(` · ${note(each)}`)] },
    { title: "Status", width: "minmax(5.5rem, 1fr)", upto: 640, cell: (each) => h("span", { class: "lines" }, status(each), muted(note(each))) },
    { title: "Behind", width: "minmax(3.5rem, .5fr)", end: true, cell: behind },
    { title: "Pending", width: "minmax(3.5rem, .5fr)", end: true, from: 720, cell: known(({ pending }) => number(pending)) },
    { title: "Position", width: "minmax(4rem, .5fr)", end: true, from: 800, cell: known(({ position }) => count(position)) },
    { title: "Failing since", width: "9rem", from: 960, cell: time("failed_since") },
    { title: "Next attempt", width: "9rem", from: 1100, cell: time("next_attempt_at") },
  ];
}

function status(each) {
  if (each.status === "disabled") return badge("disabled", each.status_reason === "requested" ? "plain" : "bad");
  return badge("enabled", each.progress?.failed_since ? "warn" : "good");
}
