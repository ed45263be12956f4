// The path of an event in its block, drawn: leaf ─┬─ node … root ═ block ═ signed, and the same as a table.

import { copyable, fill, h, svg } from "./dom.js";
import { count, shortId } from "./format.js";
import { toHex } from "./proof.js";

const NARROWEST = 46; // pixels between two nodes, for the path to be drawn from left to right
const WIDEST = 96;
const START = 28;
const END = 316; // pixels for the block and its signature
const LINE = 60; // where the path is, from the top
const ASIDE = 34; // from the path to the hashes beside it
const STEP = 46; // pixels between two nodes, from top to bottom
const DELAY_MILLISECONDS = 45;

/** Return the picture of a checked proof that holds. It is drawn for the width that it gets. */
export function pathPicture(checked) {
  const place = h("div", { class: "path" });
  const watch = new ResizeObserver(([{ contentRect: { width } }]) => {
    const { length } = checked.steps;
    const step = Math.min(WIDEST, (width - START - END) / Math.max(1, length));
    const key = step >= NARROWEST ? String(Math.round(step)) : "down";
    if (width === 0 || place.dataset.drawn === key) return;
    place.dataset.drawn = key;
    fill(place, step >= NARROWEST ? across(checked, step) : down(checked));
  });
  watch.observe(place);
  return place;
}

/** Return what the picture shows, as a sentence. */
function described({ proof: { block, leaf_index: index }, steps }) {
  return `Leaf ${count(index + 1)} of ${count(block.count)} leads over ${count(steps.length)} nodes to the root of block ${count(block.number)}, which is signed`;
}

function across(checked, step) {
  const { leaf, steps, proof: { block } } = checked;
  const xOf = (index) => START + index * step;
  const end = xOf(steps.length);
  const parts = [
    svg("path", { class: "trunk", d: `M${START} ${LINE}H${end}` }),
    leafMark(START, LINE), text(START, LINE + 24, "leaf", "middle", "name"), text(START, LINE + 38, short(leaf), "middle"),
    steps.map(({ sibling, isRight, node }, index) => {
      const [x, side] = [xOf(index + 1), isRight ? -1 : 1];
      const [from, y] = [x - step / 2, LINE + side * ASIDE];
      return draws(index, svg("path", { class: "branch", d: `M${from} ${y}Q${x} ${y} ${x} ${LINE}` }),
        given(from, y), text(from, y + (side < 0 ? -10 : 19), short(sibling), "middle"),
        index === steps.length - 1 ? root(x, LINE) : svg("circle", { class: "node", cx: x, cy: LINE, r: 4 }),
        index === steps.length - 1 ? null : text(x, LINE - side * 14 + (side < 0 ? 4 : 0), short(node), "middle"));
    }),
    steps.length === 0 && root(START, LINE),
    draws(steps.length, text(end, steps.at(-1)?.isRight ? LINE + 28 : LINE - 20, "root", "middle", "name"),
      double(end + 12, LINE, end + 44, LINE),
      box(end + 44, LINE, block),
      double(end + 164, LINE, end + 196, LINE),
      ...seal(end + 216, LINE, block)),
  ];
  return drawing(end + END, 2 * LINE + 4, checked, parts);
}

function down(checked) {
  const { leaf, steps, proof: { block } } = checked;
  const x = START + 8;
  const yOf = (index) => 20 + index * STEP;
  const end = yOf(steps.length);
  const parts = [
    svg("path", { class: "trunk", d: `M${x} 20V${end}` }),
    leafMark(x, 20), text(x + 20, 24, `leaf  ${short(leaf)}`, "start", "name"),
    steps.map(({ sibling, isRight, node }, index) => {
      const y = yOf(index + 1);
      const isLast = index === steps.length - 1;
      return draws(index, svg("path", { class: "branch", d: `M${x + ASIDE} ${y - STEP / 2}Q${x} ${y - STEP / 2} ${x} ${y}` }),
        given(x + ASIDE, y - STEP / 2), text(x + ASIDE + 14, y - STEP / 2 + 4, `${short(sibling)} ${isRight ? "left" : "right"}`, "start"),
        isLast ? root(x, y) : svg("circle", { class: "node", cx: x, cy: y, r: 4 }),
        text(x + 20, y + 8, isLast ? `root  ${short(node)}` : short(node), "start", isLast ? "name" : null));
    }),
    steps.length === 0 && root(x, 20),
    draws(steps.length, double(x, end + 12, x, end + 36), box(x - 18, end + 58, block), double(x, end + 80, x, end + 104), ...seal(x, end + 122, block)),
  ];
  return drawing(300, end + 148, checked, parts);
}

function drawing(width, height, checked, parts) {
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": described(checked) }, parts);
}

/** Return parts that appear one after another, as the hashes are computed. */
function draws(index, ...parts) {
  return svg("g", { class: "draws", style: { "animation-delay": `${index * DELAY_MILLISECONDS}ms` } }, parts);
}

function leafMark(x, y) {
  return svg("rect", { class: "leaf", x: x - 6, y: y - 6, width: 12, height: 12, rx: 2 });
}

function given(x, y) {
  return svg("circle", { class: "given", cx: x, cy: y, r: 4 });
}

function root(x, y) {
  return [svg("circle", { class: "root", cx: x, cy: y, r: 9 }), svg("circle", { class: "node", cx: x, cy: y, r: 4 })];
}

function double(x, y, endX, endY) {
  const [dx, dy] = x === endX ? [2, 0] : [0, 2];
  return svg("path", { class: "double", d: `M${x - dx} ${y - dy}L${endX - dx} ${endY - dy}M${x + dx} ${y + dy}L${endX + dx} ${endY + dy}` });
}

function box(x, y, block) {
  return [svg("rect", { class: "block", x, y: y - 22, width: 120, height: 44, rx: 6 }),
    text(x + 60, y - 3, `block ${count(block.number)}`, "middle", "name"),
    text(x + 60, y + 13, `${count(block.count)} ${block.count === 1 ? "event" : "events"}`, "middle")];
}

function seal(x, y, block) {
  return [svg("circle", { class: "seal", cx: x, cy: y, r: 18 }), svg("path", { class: "tick", d: `M${x - 7} ${y}l5 6 9-11` }),
    text(x + 26, y - 2, "signed", "start", "name"), text(x + 26, y + 13, shortId(block.key_id), "start")];
}

function text(x, y, content, anchor, kind = null) {
  return svg("text", { x, y, "text-anchor": anchor, class: kind }, content);
}

function short(hash) {
  return toHex(hash.slice(0, 3));
}

/** Return the path as a table, with each hash in full. */
export function pathTable({ leaf, steps, proof: { block } }) {
  const row = (name, side, hash) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, side), h("td", {}, copyable(toHex(hash))));
  return h("details", { class: "as-table" }, h("summary", {}, "The path as a table"),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The path as a table" },
      h("table", {}, h("thead", {}, h("tr", {}, ["Hash", "From", "SHA-256"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, row("leaf", "the event, hashed here", leaf),
          steps.flatMap(({ sibling, isRight, node }, index) => [
            row("beside it", `the receipt, on the ${isRight ? "left" : "right"}`, sibling),
            row(index === steps.length - 1 ? "root" : "node", index === steps.length - 1 ? `both, hashed here; block ${count(block.number)} has the same` : "both, hashed here", node)])))));
}
