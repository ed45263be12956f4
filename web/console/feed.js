// The log as it grows: each new event within a fraction of a second. Callers without a right to the log get ticks.

import { send } from "./api.js";

const TICK_MILLISECONDS = 5000;
const RETRY_MILLISECONDS = 1000;
const SILENCE_MILLISECONDS = 40_000; // after which the feed is lost: the service sends something every 15 seconds

const listeners = new Set();
let running = null; // the AbortController of the open feed
let last = 0; // the position of the last event
let failures = 0; // one after the other
let heardAt = 0; // in milliseconds, when the service last sent something
let tellLost = () => {};

/** Call a listener with each new event, or with null at each tick; return a function that ends this. */
export function onEvent(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Call a listener when the feed is lost, and when it is back. */
export function onLost(listener) {
  tellLost = listener;
}

/** Return since when the service has not responded, in milliseconds, or null if it does. One failure does not count. */
export function lostSince() {
  return failures > 1 ? heardAt : null;
}

/** Follow the log after a position. Without `isAllowed`, tick instead. A hidden page does not follow. */
export function follow(position, isAllowed) {
  stop();
  last = position;
  heardAt = Date.now();
  running = new AbortController();
  const { signal } = running;
  void (isAllowed ? stream(signal) : tick(signal));
}

/** Stop following. */
export function stop() {
  running?.abort();
  running = null;
  note(0);
}

function note(number) {
  const wasLost = failures > 1;
  failures = number;
  if (wasLost !== failures > 1) tellLost();
}

async function stream(signal) {
  while (!signal.aborted) {
    await visible();
    const one = new AbortController();
    let timer = 0;
    const wait = () => { clearTimeout(timer); timer = setTimeout(() => { note(Math.max(2, failures + 1)); one.abort(); }, SILENCE_MILLISECONDS); };
    const heard = () => { heardAt = Date.now(); wait(); };
    const end = () => { if (document.hidden || signal.aborted) one.abort(); };
    document.addEventListener("visibilitychange", end);
    signal.addEventListener("abort", end);
    wait();
    try {
      const response = await send("GET", `/v1/events?after=${last}`, { headers: { Accept: "text/event-stream" }, signal: one.signal });
      heard();
      note(0);
      await read(response.body.pipeThrough(new TextDecoderStream()).getReader(), heard);
    } catch (error) {
      if (error.status === 401 || error.status === 403) return;
      if (!one.signal.aborted) note(failures + 1);
    } finally {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", end);
      signal.removeEventListener("abort", end);
    }
    await pause(RETRY_MILLISECONDS);
  }
}

async function read(reader, heard) {
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    const messages = (rest + value).split("\n\n");
    rest = messages.pop();
    for (const message of messages) take(message);
  }
}

function take(message) {
  const data = message.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
  if (!data) return;
  const event = JSON.parse(data);
  last = event.position;
  for (const listener of [...listeners]) listener(event);
}

async function tick(signal) {
  for (;;) {
    await pause(TICK_MILLISECONDS);
    await visible();
    if (signal.aborted) return;
    for (const listener of [...listeners]) listener(null);
  }
}

function pause(milliseconds) {
  return new Promise((resolve) => { setTimeout(resolve, milliseconds); });
}

function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => { document.addEventListener("visibilitychange", resolve, { once: true }); });
}
