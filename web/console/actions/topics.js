// A field for the events that a webhook sends: all of them, or those that are checked in a list.

import { get } from "../api.js";
import { fill, h, problemState } from "../dom.js";
import { field } from "./fields.js";

const ADDRESS = "/asyncapi.json"; // lists all events that leave the ledger, and what each is about

/** Return the field; `known` are the topics that a webhook has, which come first. It reads as [] for all events. */
export function topicsField({ known = [] } = {}) {
  const chosen = new Set(known);
  const choice = h("select", { name: "which" }, [["all", "All events that may leave the ledger"], ["some", "Only these…"]].map(([value, text]) => h("option", { value, selected: (value === "some") === known.length > 0 }, text)));
  const filter = h("input", { type: "search", name: "filter", placeholder: "Find an event", "aria-label": "Find an event", autocomplete: "off", spellcheck: "false" });
  const list = h("div", { class: "topics", role: "group", "aria-label": "Events" });
  const sum = h("p", { class: "hint", role: "status" });
  const some = h("div", { class: "topics-part", hidden: true }, filter, list, sum);
  const control = h("div", { class: "topics-field" }, choice, some);
  const isSome = () => choice.value === "some";
  let rows = null; // { topic, summary, box, element } of each event

  const count = () => { sum.textContent = chosen.size === 0 ? "None is chosen yet." : `${chosen.size} chosen: ${[...chosen].join(", ")}`; };
  const inSight = () => rows.filter(({ element }) => !element.hidden);
  /** Let Tab reach one box of the list; the arrows go from one to the next. */
  const reach = (row) => { for (const { box } of rows) box.tabIndex = box === row?.box ? 0 : -1; };
  const find = () => {
    if (!rows) return;
    const text = filter.value.trim().toLowerCase();
    for (const { topic, summary, element } of rows) element.hidden = !`${topic} ${summary}`.toLowerCase().includes(text);
    reach(inSight()[0]);
  };
  const load = async () => {
    if (rows) return;
    fill(list, h("p", { class: "muted" }, "Loading…"));
    try {
      rows = (await topics()).sort((one, other) => chosen.has(other.topic) - chosen.has(one.topic)).map((each) => rowOf(each, chosen, count));
      fill(list, rows.map(({ element }) => element));
      find();
    } catch (problem) {
      fill(list, problemState(problem, () => void load()));
    }
  };
  const change = () => { some.hidden = !isSome(); if (isSome()) void load(); };
  list.addEventListener("focusin", ({ target }) => { const row = rows?.find(({ box }) => box === target); if (row) reach(row); });
  list.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const index = inSight().findIndex(({ box }) => box === event.target);
    if (!by || index < 0) return;
    event.preventDefault();
    inSight()[index + by]?.box.focus();
  });
  choice.addEventListener("change", change);
  filter.addEventListener("input", find);
  filter.addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
  count();
  change();

  const made = field({ name: "topics", label: "Events", control, input: choice, read: () => (isSome() ? [...chosen] : []), flaw: (isTyping) => (isSome() && !isTyping && chosen.size === 0 ? "Choose at least one event" : null) });
  list.addEventListener("change", () => made.say(null));
  return made;
}

/** Return a row of the list. */
function rowOf({ topic, summary }, chosen, onChange) {
  const box = h("input", { type: "checkbox", name: "topic", value: topic, checked: chosen.has(topic), tabindex: "-1" });
  box.addEventListener("change", () => { chosen[box.checked ? "add" : "delete"](topic); onChange(); });
  return { topic, summary, box, element: h("label", {}, box, h("span", {}, h("span", { class: "topic" }, topic), h("span", { class: "hint" }, summary))) };
}

/** Return all topics that leave the ledger, each with what it is about. */
async function topics() {
  const { channels, components } = await get(ADDRESS);
  return Object.keys(channels.feed.messages).map((topic) => ({ topic, summary: (components.messages[topic]?.summary ?? "").replaceAll("`", "") }));
}
