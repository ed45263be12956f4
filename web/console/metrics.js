// The service's metrics: Prometheus' text as numbers, and what they say of the time between two readings.

import { send } from "./api.js";

const MOST = 240; // readings in memory
const samples = []; // what each reading says; they stay when the reader leaves the view and comes back
let last = null; // the reading itself: { time, series }
const STREAMS = new Set(["/events"]); // requests that last as long as somebody follows

/** Read the metrics now; return all readings, oldest first, each with its time and what it says. Raises `Problem`. */
export async function readMetrics(signal) {
  const response = await send("GET", "/metrics", { headers: { Accept: "text/plain" }, signal });
  const reading = { time: Date.now(), series: parse(await response.text()) };
  samples.push({ time: reading.time, ...summary(reading, last) });
  last = reading;
  if (samples.length > MOST) samples.shift();
  return samples;
}

/** Return the series of a text, by their name and labels: [{ labels, value }]. */
export function parse(text) {
  const series = new Map();
  for (const line of text.split("\n")) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!match) continue;
    const labels = Object.fromEntries([...(match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, name, value]) => [name, value]));
    if (!series.has(match[1])) series.set(match[1], []);
    series.get(match[1]).push({ labels, value: Number(match[3].replace("Inf", "Infinity")) });
  }
  return series;
}

function summary({ time, series }, before) {
  const seconds = before ? (time - before.time) / 1000 : null;
  const rate = (name) => (before ? Math.max(0, total(series, name) - total(before.series, name)) / seconds : null);
  return {
    requests: rate("ledger_http_requests_total"),
    refusals: rate("ledger_refusals_total"),
    cpu: rate("process_cpu_seconds_total"),
    memory: total(series, "process_resident_memory_bytes"),
    response: before ? quantile(series, before.series, "ledger_http_request_seconds_bucket", 0.95) : null,
    commit: before ? quantile(series, before.series, "ledger_commit_seconds_bucket", 0.95) : null,
    workers: series.get("ledger_worker_pid")?.length ?? 0,
    waiting: total(series, "ledger_commands_in_flight"),
    used: total(series, "ledger_database_connections", (labels) => labels.state === "used"),
    connections: total(series, "ledger_database_connections"),
    late: Math.max(0, ...(series.get("ledger_loop_lag_seconds") ?? []).map(({ value }) => value)),
    version: series.get("ledger_info")?.[0].labels.version ?? "",
  };
}

function total(series, name, fits = () => true) {
  return (series.get(name) ?? []).reduce((sum, { labels, value }) => (fits(labels) ? sum + value : sum), 0);
}

/** Return a quantile of what was counted between two readings of a histogram, in seconds; null if nothing was. */
export function quantile(series, before, name, part) {
  const added = new Map();
  const add = (from, sign) => {
    for (const { labels, value } of from.get(name) ?? []) {
      if (STREAMS.has(labels.route)) continue;
      const bound = Number(labels.le.replace("+Inf", "Infinity"));
      added.set(bound, (added.get(bound) ?? 0) + sign * value);
    }
  };
  add(series, 1);
  add(before, -1);
  const bounds = [...added].sort(([one], [other]) => one - other);
  const count = bounds.at(-1)?.[1] ?? 0;
  if (count <= 0) return null;
  const place = bounds.findIndex(([, below]) => below >= part * count);
  const [low, under] = place > 0 ? bounds[place - 1] : [0, 0];
  const [high, below] = bounds[place];
  if (high === Infinity) return low;
  return low + ((high - low) * (part * count - under)) / (below - under || 1);
}
