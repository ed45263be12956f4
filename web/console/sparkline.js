// The balance of the last days as a small step line, read when its row has been in sight for a moment.

import { get } from "./api.js";
import { h, svg } from "./dom.js";

const DAYS = 30;
const POINTS = 24;
const WIDTH = 88;
const HEIGHT = 20;
const WAIT_MILLISECONDS = 150;
const MAX_ASKING = 3;

const known = new Map(); // points by account and its last change
const queue = [];
let asking = 0;

/** Return the line of an account. */
export function sparkline(context, account) {
  const place = h("span", { class: "spark", "aria-hidden": "true" });
  const key = `${account.id} ${account.updated_at} ${account.balance_cents}`;
  if (known.has(key)) place.append(draw(known.get(key)));
  else setTimeout(() => { if (place.isConnected) { queue.push({ place, account, key, signal: context.signal }); next(); } }, WAIT_MILLISECONDS);
  return place;
}

function next() {
  while (asking < MAX_ASKING && queue.length > 0) {
    const job = queue.pop(); // the newest is in sight
    if (!job.place.isConnected || job.signal.aborted) continue;
    asking += 1;
    void read(job).catch(() => {}).finally(() => { asking -= 1; next(); });
  }
}

async function read({ place, account, key, signal }) {
  const from = new Date(Date.now() - DAYS * 86_400_000).toISOString();
  const { points } = await get(`/v1/accounts/${account.id}/balance-series`, { query: { from, points: POINTS }, signal });
  if (known.size > 2000) known.clear();
  known.set(key, points.map((point) => [new Date(point.at).getTime(), point.balance_cents]));
  place.replaceChildren(draw(known.get(key)));
}

function draw(points) {
  if (points.length === 0) return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT });
  const end = Date.now();
  const start = Math.min(points[0][0], end - DAYS * 86_400_000);
  const values = points.map(([, value]) => value);
  const low = Math.min(...values);
  const span = Math.max(...values) - low || 1;
  const x = (time) => 1 + ((time - start) / (end - start || 1)) * (WIDTH - 2);
  const y = (value) => HEIGHT - 3 - ((value - low) / span) * (HEIGHT - 6);
  let path = `M${x(points[0][0]).toFixed(1)} ${y(points[0][1]).toFixed(1)}`;
  for (const [time, value] of points.slice(1)) path += `H${x(time).toFixed(1)}V${y(value).toFixed(1)}`;
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT }, svg("path", { d: `${path}H${WIDTH - 1}` }));
}
