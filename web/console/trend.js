// Small charts of numbers: what they mean is said by their label, for those who do not see them.

import { h, svg } from "./dom.js";

const WIDTH = 240; // units of the drawing; the element may have any size
const HEIGHT = 40;

/** Return a chart of numbers at equal distances as bars; null is a gap. */
export function bars(values, label) {
  const top = Math.max(1, ...values.map((value) => value ?? 0));
  const step = WIDTH / values.length;
  return chart(label, values.map((value, index) => {
    const height = Math.max(value ? 2 : 0.5, ((value ?? 0) / top) * HEIGHT);
    return value === null ? null : svg("rect", { class: "bar", x: (index * step).toFixed(2), y: (HEIGHT - height).toFixed(2), width: (step * 0.7).toFixed(2), height: height.toFixed(2) });
  }));
}

/** Return a chart of points [time, number], oldest first, over the milliseconds before the last. `top` is its least height. */
export function line(points, label, { span, top = 0 }) {
  const shown = points.filter(([, value]) => value !== null);
  if (shown.length < 2) return chart(label, []);
  const end = shown.at(-1)[0];
  const start = Math.max(end - span, shown[0][0]);
  const high = Math.max(top, ...shown.map(([, value]) => value)) * 1.1 || 1;
  const x = (time) => ((time - start) / (end - start || 1)) * WIDTH;
  const y = (value) => HEIGHT - 1 - (value / high) * (HEIGHT - 2);
  const path = shown.map(([time, value], index) => `${index ? "L" : "M"}${x(time).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  return chart(label, [svg("path", { class: "area", d: `${path}V${HEIGHT}H${x(shown[0][0]).toFixed(1)}Z` }), svg("path", { class: "line", d: path })]);
}

function chart(label, marks) {
  return h("div", { class: "trend", role: "img", "aria-label": label },
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, svg("path", { class: "axis", d: `M0 ${HEIGHT}H${WIDTH}` }), marks));
}
