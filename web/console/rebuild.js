// A projection: its state, and its rebuild from the log with progress, differences and swap.

import { changeButton } from "./dialog.js";
import { facts, h } from "./dom.js";
import { count, words } from "./format.js";
import { operationBadge, origin, progress, seconds, valueText } from "./progress.js";

const MOST_SHOWN = 20; // rows that differ

/** Return the details of a projection or follower; `watched` has the list, and `close` is called to leave it. */
export function projectionDetails(context, watched, name, close) {
  const find = (list) => list.find((each) => each.name === name);
  const again = () => watched.again();
  return h("section", { class: "details", "aria-label": name },
    h("header", { class: "card-head" }, h("h3", {}, name), h("button", { type: "button", class: "plain close", "aria-label": `Close ${name}`, onclick: close }, "✕")),
    watched.region(numbers, { part: find }),
    watched.region((rebuild) => outcome(rebuild), { part: (list) => find(list)?.rebuild ?? null, lines: 0 }),
    watched.region(([kind, state]) => (kind === "projection" ? h("div", { class: "actions start" }, buttons(context, name, state, again)) : null), { part: (list) => [find(list)?.kind, find(list)?.rebuild?.state], lines: 0 }));
}

function numbers(each) {
  if (!each) return h("p", { class: "muted" }, "There is no such projection.");
  return [
    facts([
      ["Tables", each.tables.join(", ")],
      each.rows !== null && ["Rows, about", count(each.rows)],
      ["Position", count(each.position)],
      ["Behind", each.lag_events === 0 ? "nothing" : `${count(each.lag_events)} ${each.lag_events === 1 ? "event" : "events"}, ${seconds(each.lag_seconds)}`],
      ["Rate", rate(each.per_second)],
    ]),
    each.last_error && h("p", { class: "problem" }, each.last_error),
    each.error_position !== undefined && h("p", { class: "muted" }, `at position ${count(each.error_position)}, ${each.error_topic ?? ""}`),
  ];
}

/** Return a rate of events as text. */
export function rate(perSecond) {
  if (perSecond === null || perSecond === undefined) return "–";
  return `${perSecond < 10 ? perSecond.toFixed(1) : count(Math.round(perSecond))}/s`;
}

const ABOUT = "A rebuild replays the log into new tables beside the live ones, and compares them row by row. Nothing is replaced before you swap them.";

function outcome(rebuild) {
  if (!rebuild) return h("p", { class: "muted" }, ABOUT);
  if (rebuild.state === "running") return [progress(rebuild, `Rebuild of ${rebuild.projection}`), origin(rebuild)];
  return [
    h("p", { class: "verdict", role: "status" }, rebuild.swapped ? h("span", { class: "good" }, "✓ Tables swapped") : rebuild.differing === undefined ? operationBadge(rebuild) : difference(rebuild)),
    rebuild.swapped && rebuild.differing > 0 && h("p", { class: "muted" }, `${rows(rebuild.differing)} differed, and ${rebuild.differing === 1 ? "is" : "are"} right now.`),
    rebuild.error && h("p", { class: "problem" }, rebuild.error),
    rebuild.notes.map((note) => h("p", { class: "warn" }, note)),
    origin(rebuild),
    rebuild.differences.length > 0 && differences(rebuild),
  ];
}

function difference({ differing, state }) {
  if (differing > 0) return h("span", { class: "bad" }, `✗ ${rows(differing)} ${differing === 1 ? "differs" : "differ"}`);
  return h("span", { class: "good" }, state === "compared" ? "✓ No row differs" : `✓ No row differed, ${words(state)}`);
}

function rows(number) {
  return `${count(number)} ${number === 1 ? "row" : "rows"}`;
}

function differences({ differences: all, differing }) {
  return h("div", { class: "scroll differences", tabindex: "0", role: "region", "aria-label": "Rows that differ" },
    all.slice(0, MOST_SHOWN).map((each) => h("div", { class: "row-difference" },
      h("p", {}, each.table, " ", h("code", {}, each.key.join(" "))),
      each.found && each.expected ? changed(each) : h("p", { class: "bad" }, each.found ? "The log does not have this row." : "The live table lacks this row."))),
    differing > MOST_SHOWN && h("p", { class: "muted" }, `and ${rows(differing - MOST_SHOWN)} more`));
}

function changed({ found, expected }) {
  const names = [...new Set([...Object.keys(found), ...Object.keys(expected)])].filter((name) => JSON.stringify(found[name]) !== JSON.stringify(expected[name]));
  return h("table", {},
    h("thead", {}, h("tr", {}, ["Column", "Live", "From the log"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, names.map((name) => h("tr", {}, h("td", {}, name), h("td", { class: "bad" }, h("code", {}, valueText(found[name]))), h("td", {}, h("code", {}, valueText(expected[name])))))));
}

function buttons(context, name, state, done) {
  const path = `/v1/projections/${name}/rebuild`;
  const both = { roles: ["admin"], done };
  const discard = changeButton(context, "Discard", { ...both, title: `Discard the new tables of ${name}?`, text: "The live tables stay as they are.", request: { path: `${path}/cancel` } });
  if (state === "running") return changeButton(context, "Cancel", { ...both, title: `Cancel the rebuild of ${name}?`, text: "The live tables stay as they are.", verb: "Cancel it", request: { path: `${path}/cancel` } });
  if (state === "compared") {
    return [changeButton(context, "Swap tables", { ...both, isPrimary: true, title: `Swap the tables of ${name}?`, text: "The new tables catch up with the log, and replace the live ones at once. Requests wait for a moment.", request: { path: `${path}/swap` } }), discard];
  }
  const isUnfinished = state === "interrupted" || state === "failed";
  const label = isUnfinished ? "Resume" : "Rebuild and compare";
  return [
    changeButton(context, label, { ...both, title: `${isUnfinished ? "Resume the rebuild of" : "Rebuild"} ${name}?`, text: ABOUT, verb: isUnfinished ? "Resume" : "Rebuild", request: { path } }),
    isUnfinished && discard,
  ];
}
