// The point in time at which the console shows the ledger: now, or a position of the log, or a time.

import { get } from "./api.js";
import { timeText } from "./format.js";

const listeners = new Set();
const WINDOW = 32; // events: most commands have fewer
const MAX_WINDOW = 1000;
const found = new Map(); // points in time, by position and direction
const MAX_FOUND = 2000;

let point = null; // null is now; else { position, time } or { time }
let scale = null; // what the slider shows: its bounds, and how a value of it becomes a point in time

/** Return the point in time that is shown: null for now, else { position, time } or, without the log, { time }. */
export function at() {
  return point;
}

/** Show the ledger at another point in time; null is now. */
export function setAt(next) {
  const changed = keyOf(next) !== keyOf(point);
  point = next;
  if (changed) for (const listener of listeners) listener(point);
}

/** Take the point in time of an address; its view is about to be shown, so nobody is told. */
export function take(next) {
  point = next;
}

/** Call a listener when the point in time changes, or the log grows. */
export function onTime(listener) {
  listeners.add(listener);
}

/** Return the point in time as the text of a link, or null for now. */
export function keyOf(some) {
  if (!some) return null;
  return some.position === undefined ? some.time : String(some.position);
}

/** Return the point in time of a link. */
export function fromKey(text) {
  if (!text) return null;
  return /^\d+$/.test(text) ? { position: Number(text) } : { time: text };
}

/** Return whether there is such a point in time: a link may have any text. */
export function isReadable(some) {
  return !some?.time || (/^\d{4}-\d{2}-\d{2}/.test(some.time) && !Number.isNaN(new Date(some.time).getTime()));
}

/** Return the query parameters with which the API reads at a point in time. */
export function atQuery(some) {
  if (!some) return {};
  return some.position === undefined ? { at_time: some.time } : { at_position: some.position };
}

/** Return the slider's bounds: { min, max, value, isTime }. */
export function bounds() {
  if (!scale) return { min: 0, max: 0, value: 0, isTime: false };
  return { min: scale.min, max: scale.max, isTime: scale.isTime, value: point ? scale.valueOf(point) : scale.max };
}

/** Return the position of the last event that is known. */
export function logEnd() {
  return scale && !scale.isTime ? scale.max : 0;
}

/** Begin with positions from 1 to the log's end. Only callers that may read the log have these. */
export async function usePositions() {
  const { first_position: first, position } = await get("/v1/ledger/status");
  scale = { isTime: false, min: first, max: position, valueOf: (some) => some.position ?? position };
}

/** Begin with times, in seconds, from the first to now. */
export function useTimes(first) {
  const seconds = (time) => Math.floor(new Date(time) / 1000);
  scale = { isTime: true, min: seconds(first), max: seconds(Date.now()), valueOf: (some) => seconds(some.time) || seconds(Date.now()) };
}

/** Take note of an event: the log has grown. */
export function grow(event) {
  if (!scale) return;
  if (scale.isTime) scale.max = Math.floor(Date.now() / 1000);
  else if (event && event.position > scale.max) scale.max = event.position;
}

/** Show the point in time of a value of the slider. */
export async function slideTo(value) {
  const mine = {};
  sliding = mine;
  if (value >= scale.max) return setAt(null);
  if (scale.isTime) return setAt({ time: new Date(value * 1000).toISOString() });
  const isBack = value < bounds().value;
  const next = await committed(value, isBack).catch(() => ({ position: value }));
  if (sliding === mine) setAt(next.position >= scale.max ? null : next);
}

let sliding = null; // the newest call

/**
 * Complete a position that came from a link: to a state that was committed, and with its time. What the ledger has not
 * reached yet becomes now. Return if it changed.
 */
export async function settle() {
  const asked = point;
  if (asked && isAhead(asked)) {
    point = null;
    return true;
  }
  if (!asked || asked.time || scale?.isTime !== false) return false;
  const next = await committed(asked.position, false).catch(() => null);
  if (point !== asked || !next) return false;
  point = next;
  return next.position !== asked.position;
}

function isAhead({ time, position }) {
  return position === undefined ? new Date(time) > new Date() : scale?.isTime === false && position > scale.max;
}

/** Return the points in time before and after the one that is shown. */
export async function neighbours() {
  if (point?.position === undefined) return [];
  const asked = [[point.position - 1, true], [point.position + 1, false]].filter(([position]) => position >= scale.min && position < scale.max);
  return Promise.all(asked.map(([position, isBack]) => committed(position, isBack)));
}

/**
 * Return the point in time at or after a position (or before it, going back) at which a command was complete: in the
 * middle of its events, debits and credits differ, and nobody has ever seen the ledger like that.
 */
async function committed(position, isBack) {
  const key = `${position} ${isBack}`;
  if (!found.has(key)) {
    if (found.size > MAX_FOUND) found.clear();
    found.set(key, await findCommitted(position, isBack));
  }
  return found.get(key);
}

async function findCommitted(position, isBack) {
  const ahead = await eventsAfter(position - 1, WINDOW);
  const [first] = ahead;
  if (!first) return { position };
  let end = endOf(ahead, first);
  if (end === null) end = endOf(await eventsAfter(position - 1, MAX_WINDOW), first) ?? position;
  if (!isBack || end === position) return { position: end, time: first.recorded_at };
  for (const window of [WINDOW, MAX_WINDOW]) {
    const before = (await eventsAfter(Math.max(0, position - 1 - window), window)).filter((event) => event.position < position);
    const last = before.findLast((event) => event.command_id !== first.command_id);
    if (last) return { position: last.position, time: last.recorded_at };
  }
  return { position, time: first.recorded_at };
}

/** Return the position of the last event of the command of the first one; null if the list ends before. */
function endOf(events, first) {
  const next = first.command_id === null ? 1 : events.findIndex((event) => event.command_id !== first.command_id);
  if (next > 0 && next < events.length) return events[next - 1].position;
  return events.at(-1).position >= scale.max ? events.at(-1).position : null;
}

function eventsAfter(position, limit) {
  return get("/v1/events", { query: { after: position, limit } });
}

/** Show the point in time that a person typed: a position, a date, a time of today, or both. Return false if unclear. */
export async function goTo(text) {
  const typed = text.trim().replace(/^#/, "").replaceAll(",", "");
  if (typed === "" || typed === "now") return setAt(null) ?? true;
  if (/^\d+$/.test(typed) && !scale.isTime) return (await slideTo(Math.max(scale.min, Number(typed)))) ?? true;
  const time = parseTime(typed);
  if (!time) return false;
  if (time > new Date()) return setAt(null) ?? true;
  if (scale.isTime) return setAt({ time: time.toISOString() }) ?? true;
  const { position } = await get("/v1/ledger/trial-balance", { query: { at_time: time.toISOString() } });
  return (await slideTo(Math.max(scale.min, position))) ?? true;
}

function parseTime(typed) {
  const clock = /^(\d{1,2}):(\d{2})(?::(\d{2}))?$/.exec(typed);
  if (clock) return new Date(new Date().setHours(Number(clock[1]), Number(clock[2]), Number(clock[3] ?? 0), 0));
  if (!/^\d{4}-\d{2}-\d{2}/.test(typed)) return null; // browsers read a time into almost anything
  const day = typed.length === 10;
  const time = new Date(day ? `${typed}T23:59:59.999` : typed.replace(" ", "T"));
  return Number.isNaN(time.getTime()) ? null : time;
}

/** Return the point in time as a person reads it. */
export function label(some) {
  if (!some) return "now";
  if (!some.time) return `position ${some.position}`;
  return isReadable(some) ? timeText(some.time) : `“${some.time}”`; // as a link has it
}
