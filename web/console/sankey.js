// Flows of one currency as a picture: who paid on the left, who got it on the right, ribbons as wide as the sums.

import { h, svg } from "./dom.js";

const WIDTH = 400; // units of the drawing; the element may have any width
const HEIGHT = 360; // pixels, if the labels need no more
const BAR = 8;
const GAP = 12;
const LEAST_SLOT = 40; // pixels of a node with its label
const LABEL = 36; // pixels of its two lines
const LEAST = 1; // pixel of a ribbon

/**
 * Return a picture of flows { source, destination, value }. `labelOf(key, sum)` returns what stands beside a node,
 * `isOurs(key)` whether it has the accent's colour, and `titleOf(flow)` what a ribbon says.
 */
export function sankey(flows, { labelOf, isOurs, titleOf }) {
  const left = sideOf(flows, "source");
  const right = sideOf(flows, "destination");
  const scale = scaleOf(left, right);
  const height = Math.max(place(left, scale), place(right, scale));
  const ribbons = flows.map((flow) => ribbonOf(flow, { left, right, scale, isOurs, titleOf }));
  const bars = [...nodesOf(left, 0, isOurs), ...nodesOf(right, WIDTH - BAR, isOurs)];
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: "none", class: "sankey-drawing", "aria-hidden": "true", style: { height: `${height}px` } }, ribbons, bars);
  const element = h("div", { class: "sankey" }, labels(left, labelOf, "from"), drawing, labels(right, labelOf, "to"));
  listen(element, ribbons);
  return element;
}

/** Return the nodes of a side by their keys, largest first, each with its sum. */
function sideOf(flows, side) {
  const sums = new Map();
  for (const flow of flows) sums.set(flow[side], (sums.get(flow[side]) ?? 0) + flow.value);
  return new Map([...sums].sort(([, one], [, other]) => other - one).map(([key, sum]) => [key, { key, sum, top: 0, used: 0, count: 0 }]));
}

function scaleOf(left, right) {
  const total = Math.max(...[left, right].map((side) => [...side.values()].reduce((all, { sum }) => all + sum, 0)));
  const gaps = Math.max(left.size, right.size) * GAP;
  return Math.max(HEIGHT - gaps, HEIGHT / 2) / (total || 1);
}

/** Give each node its place, with room for its label; return the height of the side. */
function place(side, scale) {
  let top = 0;
  for (const node of side.values()) {
    node.top = top;
    node.height = Math.max(LEAST, node.sum * scale);
    top += Math.max(node.height + GAP, LEAST_SLOT);
  }
  return Math.ceil(top);
}

function ribbonOf(flow, { left, right, scale, isOurs, titleOf }) {
  const from = left.get(flow.source);
  const to = right.get(flow.destination);
  const width = Math.max(LEAST, flow.value * scale);
  const [y1, y2] = [from.top + from.used, to.top + to.used];
  from.used += flow.value * scale;
  to.used += flow.value * scale;
  const [x1, x2, middle] = [BAR, WIDTH - BAR, WIDTH / 2];
  const d = `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}V${y2 + width}C${middle} ${y2 + width} ${middle} ${y1 + width} ${x1} ${y1 + width}Z`;
  const path = svg("path", { d, class: isOurs(flow.source) && isOurs(flow.destination) ? "ribbon" : "ribbon other" }, svg("title", {}, titleOf(flow)));
  path.flow = flow;
  return path;
}

function nodesOf(side, x, isOurs) {
  return [...side.values()].map(({ key, top, height }) => svg("rect", { x, y: top, width: BAR, height, class: isOurs(key) ? "node" : "node other" }));
}

function labels(side, labelOf, name) {
  return h("ul", { class: `sankey-labels ${name}`, "aria-label": name === "from" ? "Paid by" : "Got by" }, [...side.values()].map(({ key, sum, top, height }) => h("li", { "data-key": key, "data-side": name, style: { top: `${labelTop(top, height)}px` } }, labelOf(key, sum, name))));
}

/** Return where a label begins: beside the middle of its node, or with its first line beside a thin one. */
function labelTop(top, height) {
  return top + (height < LABEL / 2 ? height / 2 - LABEL / 4 : (height - LABEL) / 2);
}

/** Let the ribbons of a node stand out while the pointer or the focus is on its label. */
function listen(element, ribbons) {
  const mark = (event) => {
    const label = event.target.closest?.("li[data-key]");
    const side = label?.dataset.side === "from" ? "source" : "destination";
    for (const ribbon of ribbons) ribbon.classList.toggle("faint", Boolean(label) && ribbon.flow[side] !== label.dataset.key);
  };
  for (const type of ["pointerover", "focusin", "focusout"]) element.addEventListener(type, mark);
  element.addEventListener("pointerleave", () => ribbons.forEach((ribbon) => ribbon.classList.remove("faint")));
}
