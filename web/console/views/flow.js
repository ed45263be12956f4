// What moved between groups of accounts, or single accounts, in a period: a picture and a table.

import { card, fill, h, state } from "../dom.js";
import { amount, count, timeText } from "../format.js";
import { timeOf } from "../hold_ages.js";
import { accountLink } from "../names.js";
import { sankey } from "../sankey.js";
import { fromArray, table } from "../table.js";

export const title = "Flow";

const MOST = 30; // flows in the picture
const MINUTE = 60_000; // milliseconds
const DAY = 24 * 60 * MINUTE;
const PERIODS = [["hour", "Last hour", 60 * MINUTE], ["day", "Last 24 hours", DAY], ["week", "Last 7 days", 7 * DAY], ["month", "Last 30 days", 30 * DAY], ["all", "All time", null], ["dates", "Dates", null]];
const SIDES = [["1", "Groups"], ["2", "Groups, 2 levels"], ["3", "Groups, 3 levels"], ["account", "Accounts"]];
const KINDS = { uncoded: "without a code", world: "the ledger's own", outside: "outside" };

/** Show the flows. Without a currency, it is the one in which money moved most often. */
export async function show(context) {
  const given = choicesOf(context);
  const query = { ...periodOf(context, given), ...sidesOf(given), prefix: given.prefix, most: MOST };
  const currencies = h("select", { name: "currency", "aria-label": "Currency" });
  offer(currencies, [], given.currency);
  const panel = context.panel("/v1/ledger/flows", { query: { ...query, currency: given.currency }, at: true, live: true, lines: 8 }, (body, { isFirst }) => {
    if (isFirst && !given.currency) offer(currencies, currenciesOf(body), null);
    return flowsOf(context, body, given);
  });
  if (given.currency) void context.get("/v1/ledger/flows", { query: { ...query, most: 1 }, at: true }).then((body) => offer(currencies, currenciesOf(body), given.currency), () => {});
  return h("div", { class: "flows" },
    h("header", { class: "view-head" }, h("h1", {}, title), path(context, given), filters(context, given, currencies)),
    panel);
}

function choicesOf(context) {
  const of = (name, choices, other) => (choices.some(([key]) => key === context.query.get(name)) ? context.query.get(name) : other);
  return { period: of("period", PERIODS, "month"), sides: of("sides", SIDES, "1"), currency: context.query.get("currency") || null, prefix: context.query.get("prefix") || null, from: context.query.get("from") || null, to: context.query.get("to") || null, world: context.query.get("world") === "off" ? "off" : null };
}

/** Return the period's start and end. It ends at the point in time that is shown. */
function periodOf(context, { period, from, to }) {
  if (period === "dates") return { from, to };
  const [, , length] = PERIODS.find(([key]) => key === period);
  return length === null ? {} : { from: new Date(Math.floor((timeOf(context) - length) / MINUTE) * MINUTE).toISOString() };
}

function sidesOf({ sides }) {
  return sides === "account" ? { by: "account" } : { depth: sides };
}

/** Return the query of this view's address with other choices. */
function address(given, changes = {}) {
  const all = { ...given, ...changes };
  if (all.period !== "dates") { all.from = null; all.to = null; }
  if (all.world === "on") all.world = null;
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value));
}

/** Return the way from all groups down to the prefix. */
function path(context, given) {
  if (!given.prefix) return null;
  const parts = given.prefix.split(":");
  const link = (text, prefix) => h("a", { href: context.link("/flow", address(given, { prefix })) }, text);
  return h("nav", { class: "prefix", "aria-label": "Prefix" }, link("All", null), parts.map((part, index) => [h("span", { class: "muted", "aria-hidden": "true" }, "›"), index === parts.length - 1 ? h("strong", {}, part) : link(part, parts.slice(0, index + 1).join(":"))]));
}

function filters(context, given, currencies) {
  const change = (event) => {
    event.preventDefault();
    const typed = Object.fromEntries(new FormData(form));
    context.navigate("/flow", { query: address({ ...given, world: given.sides === "account" ? given.world : "off", ...typed }) });
  };
  const select = (name, text, choices) => h("select", { name, "aria-label": text }, choices.map(([key, shown]) => h("option", { value: key, selected: given[name] === key }, shown)));
  const date = (name, text) => h("label", { class: "date" }, text, h("input", { type: "date", name, value: given[name] ?? "" }));
  const form = h("form", { class: "filters", "aria-label": "Flows", onchange: change, onsubmit: change },
    currencies, select("sides", "Sides", SIDES), select("period", "Period", PERIODS), given.period === "dates" && [date("from", "from"), date("to", "to")],
    given.sides !== "account" && h("label", { class: "check-box" }, h("input", { type: "checkbox", name: "world", checked: given.world !== "off" }), "The ledger's own"));
  return form;
}

/** Offer currencies to choose from, and the one that is chosen. */
function offer(select, found, chosen) {
  const names = [...new Set([...found, ...(chosen ? [chosen] : [])])].sort();
  fill(select, h("option", { value: "", selected: !chosen }, "Most used"), names.map((name) => h("option", { value: name, selected: name === chosen }, name)));
}

/** Return the currencies of flows, the one in which money moved most often first. */
function currenciesOf({ flows, others }) {
  const moved = new Map();
  for (const { currency, movements } of [...flows, ...others]) moved.set(currency, (moved.get(currency) ?? 0) + movements);
  return [...moved.keys()].sort((one, other) => moved.get(other) - moved.get(one));
}

function flowsOf(context, body, given) {
  const [currency] = given.currency ? [given.currency] : currenciesOf(body);
  const flows = body.flows.filter((flow) => flow.currency === currency && (given.world !== "off" || ![flow.source.kind, flow.destination.kind].includes("world")));
  if (flows.length === 0) return nothing(context, given);
  const rest = body.others.find((other) => other.currency === currency);
  const sum = flows.reduce((all, flow) => all + BigInt(flow.amount_cents_text), BigInt(rest?.amount_cents_text ?? 0));
  const movements = flows.reduce((all, flow) => all + flow.movements, rest?.movements ?? 0);
  return [
    h("div", { class: "figures" },
      figure(`Moved, ${currency}`, amount(sum, currency)), figure("Movements", count(movements)), figure("Flows", count(flows.length + (rest?.flows ?? 0)))),
    h("p", { class: "muted period" }, periodText(context, given)),
    picture(context, flows, currency, given),
    rest && h("p", { class: "muted" }, `The ${count(flows.length)} largest flows are shown. ${count(rest.flows)} more moved ${amount(rest.amount_cents_text, currency)} ${currency}.`),
    card("The flows as a table", flowTable(context, flows, given))];
}

const figure = (name, text) => h("div", {}, h("p", { class: "muted" }, name), h("p", { class: "figure" }, text));

function periodText(context, given) {
  const end = context.at ? timeText(timeOf(context)) : "now";
  if (given.period === "all") return `From the beginning to ${end}`;
  if (given.period === "dates") return `From ${given.from ?? "the beginning"} to ${given.to ?? end}`;
  return `From ${timeText(periodOf(context, given).from)} to ${end}`;
}

function nothing(context, given) {
  const all = { ...given, period: "all" };
  const action = given.period === "all" ? null : h("a", { href: context.link("/flow", address(all)) }, "Show all time");
  return state("empty", "Nothing moved", `No money moved between these groups${given.period === "all" ? "" : ", in this period"}.`, action);
}

const keyOf = (node) => node.account_id ?? (node.code === undefined ? `(${node.kind})` : node.code);

function picture(context, flows, currency, given) {
  const nodes = new Map(flows.flatMap((flow) => [flow.source, flow.destination]).map((node) => [keyOf(node), node]));
  const exact = { from: sums(flows, "source"), to: sums(flows, "destination") };
  return sankey(flows.map((flow) => ({ source: keyOf(flow.source), destination: keyOf(flow.destination), value: Number(flow.amount_cents_text), flow })), {
    labelOf: (key, _, side) => [h("span", { class: "node-name" }, nodeName(context, nodes.get(key), given, true)), h("span", { class: "muted node-sum" }, amount(exact[side].get(key), currency))],
    isOurs: (key) => ["group", "account"].includes(nodes.get(key).kind),
    titleOf: ({ flow }) => `${keyOf(flow.source)} → ${keyOf(flow.destination)}: ${amount(flow.amount_cents_text, currency)} ${currency}, ${count(flow.movements)} movements`,
  });
}

function sums(flows, side) {
  const found = new Map();
  for (const flow of flows) found.set(keyOf(flow[side]), (found.get(keyOf(flow[side])) ?? 0n) + BigInt(flow.amount_cents_text));
  return found;
}

/** Return a node's name: an account leads to its view, a group to the flows below it. */
function nodeName(context, node, given, isShort = false) {
  if (node.account_id !== undefined) return accountLink(node.account_id);
  if (node.code === undefined) return h("span", { class: "muted" }, KINDS[node.kind] ?? node.kind);
  if (node.code === given.prefix) return h("span", {}, node.code);
  const shown = isShort && given.prefix && node.code.startsWith(`${given.prefix}:`) ? node.code.slice(given.prefix.length + 1) : node.code;
  return h("a", { class: "name", href: context.link("/flow", address(given, { prefix: node.code })), title: `Flows of ${node.code}` }, shown);
}

function flowTable(context, flows, given) {
  const name = (node) => nodeName(context, node, given);
  const grid = table({ label: "Flows", source: fromArray(flows), columns: [
    { title: "From", from: 640, cell: (flow) => name(flow.source) },
    { title: "To", from: 640, cell: (flow) => name(flow.destination) },
    { title: "From, to", upto: 640, cell: (flow) => h("span", { class: "lines" }, h("span", {}, name(flow.source)), h("span", {}, "→ ", name(flow.destination))) },
    { title: "Movements", width: "7rem", end: true, from: 480, cell: (flow) => count(flow.movements) },
    { title: "Amount", width: "clamp(8rem, 20vw, 14rem)", end: true, cell: (flow) => [amount(flow.amount_cents_text, flow.currency), " ", h("span", { class: "unit" }, flow.currency)] },
  ] });
  grid.classList.add("short");
  return grid;
}
