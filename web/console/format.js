// Amounts, times and ids as text. Amounts are integers in minor units, of any size.

import { copyable, h } from "./dom.js";

const MINUS = "\u2212";
const digitsOf = new Map();

/** Take the decimal places of each asset from `GET /v1/assets`. */
export function useAssets(assets) {
  for (const { code, digits } of assets) digitsOf.set(code, digits);
}

/** Return an amount with its asset's decimal places, grouped, with a real minus sign. */
export function amount(cents, currency) {
  const value = BigInt(cents);
  const digits = digitsIn(currency);
  const text = (value < 0n ? -value : value).toString().padStart(digits + 1, "0");
  const whole = text.slice(0, text.length - digits).replace(/\B(?=(\d{3})+$)/g, ",");
  return `${value < 0n ? MINUS : ""}${whole}${digits ? `.${text.slice(-digits)}` : ""}`;
}

/** Return the decimal places of an asset. */
export function digitsIn(currency) {
  return digitsOf.get(currency) ?? 2;
}

/**
 * Return an amount of minor units from what a person typed, as a string of digits; null if it is not an amount. Digits
 * are grouped by threes or not at all: `1,50` is somebody's 1.50, and not 150.
 */
export function parseAmount(text, currency) {
  const digits = digitsIn(currency);
  const match = /^\s*([-\u2212]?)\s*(\d{1,3}(?:[,\u202f' ]\d{3})+|\d+)?(?:\.(\d*))?\s*$/.exec(text);
  if (!match || (match[2] ?? "") + (match[3] ?? "") === "" || (match[3] ?? "").length > digits) return null;
  const cents = BigInt((match[2] ?? "0").replace(/\D/g, "") + (match[3] ?? "").padEnd(digits, "0"));
  return (match[1] ? -cents : cents).toString();
}

/** Return an amount with its currency; negative ones have a minus sign and another colour. */
export function money(cents, currency) {
  return h("span", { class: BigInt(cents) < 0n ? "money negative" : "money" }, amount(cents, currency), " ", h("span", { class: "unit" }, currency));
}

/** Return a whole number, grouped. */
export function count(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ",");
}

const pad = (number, width = 2) => String(number).padStart(width, "0");

/** Return a time as local text, to the second. */
export function timeText(time) {
  const date = new Date(time);
  return `${dateText(date)} ${clockText(date)}`;
}

/** Return the local date of a time. */
export function dateText(time) {
  const date = new Date(time);
  return `${pad(date.getFullYear(), 4)}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
}

/** Return the local time of day of a time. */
export function clockText(time) {
  const date = new Date(time);
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

/** Return a time in local time, with the exact time in UTC as its title. Of today, it shows only the time of day. */
export function when(time, { short = false } = {}) {
  if (!time) return h("span", { class: "muted" }, "–");
  const isToday = short && dateText(time) === dateText(Date.now());
  return h("time", { datetime: time, title: time }, isToday ? clockText(time) : timeText(time));
}

/** Return how long ago a time was, in one unit. */
export function ago(time) {
  const seconds = Math.max(0, (Date.now() - new Date(time)) / 1000);
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const [unit, size] = units.find(([, each]) => seconds >= each) ?? ["s", 1];
  return `${Math.floor(seconds / size)} ${unit}`;
}

/** Return the last characters of an id: ids begin with their time, so their ends differ. */
export function shortId(id) {
  return `…${id.slice(-8)}`;
}

/** Return a short id that a click copies in full. */
export function idOf(id) {
  return copyable(id, shortId(id));
}

/** Return a word of the API as one reads it: `pending_hold` is "pending hold". */
export function words(text) {
  return text.replaceAll("_", " ");
}

/** Return a coloured word; `kind` is good, warn, bad or plain. */
export function badge(text, kind = "plain") {
  return h("span", { class: `badge ${kind}` }, words(text));
}

const STATUS_KINDS = { posted: "good", captured: "good", open: "good", pending: "warn", scheduled: "warn", voided: "plain", expired: "plain", closed: "plain", failed: "bad" };

/** Return the status of a transaction or an account. */
export function statusBadge(status) {
  return badge(status, STATUS_KINDS[status] ?? "plain");
}
