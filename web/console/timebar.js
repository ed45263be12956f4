// The time bar: drag to a point in time, type one, or step by event with the arrow keys.

import { h } from "./dom.js";
import { count } from "./format.js";
import { at, bounds, goTo, label, setAt, slideTo } from "./time.js";

let parts = null;
let isDragging = false;

/** Return the time bar. */
export function timeBar() {
  const now = h("button", { type: "button", class: "now", onclick: () => setAt(null) }, h("span", { class: "dot", "aria-hidden": "true" }), "Now");
  const slider = h("input", { type: "range", class: "slider", step: "1", "aria-label": "Point in time" });
  const field = h("input", { class: "time-field", "aria-label": "Time or position", title: "Type a date, a time or a position", autocomplete: "off", spellcheck: "false" });
  slider.addEventListener("input", () => { isDragging = true; void slideTo(Number(slider.value)); });
  slider.addEventListener("change", () => { isDragging = false; drawTimeBar(); });
  field.addEventListener("focus", () => field.select());
  field.addEventListener("blur", () => drawTimeBar());
  field.addEventListener("keydown", async (event) => {
    if (event.key === "Escape") field.blur();
    if (event.key !== "Enter") return;
    const isClear = await goTo(field.value).catch(() => false);
    field.setAttribute("aria-invalid", String(!isClear));
    if (isClear) field.blur();
  });
  parts = { now, slider, field };
  drawTimeBar();
  return h("div", { class: "time-bar", role: "group", "aria-label": "Time" }, now, slider, field);
}

/** Show the point in time, and how far the log reaches. */
export function drawTimeBar() {
  if (!parts) return;
  const { min, max, value, isTime } = bounds();
  const { now, slider, field } = parts;
  const point = at();
  slider.min = String(min);
  slider.max = String(Math.max(max, min + 1));
  if (!isDragging || !point) slider.value = point ? String(value) : slider.max;
  slider.setAttribute("aria-valuetext", point ? label(point) : "now");
  slider.style.setProperty("--part", `${max > min ? (100 * (Number(slider.value) - min)) / (max - min) : 100}%`);
  now.setAttribute("aria-pressed", String(point === null));
  if (document.activeElement !== field) {
    field.value = point ? label(point) : isTime ? "now" : `now · #${count(max)}`;
    field.removeAttribute("aria-invalid");
  }
}
