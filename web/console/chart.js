// A balance over time as a step line in SVG, with zoom, a readout, and a table for those who do not see it.

import { fill, h, newId, svg } from "./dom.js";
import { amount, clockText, dateText, timeText } from "./format.js";

const WIDTH = 800; // units of the drawing; the element may have any size
const HEIGHT = 160;
const TOP = 8;
const BOTTOM = HEIGHT - 18;
const STEPS = [1, 2, 5];
const MOST_TICKS = 4;

/**
 * Return a chart of points { at, balance_cents, held_cents }, oldest first, until a time. `onZoom(from, to)` is called
 * with times in milliseconds when a part is chosen, or with nothing to show all.
 */
export function stepChart({ points, until, currency, label, onZoom, isZoomed }) {
  const times = points.map((point) => new Date(point.at).getTime());
  const balances = points.map((point) => Number(point.balance_cents));
  const free = points.map((point) => Number(point.balance_cents) - Number(point.held_cents));
  const x = scaleOf(times[0], Math.max(until, times[0] + 1), 0, WIDTH);
  const [low, high] = boundsOf([...balances, ...free, 0]);
  const y = scaleOf(low, high, BOTTOM, TOP);
  const readout = h("p", { class: "readout", role: "status" });
  const cursor = svg("line", { class: "cursor", y1: TOP, y2: BOTTOM, hidden: true });
  const selection = svg("rect", { class: "selection", y: TOP, height: BOTTOM - TOP, hidden: true });
  const hasHolds = points.some((point) => point.held_cents > 0);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "steps", "aria-hidden": "true" },
    ticks(low, high).map((tick) => svg("line", { class: tick === 0 ? "axis" : "tick", x1: 0, x2: WIDTH, y1: y(tick), y2: y(tick) })),
    svg("path", { class: "area", d: `${steps(times, balances, x, y)}V${y(0)}H0Z` }),
    hasHolds && svg("path", { class: "held", d: between(times, balances, free, x, y) }),
    svg("path", { class: "line", d: steps(times, balances, x, y) }),
    selection, cursor);
  const marks = ticks(low, high).map((tick) => [tick, amount(Math.round(tick), currency)]);
  const gutter = `${Math.max(...marks.map(([, text]) => text.length)) + 1}ch`;
  const plot = h("div", { class: "plot", tabindex: "0", role: "img", "aria-label": label, style: { "--gutter": gutter } }, drawing,
    h("div", { class: "y-labels", "aria-hidden": "true" }, marks.map(([tick, text]) => h("span", { style: { top: `${(100 * y(tick)) / HEIGHT}%` } }, text))),
    h("div", { class: "x-labels", "aria-hidden": "true" }, [times[0], until].map((time) => h("span", {}, dateText(times[0]) === dateText(until) ? clockText(time) : dateText(time)))));
  const reset = h("button", { type: "button", class: "plain", hidden: !isZoomed, onclick: () => onZoom() }, "Show all");

  const show = (index) => {
    const point = points[index];
    cursor.toggleAttribute("hidden", !point);
    if (!point) return fill(readout, isZoomed ? "" : h("span", { class: "muted" }, "Drag over the curve to zoom in"));
    cursor.setAttribute("x1", x(times[index]));
    cursor.setAttribute("x2", x(times[index]));
    return fill(readout, timeText(point.at), h("strong", {}, ` ${amount(point.balance_cents, currency)} ${currency}`), point.held_cents > 0 && ` of which ${amount(point.held_cents, currency)} held`);
  };
  listen(plot, { times, x, show, selection, onZoom });
  show(-1);
  return h("div", { class: "chart" }, h("div", { class: "chart-head" }, readout, reset), plot, tableOf(points, currency));
}

/** Let the pointer and the arrow keys read points, and a drag or Enter choose a part of the time. */
function listen(plot, { times, x, show, selection, onZoom }) {
  let from = null;
  let index = times.length;
  const unit = (event) => {
    const box = plot.querySelector("svg").getBoundingClientRect();
    return Math.max(0, Math.min(WIDTH, ((event.clientX - box.left) / box.width) * WIDTH));
  };
  const nearest = (place) => times.findLastIndex((time) => x(time) <= place + 1);
  plot.addEventListener("pointerdown", (event) => { from = unit(event); plot.setPointerCapture(event.pointerId); });
  plot.addEventListener("pointermove", (event) => {
    const place = unit(event);
    show(Math.max(0, nearest(place)));
    if (from === null) return;
    selection.removeAttribute("hidden");
    selection.setAttribute("x", Math.min(from, place));
    selection.setAttribute("width", Math.abs(place - from));
  });
  plot.addEventListener("pointerup", (event) => {
    const [start, end] = [from, unit(event)].sort((one, other) => one - other);
    from = null;
    selection.setAttribute("hidden", "");
    if (end - start > 8) onZoom(x.invert(start), x.invert(end));
  });
  plot.addEventListener("pointerleave", () => { if (from === null) show(-1); });
  plot.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -1, ArrowRight: 1 };
    if (event.key in moves) {
      index = Math.max(0, Math.min(times.length - 1, index + moves[event.key]));
      show(index);
    } else if (event.key === "+" && index < times.length) {
      const half = (x.invert(WIDTH) - x.invert(0)) / 8;
      onZoom(times[index] - half, times[index] + half);
    } else if (event.key === "-" || event.key === "Escape") onZoom();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

function scaleOf(from, to, start, end) {
  const scale = (value) => start + ((value - from) / (to - from || 1)) * (end - start);
  scale.invert = (place) => from + ((place - start) / (end - start)) * (to - from);
  return scale;
}

function boundsOf(values) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  return low === high ? [low - 1, high + 1] : [low, high + (high - low) * 0.05];
}

function ticks(low, high) {
  const rough = (high - low) / MOST_TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = (STEPS.find((each) => each * power >= rough) ?? 10) * power;
  const found = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) found.push(tick === 0 ? 0 : tick);
  return found;
}

function steps(times, values, x, y) {
  let path = `M${x(times[0]).toFixed(2)} ${y(values[0]).toFixed(2)}`;
  for (let index = 1; index < times.length; index += 1) path += `H${x(times[index]).toFixed(2)}V${y(values[index]).toFixed(2)}`;
  return `${path}H${WIDTH}`;
}

/** Return the outline of what lies between two step lines. */
function between(times, upper, lower, x, y) {
  const back = [];
  for (let index = times.length - 1; index >= 0; index -= 1) back.push(`V${y(lower[index]).toFixed(2)}H${x(times[index]).toFixed(2)}`);
  return `${steps(times, upper, x, y)}${back.join("")}Z`;
}

function tableOf(points, currency) {
  const details = h("details", { class: "as-table" }, h("summary", {}, "The curve as a table"));
  details.addEventListener("toggle", () => {
    if (!details.open || details.querySelector("table")) return;
    const caption = newId("points");
    details.append(h("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": caption },
      h("table", {}, h("caption", { id: caption, class: "unseen" }, "Balance over time"),
        h("thead", {}, h("tr", {}, ["Since", "Balance", "Held"].map((text) => h("th", { scope: "col" }, text)))),
        h("tbody", {}, points.map((point) => h("tr", {}, h("td", {}, timeText(point.at)), h("td", { class: "end" }, amount(point.balance_cents, currency)), h("td", { class: "end" }, amount(point.held_cents, currency))))))));
  });
  return details;
}
