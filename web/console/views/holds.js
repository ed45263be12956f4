// Pending holds: how old they are, which ones are overdue, and what they reserve, as of the point in time that is shown.

import { fill, h, loading, problemState, state } from "../dom.js";
import { amount, badge, count, money, when } from "../format.js";
import { AGES, ageBars, ageCounts, ageOf, isOverdue, readHolds, timeOf } from "../hold_ages.js";
import { accountLink, transactionLink } from "../names.js";
import { fromArray, table } from "../table.js";

export const title = "Holds";

const LIVE_MILLISECONDS = 400;
const AGING_MILLISECONDS = 10_000; // ages change without an event
const UNITS = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000], ["s", 1000]];

/** Show the holds. A choice of ages is part of the address. */
export async function show(context) {
  const chosen = context.query.get("age");
  const head = h("div", { class: "holds-head" }, loading());
  let all = { holds: [], isAll: true };
  let isRead = false;
  const grid = table({ label: title, columns: columns(context), source: fromArray([]), onOpen: (hold) => context.navigate(`/transactions/${hold.id}`), classOf: (hold) => (isOverdue(hold, timeOf(context)) ? "overdue" : ""), empty: () => isRead && state("empty", chosen ? "No pending hold is of this age" : "No hold is pending") });

  const draw = () => {
    const time = timeOf(context);
    fill(head, summary(context, all, time, chosen));
    grid.update(all.holds.filter((hold) => isChosen(hold, time, chosen)));
  };
  const read = async () => {
    try {
      all = await readHolds(context);
      isRead = true;
      draw();
    } catch (error) {
      if (error.name !== "AbortError") fill(head, problemState(error, read));
    }
  };
  head.classList.add("panel");
  head.ready = read();
  follow(context, read, draw);
  return h("div", { class: "full holds" },
    h("header", { class: "view-head" }, h("h1", {}, title), chosen && chip(context, chosen)),
    head, grid);
}

/** Read again after events about holds, and draw again as they get older. */
function follow(context, read, draw) {
  if (!context.isNow) return;
  let timer = 0;
  context.onEvent((event) => {
    if (timer || (event && !/Hold/.test(event.topic))) return;
    timer = setTimeout(async () => { await read(); timer = 0; }, LIVE_MILLISECONDS);
  });
  const aging = setInterval(draw, AGING_MILLISECONDS);
  context.onLeave(() => { clearTimeout(timer); clearInterval(aging); });
}

function isChosen(hold, time, chosen) {
  if (!chosen) return true;
  if (chosen === "overdue") return isOverdue(hold, time);
  return !isOverdue(hold, time) && AGES[ageOf(hold, time)].key === chosen;
}

function chip(context, chosen) {
  const text = chosen === "overdue" ? "overdue" : AGES.find((age) => age.key === chosen)?.text ?? chosen;
  return h("a", { class: "chip", href: context.link("/holds"), "aria-label": `Only ${text}. Show all` }, text, h("span", { "aria-hidden": "true" }, " ×"));
}

function summary(context, { holds, isAll }, time, chosen) {
  const { counts, overdue } = ageCounts(holds, time);
  const pending = holds.length - overdue;
  const href = (age) => ({ href: context.link("/holds", age.key === chosen ? {} : { age: age.key }), "aria-current": age.key === chosen ? "true" : null });
  return [
    h("div", { class: "tile" },
      h("p", { class: "muted" }, "Pending"), h("p", { class: "figure" }, count(pending), !isAll && h("span", { class: "figure-note" }, " or more")),
      h("a", { class: overdue > 0 ? "warn" : "muted", href: context.link("/holds", overdue > 0 ? { age: "overdue" } : {}) }, overdue > 0 ? `! ${count(overdue)} overdue` : "none overdue")),
    h("div", { class: "tile" }, h("p", { class: "muted" }, "Reserved"), reserved(holds)),
    h("div", { class: "tile ages" }, h("p", { class: "muted" }, "Pending by age"), ageBars(counts, href))];
}

/** Return the sum of what the holds still reserve, in each currency. */
function reserved(holds) {
  if (holds.length === 0) return h("p", { class: "figure" }, "0");
  const sums = new Map();
  for (const hold of holds) sums.set(hold.currency, (sums.get(hold.currency) ?? 0n) + restOf(hold));
  return h("ul", {}, [...sums].map(([currency, sum], index) => h("li", { class: index === 0 ? "figure" : null }, amount(sum, currency), " ", h("span", { class: index === 0 ? "figure-note" : "unit" }, currency))));
}

const restOf = (hold) => BigInt(hold.amount_cents) - BigInt(hold.captured_cents ?? 0);

/** Return a time from or to another one, in one unit. */
function span(milliseconds) {
  const size = Math.abs(milliseconds);
  const [unit, each] = UNITS.find(([, length]) => size >= length) ?? UNITS.at(-1);
  return `${count(Math.floor(size / each))} ${unit}`;
}

function expiry(context, hold) {
  const left = new Date(hold.expires_at) - timeOf(context);
  if (left <= 0) return h("span", { title: hold.expires_at }, badge(`overdue ${span(left)}`, "warn"));
  return h("time", { datetime: hold.expires_at, title: hold.expires_at }, `in ${span(left)}`);
}

function columns(context) {
  const width = "clamp(5rem, 18vw, 10rem)";
  const age = (hold) => span(timeOf(context) - new Date(hold.created_at));
  return [
    { title: "Expires", width: "clamp(5.5rem, 16vw, 9rem)", cell: (hold) => expiry(context, hold) },
    { title: "Placed", width, from: 800, cell: (hold) => when(hold.created_at, { short: true }) },
    { title: "Age", width: "5rem", from: 640, cell: age },
    { title: "From", from: 640, cell: (hold) => accountLink(hold.source_account_id) },
    { title: "To", from: 640, cell: (hold) => accountLink(hold.destination_account_id) },
    { title: "From, to", upto: 640, cell: (hold) => h("span", { class: "lines" }, h("span", {}, accountLink(hold.source_account_id)), h("span", {}, "→ ", accountLink(hold.destination_account_id))) },
    { title: "Reference", width: "minmax(4rem, 1fr)", from: 900, cell: (hold) => hold.reference ?? h("span", { class: "muted" }, "–") },
    { title: "Captured", width: "8rem", end: true, from: 1000, cell: (hold) => (hold.captured_cents ? amount(hold.captured_cents, hold.currency) : "") },
    { title: "Reserved", width: "clamp(6.5rem, 16vw, 10rem)", end: true, cell: (hold) => money(restOf(hold), hold.currency) },
    { title: "Id", width: "7rem", from: 1200, cell: (hold) => transactionLink(hold.id) },
  ];
}
