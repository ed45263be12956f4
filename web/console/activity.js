// How often money moves: a bar for each of 60 minutes, from the status of the ledger and, until the next one, the feed.

import { fill, h, svg } from "./dom.js";
import { clockText, count } from "./format.js";

const MINUTES = 60;
const MINUTE = 60_000; // milliseconds
const WIDTH = 6; // of a bar with its gap, in units of the drawing
const HEIGHT = 56;
const MOVING = new Set(["MoneyTransferred", "JournalEntryPosted", "HoldCaptured"]);

/** Return whether an event moves money. */
export function movesMoney(event) {
  return MOVING.has(event.topic);
}

/** Return the minutes before a time from transactions, newest first. Those before the last one are unknown unless all are there. */
export function minutesOf(transactions, until, isAll) {
  const since = Math.floor(new Date(until) / MINUTE) * MINUTE - (MINUTES - 1) * MINUTE;
  const counts = Array(MINUTES).fill(0);
  for (const each of transactions) {
    const index = Math.floor((new Date(each.created_at) - since) / MINUTE);
    if (index >= 0 && index < MINUTES) counts[index] += 1;
  }
  const oldest = transactions.at(-1);
  if (isAll || !oldest) return { since, counts };
  const complete = Math.floor((new Date(oldest.created_at) - since) / MINUTE) + 1;
  return { since, counts: counts.map((each, index) => (index < complete ? null : each)) };
}

/** Return a chart with `set(activity, position)`, what was counted up to a position, and `add(event)`. */
export function activityChart({ unit = "this minute" } = {}) {
  let since = 0;
  let counts = Array(MINUTES).fill(0);
  let position = 0;
  let recent = []; // events after that position
  let frame = 0;
  const bars = counts.map((_, index) => svg("rect", { x: index * WIDTH, width: WIDTH - 2, rx: 1 }));
  const drawing = svg("svg", { viewBox: `0 0 ${MINUTES * WIDTH - 2} ${HEIGHT}`, preserveAspectRatio: "none", class: "minutes", role: "img" }, bars);
  const figure = h("p", { class: "figure" });
  const from = h("span", {});
  const most = h("span", {});
  const details = h("details", { class: "as-table" }, h("summary", {}, "The minutes as a table"));
  details.addEventListener("toggle", () => drawTable());
  const element = h("div", { class: "activity" }, figure, drawing, h("p", { class: "x-ends muted", "aria-hidden": "true" }, from, most, h("span", {}, unit)), details);

  function draw() {
    frame = 0;
    const present = counts[MINUTES - 1] ?? 0;
    const sum = counts.reduce((all, each) => all + (each ?? 0), 0);
    const highest = Math.max(1, ...counts.map((each) => each ?? 0));
    const isAll = !counts.includes(null);
    fill(figure, count(present), h("span", { class: "figure-note" }, ` ${unit}, ${isAll ? "" : "over "}${count(sum)} in the hour`));
    for (const [index, bar] of bars.entries()) {
      const height = counts[index] === null ? HEIGHT : Math.max(counts[index] > 0 ? 2 : 1, (counts[index] / highest) * HEIGHT);
      bar.setAttribute("y", HEIGHT - height);
      bar.setAttribute("height", height);
      bar.setAttribute("class", counts[index] === null ? "unknown" : counts[index] === 0 ? "none" : index === MINUTES - 1 ? "present" : "");
    }
    drawing.setAttribute("aria-label", `Transfers in each of 60 minutes: ${count(sum)} in all, ${count(highest)} in the busiest, ${count(present)} in the last`);
    fill(from, clockText(since).slice(0, 5));
    fill(most, `at most ${count(highest)}/min`);
    if (details.open) drawTable();
  }

  function drawTable() {
    const shown = counts.map((each, index) => [since + index * MINUTE, each]).reverse();
    const rows = shown.filter(([, each]) => each !== 0).map(([time, each]) => h("tr", {}, h("td", {}, clockText(time).slice(0, 5)), h("td", { class: "end" }, each === null ? "not counted" : count(each))));
    const table = h("table", {}, h("caption", { class: "unseen" }, "Transfers by minute; minutes without any are left out"),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Minute"), h("th", { scope: "col" }, "Transfers"))), h("tbody", {}, rows));
    details.querySelector(".scroll")?.remove();
    if (details.open) details.append(h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Transfers by minute" }, table));
  }

  function take({ recorded_at: time }) {
    const index = Math.floor((new Date(time) - since) / MINUTE);
    for (let shift = index - MINUTES + 1; shift > 0; shift -= 1) {
      counts = [...counts.slice(1), 0];
      since += MINUTE;
    }
    const place = Math.min(index, MINUTES - 1);
    if (place >= 0 && counts[place] !== null) counts[place] += 1;
  }

  return {
    element,
    set(activity, upto) {
      since = new Date(activity.since).getTime();
      counts = [...activity.per_minute];
      position = upto;
      recent = recent.filter((event) => event.position > position);
      recent.forEach(take);
      draw();
    },
    add(event) {
      if (event.position <= position) return;
      recent.push(event);
      take(event);
      frame ||= requestAnimationFrame(draw);
    },
  };
}
