// How far a rebuild or a verification has got, and how it ended.

import { h } from "./dom.js";
import { badge, count, when, words } from "./format.js";
import { actorLink } from "./names.js";

const KINDS = { running: "warn", compared: "good", succeeded: "good", failed: "bad", interrupted: "warn", cancelled: "plain" };

/** Return the state of an operation as a badge. */
export function operationBadge(operation) {
  return badge(operation.state, KINDS[operation.state] ?? "plain");
}

/** Return the progress of an operation that runs. */
export function progress(operation, label) {
  const isKnown = operation.total > 0;
  const part = isKnown ? Math.min(1, operation.done / operation.total) : 0;
  const rate = operation.seconds > 0 ? Math.round(operation.done / operation.seconds) : 0;
  return h("div", { class: "progress" },
    h("p", { class: "progress-text" }, h("strong", {}, words(operation.stage)), isKnown && h("span", {}, `${count(operation.done)} of ${count(operation.total)}`),
      h("span", { class: "muted" }, [`${seconds(operation.seconds)}`, rate > 0 && `${count(rate)} events/s`].filter(Boolean).join(" · "))),
    h("progress", { "aria-label": label, ...(isKnown ? { max: "1", value: String(part) } : {}) }));
}

/** Return who started an operation, when, and how long it took. */
export function origin(operation) {
  return h("p", { class: "muted" }, "Started by ", actorLink(operation.started_by), " at ", when(operation.started_at, { short: true }), operation.state === "running" ? "" : `, took ${seconds(operation.seconds)}`);
}

/** Return a duration as a person reads it. */
export function seconds(number) {
  if (number < 60) return `${number < 10 ? number.toFixed(1) : Math.round(number)} s`;
  if (number < 3600) return `${Math.floor(number / 60)} min ${Math.round(number % 60)} s`;
  return `${Math.floor(number / 3600)} h ${Math.floor((number % 3600) / 60)} min`;
}

/** Return a value of a row or an event as text. */
export function valueText(value) {
  if (value === null || value === undefined) return "nothing";
  return typeof value === "string" ? value : JSON.stringify(value);
}
