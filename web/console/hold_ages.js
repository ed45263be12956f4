// Pending holds, read as of the point in time that is shown, and sorted into ages.

import { h } from "./dom.js";
import { count } from "./format.js";

const PAGE = 1000;
const MOST = 5000; // holds that are read at once

const HOUR = 3600;
const DAY = 24 * HOUR;

/** The ages of pending holds, each with its bounds in seconds. They are those of the ledger's status. */
export const AGES = [
  { key: "hour", text: "under 1 hour", from: 0, below: HOUR },
  { key: "day", text: "1 to 24 hours", from: HOUR, below: DAY },
  { key: "week", text: "1 to 7 days", from: DAY, below: 7 * DAY },
  { key: "month", text: "7 to 30 days", from: 7 * DAY, below: 30 * DAY },
  { key: "older", text: "over 30 days", from: 30 * DAY, below: Infinity },
];

/** Return the milliseconds of the point in time that a view shows. */
export function timeOf(context) {
  return context.at?.time ? new Date(context.at.time).getTime() : Date.now();
}

/**
 * Return the pending holds, those that expire first before all others, and whether these are all. For those who may
 * read the log, the ones that have expired without a record of it are among them.
 */
export async function readHolds(context) {
  const found = [];
  const first = await context.page("/v1/transactions", { query: { kind: "hold", status: "pending", limit: PAGE }, at: true });
  found.push(...first.items);
  let { next } = first;
  while (next && found.length < MOST) {
    const page = await context.page(next);
    found.push(...page.items);
    ({ next } = page);
  }
  if (context.isNow && context.can("admin", "auditor")) {
    const known = new Set(found.map((hold) => hold.id));
    found.push(...(await readOverdue(context)).filter((hold) => !known.has(hold.id)));
  }
  found.sort((one, other) => (one.expires_at < other.expires_at ? -1 : 1));
  return { holds: found, isAll: next === null };
}

/** Return the holds that have expired, although the log has them as pending: only reads of the log's end show that. */
async function readOverdue(context) {
  const { position, holds } = await context.get("/v1/ledger/status");
  if (holds.overdue === 0) return [];
  const query = { kind: "hold", status: "pending", limit: PAGE, at_position: position };
  const { items } = await context.page("/v1/transactions", { query });
  return items.filter((hold) => isOverdue(hold, Date.now()));
}

/** Return whether a hold has expired at a time, although that is not recorded. */
export function isOverdue(hold, time) {
  return new Date(hold.expires_at) <= time;
}

/** Return the number of holds that are not overdue in each age, and how many are overdue. */
export function ageCounts(holds, time) {
  const counts = AGES.map(() => 0);
  let overdue = 0;
  for (const hold of holds) {
    if (isOverdue(hold, time)) overdue += 1;
    else counts[ageOf(hold, time)] += 1;
  }
  return { counts, overdue };
}

/** Return the index of a hold's age. */
export function ageOf(hold, time) {
  const seconds = Math.max(0, (time - new Date(hold.created_at)) / 1000);
  return AGES.findIndex((age) => seconds < age.below);
}

/** Return a bar for each age; `href(age)` leads to its holds. */
export function ageBars(counts, href = null) {
  const highest = Math.max(1, ...counts);
  return h("ul", { class: "age-bars" }, AGES.map((age, index) => {
    const cells = [h("span", { class: "age-name" }, age.text), h("span", { class: "age-track", "aria-hidden": "true" }, h("span", { class: "age-bar", style: { "--part": `${(100 * counts[index]) / highest}%` } })), h("span", { class: "age-count" }, count(counts[index]))];
    return h("li", {}, href ? h("a", href(age), cells) : h("span", {}, cells));
  }));
}
