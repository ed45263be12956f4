// Operations: how the service runs, whether its tables follow from the log, and what waits to be done.

import { get, known } from "../api.js";
import { card, fill, h, state } from "../dom.js";
import { amount, badge, count, money, shortId, timeText, when } from "../format.js";
import { readMetrics } from "../metrics.js";
import { accountLink } from "../names.js";
import { operationBadge, seconds } from "../progress.js";
import { projectionDetails, rate } from "../rebuild.js";
import { keep } from "../router.js";
import { fromArray, table } from "../table.js";
import { bars, line } from "../trend.js";
import { verification } from "../verification.js";
import { watch } from "../watch.js";
import { webhooks } from "../webhooks.js";

export const title = "Operations";

const FAST_MILLISECONDS = 1000; // while a rebuild runs
const SLOW_MILLISECONDS = 5000;
const SPAN_MILLISECONDS = 600_000; // of the charts
const FEW = 8; // rows of a short list

/** Show the service as it runs now: it has no past. */
export async function show(context) {
  return h("div", {},
    h("header", { class: "view-head" }, h("h1", {}, title), h("p", { class: "muted" }, context.isNow ? "the service as it runs now" : "always as of now: a service keeps no past")),
    service(context),
    verification(context),
    projections(context),
    webhooks(context),
    h("div", { class: "short-lists" }, periods(context), context.can("admin") && monitors(context), schedules(context)));
}

function service(context) {
  const read = async () => {
    const [samples, { activity }] = await Promise.all([readMetrics(context.signal), context.get("/v1/ledger/status")]);
    return { samples, activity };
  };
  const watched = watch(context, "service", { read, every: (body) => (body?.samples.length > 1 ? SLOW_MILLISECONDS : FAST_MILLISECONDS) });
  const charts = TRENDS.map((each) => watched.region((samples) => trend(each, samples), { part: ({ samples }) => samples.map((sample) => [sample.time, sample[each.name]]), lines: 2 }));
  return card("Service", [
    h("div", { class: "tiles trends" }, watched.region(activity, { part: (body) => body.activity, lines: 2 }), charts),
    watched.region(about, { part: ({ samples }) => samples.at(-1), lines: 0 }),
    watched.stale]);
}

function about({ version, workers, used, connections, waiting, late, refusals }) {
  const parts = [`version ${version}`, `${count(workers)} ${workers === 1 ? "worker" : "workers"}`, `${used} of ${connections} connections used`, `${count(waiting)} commands in flight`, `event loop ${milliseconds(late)} late`, refusals !== null && `${decimal(refusals * 60)} refusals/min`];
  return h("p", { class: "muted under" }, parts.filter(Boolean).join(" · "));
}

function activity({ per_minute: minutes }) {
  const counted = minutes.filter((each) => each !== null);
  const label = `Transactions in each of the last 60 minutes: ${minutes.at(-1) ?? 0} in this one, at most ${Math.max(0, ...counted)}, ${counted.reduce((sum, each) => sum + each, 0)} together`;
  return tile("Transactions per minute", count(minutes.at(-1) ?? 0), bars(minutes, label));
}

const decimal = (number) => (number < 10 ? number.toFixed(1) : count(Math.round(number)));
const milliseconds = (number) => (number < 1 ? `${number < 0.01 ? (number * 1000).toFixed(1) : Math.round(number * 1000)} ms` : seconds(number));

const TRENDS = [
  { name: "requests", text: "Requests per second", show: decimal, top: 1 },
  { name: "response", text: "Response time, 95 %", show: milliseconds },
  { name: "commit", text: "Commit time, 95 %", show: milliseconds },
  { name: "cpu", text: "CPU, of one core", show: (part) => `${Math.round(part * 100)} %`, top: 0.1 },
  { name: "memory", text: "Memory", show: (bytes) => `${Math.round(bytes / 1_048_576)} MiB` },
];

function trend({ text, show: format, top = 0 }, samples) {
  const points = samples.filter(([time]) => time > Date.now() - SPAN_MILLISECONDS);
  const values = points.map(([, value]) => value).filter((value) => value !== null);
  const last = values.length > 0 ? format(values.at(-1)) : "–";
  const label = values.length > 0 ? `${text}: ${last}, between ${format(Math.min(...values))} and ${format(Math.max(...values))} since ${timeText(points[0][0])}` : `${text}: not known yet`;
  return tile(text, last, line(points, label, { span: SPAN_MILLISECONDS, top }));
}

function tile(name, figure, chart) {
  return h("div", { class: "tile" }, h("div", { class: "tile-head" }, h("span", { class: "muted" }, name)), h("p", { class: "figure" }, figure), chart);
}

function projections(context) {
  const watched = watch(context, "/v1/projections", { every: (list) => (list?.some((each) => each.rebuild?.state === "running") ? FAST_MILLISECONDS : SLOW_MILLISECONDS) });
  const details = h("div", { class: "details-place" });
  const open = (name) => {
    keep("projection", name);
    fill(details, name && projectionDetails(context, watched, name, () => { open(null); }));
    frame.classList.toggle("with-details", Boolean(name));
    if (name) details.scrollIntoView({ block: "nearest" });
    else frame.querySelector(".grid")?.focus();
  };
  const lists = ["projection", "follower"].map((kind) => listOf(watched, kind, open));
  const frame = h("div", { class: "with-side" }, h("div", { class: "side-main" }, lists), details);
  const given = context.query.get("projection");
  if (given) { fill(details, projectionDetails(context, watched, given, () => { open(null); })); frame.classList.add("with-details"); }
  return card("Projections and followers", [frame, watched.stale]);
}

/** Return the table of one kind. It stays while its rows change, so that the reader's place is kept. */
function listOf(watched, kind, open) {
  let grid = null;
  return watched.region((items) => {
    if (grid) grid.update(items);
    else {
      grid = table({ label: kind === "projection" ? "Projections" : "Followers", columns: columns(kind, open), source: fromArray(items), onOpen: (each) => open(each.name) });
      grid.classList.add("short");
    }
    return grid;
  }, { part: (list) => list.filter((each) => each.kind === kind), lines: 6 });
}

const STATES = { inline: "good", following: "good", rebuilding: "warn", "kept old": "warn", failing: "bad", stopped: "bad", "not running": "bad" };

function columns(kind, open) {
  const muted = (text) => h("span", { class: "muted" }, text);
  const behind = (each) => (each.lag_events === 0 ? muted("–") : h("span", {}, count(each.lag_events), muted(` · ${seconds(each.lag_seconds)}`)));
  return [
    { title: kind === "projection" ? "Projection" : "Follower", width: "minmax(0, 1.4fr)", cell: (each) => h("button", { type: "button", class: "link", onclick: () => open(each.name) }, each.name) },
    { title: "State", width: "minmax(5.5rem, 1fr)", cell: (each) => (each.rebuild?.state === "running" ? badge("rebuilding", "warn") : badge(each.state, STATES[each.state] ?? "plain")) },
    ...(kind === "projection" ? [{ title: "Rows, about", width: "minmax(5rem, .8fr)", end: true, cell: (each) => count(each.rows) }] : []),
    { title: "Behind", width: "minmax(4rem, 1fr)", end: true, from: kind === "projection" ? 440 : 0, cell: behind },
    { title: "Position", width: "minmax(4rem, .8fr)", end: true, from: 640, cell: (each) => count(each.position) },
    { title: "Rate", width: "minmax(4rem, .8fr)", end: true, from: 540, cell: (each) => rate(each.per_second) },
    kind === "projection"
      ? { title: "Last rebuild", width: "minmax(6rem, 1fr)", from: 760, cell: (each) => (each.rebuild ? operationBadge(each.rebuild) : muted("–")) }
      : { title: "Error", width: "minmax(6rem, 1fr)", from: 760, cell: (each) => (each.last_error ? h("span", { class: "bad", title: each.last_error }, each.last_error) : muted("–")) },
  ];
}

function list(items, row, empty) {
  if (items.length === 0) return h("p", { class: "muted" }, empty);
  return h("ul", { class: "plain-list" }, items.slice(0, FEW).map((item) => h("li", {}, row(item))), items.length > FEW && h("li", { class: "muted" }, "and more"));
}

function periods(context) {
  return card("Periods", context.panel("/v1/periods", { query: { limit: FEW + 1 }, live: (event) => event.topic.startsWith("Period") }, (closed) => {
    const next = closed.length > 0 ? new Date(new Date(closed[0].through).getTime() + 86_400_000).toISOString().slice(0, 10) : null;
    return [
      h("p", {}, badge("open", "good"), h("span", { class: "muted" }, next ? ` since ${next}` : " since the beginning")),
      list(closed, (each) => [badge("closed"), ` through ${each.through}`, h("span", { class: "muted end" }, when(each.closed_at, { short: true }))], "No period has been closed."),
    ];
  }));
}

function monitors(context) {
  return card("Monitors", context.panel("/v1/monitors", { query: { limit: FEW + 1 }, live: (event) => event.topic.startsWith("Monitor") }, (found) => list(found, monitor, "No balance is watched.")));
}

function monitor(each) {
  const limit = h("span", {}, `${each.condition === "available_cents" ? "available" : "balance"} ${each.operator} `, each.currency ? money(each.amount_cents, each.currency) : limitOf(each));
  const what = each.account_id ? accountLink(each.account_id) : h("span", {}, `${each.code_prefix} and below`);
  return [badge(each.triggered ? "triggered" : "quiet", each.triggered ? "warn" : "good"), h("span", {}, what), h("span", { class: "muted end" }, limit)];
}

/** Return the limit of a monitor of an account, as soon as the account's currency is known. */
function limitOf({ account_id: id, amount_cents: cents }) {
  const path = `/v1/accounts/${id}`;
  const place = h("span", { class: "money" }, known(path) ? amount(cents, known(path).currency) : "…");
  get(path).then((account) => fill(place, money(cents, account.currency))).catch(() => fill(place, `${cents} in minor units`));
  return place;
}

function schedules(context) {
  return card("Scheduled", context.panel("/v1/transactions", { query: { status: "scheduled", limit: 100 }, live: (event) => /Schedul/.test(event.topic) }, (found) => {
    const next = [...found].sort((one, other) => (one.execute_at < other.execute_at ? -1 : 1));
    return list(next, (each) => [h("a", { href: context.link(`/transactions/${each.id}`), class: "name", title: each.id }, each.description ?? each.reference ?? shortId(each.id)), h("span", { class: "muted" }, when(each.execute_at, { short: true })), each.currency && h("span", { class: "end" }, money(each.amount_cents, each.currency))], "Nothing is scheduled.");
  }));
}
