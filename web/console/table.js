// A table of any length: only the rows in sight are elements, and only the pages near them are in memory.

import { fill, h, newId, problemState, state } from "./dom.js";

const ROW = 34; // pixels
const TALL_ROW = 54; // in a narrow table, whose cells may have two lines
const NARROW = 640;
const BEYOND = 12; // rows above and below those in sight
const NEAR_PAGES = 4; // that stay in memory around those in sight
const AHEAD = 200; // rows before the end at which the next page is loaded

/** Return the source of a table from an array. */
export function fromArray(items) {
  return { first: "all", load: async () => ({ items, next: null }) };
}

/**
 * Return a table. A column has a `title` (screen readers say "Action" if it has none), a `cell(item)`, a `width` of CSS
 * grid, and maybe `end: true` (aligned to the end), `from` and `upto` (the widths in pixels at which it is shown).
 * `source` loads pages by their address. `empty` is what is said without rows, or a function that returns a state.
 * `onOpen(item)` is called by Enter and a click on a row. In a tree,
 * `treeOf(item)` returns its level, whether it is open (null for a leaf), and how to `toggle(isOpen)` it. The element
 * has `reload(source)`, `update(items)` (all items of an array, in the place of those before), `prepend(items)` and
 * `focusFirst()`.
 */
export function table({ label, columns, source, onOpen = null, empty = "Nothing here", classOf = () => "", treeOf = null }) {
  const id = newId("table");
  const body = h("div", { class: "rows", role: "rowgroup" });
  const head = h("div", { class: "row head", role: "row", "aria-rowindex": "1" });
  const grid = h("div", { class: "grid", role: treeOf ? "treegrid" : "grid", "aria-label": label, tabindex: "0", id }, h("div", { role: "rowgroup", class: "head-group" }, head), body);
  const model = pages(() => draw());
  const rows = new Map(); // elements by index
  let active = -1;
  let frame = 0;
  let visible = []; // columns
  let rowHeight = ROW;

  function draw() {
    frame = 0;
    if (model.failure && model.count === 0) return stand(problemState(model.failure, () => model.reset(model.first, model.loader)));
    if (model.count === 0 && model.isComplete) return stand(typeof empty === "function" ? empty() : state("empty", empty));
    if (rows.size === 0) fill(body);
    body.style.setProperty("height", `${(model.count + (model.isComplete ? 0 : 1)) * rowHeight}px`);
    grid.setAttribute("aria-rowcount", model.isComplete ? String(model.count + 1) : "-1");
    const first = Math.max(0, Math.floor(grid.scrollTop / rowHeight) - BEYOND);
    const last = Math.min(model.count, Math.ceil((grid.scrollTop + grid.clientHeight) / rowHeight) + BEYOND);
    for (const [index, row] of rows) if (index < first || index >= last) { row.remove(); rows.delete(index); }
    let before = null;
    for (let index = last - 1; index >= first; index -= 1) {
      const item = model.item(index);
      let row = rows.get(index);
      if (!row || row.item !== item) {
        const fresh = rowOf(item, index);
        const focused = row ? controls(row).indexOf(document.activeElement) : -1;
        if (row) row.replaceWith(fresh); else body.insertBefore(fresh, before);
        if (focused >= 0) controls(fresh)[focused]?.focus({ preventScroll: true });
        rows.set(index, fresh);
        row = fresh;
      }
      before = row;
    }
    model.keep(first, last);
    if (last + AHEAD >= model.count) model.more();
  }

  /** Choose the columns that have room, and give them their widths. */
  function arrange() {
    const width = grid.clientWidth || innerWidth;
    const next = columns.filter((column) => width >= (column.from ?? 0) && width < (column.upto ?? Infinity));
    const height = width < NARROW ? TALL_ROW : ROW;
    if (height === rowHeight && next.length === visible.length && next.every((column, index) => column === visible[index])) return;
    visible = next;
    rowHeight = height;
    grid.style.setProperty("--columns", visible.map((column) => column.width ?? "minmax(0, 1fr)").join(" "));
    grid.classList.toggle("narrow", rowHeight === TALL_ROW);
    grid.style.setProperty("--row", `${rowHeight}px`);
    fill(head, visible.map((column) => h("div", { role: "columnheader", class: cellClass(column) }, column.title ?? h("span", { class: "unseen" }, "Action"))));
    rows.clear();
    fill(body);
  }

  function stand(what) {
    rows.clear();
    body.style.removeProperty("height");
    grid.setAttribute("aria-rowcount", "2");
    fill(body, h("div", { role: "row", class: "stand" }, h("div", { role: "gridcell" }, what)));
  }

  function rowOf(item, index) {
    const selected = index === active;
    const { level, isOpen } = (item && treeOf?.(item)) ?? {};
    const row = h("div", { "aria-level": level, "aria-expanded": typeof isOpen === "boolean" ? String(isOpen) : null, class: `row ${item ? classOf(item) : "waiting"}${selected ? " active" : ""}`, role: "row", id: `${id}-${index}`, "aria-rowindex": String(index + 2), "aria-selected": String(selected) },
      visible.map((column) => h("div", { role: "gridcell", class: cellClass(column) }, item ? column.cell(item) : "")));
    row.style.setProperty("transform", `translateY(${index * rowHeight}px)`);
    row.item = item;
    row.index = index;
    return row;
  }

  function choose(index) {
    const chosen = Math.max(0, Math.min(model.count - 1, index));
    if (model.count === 0) return;
    const old = rows.get(active);
    if (old) { old.classList.remove("active"); old.setAttribute("aria-selected", "false"); }
    active = chosen;
    const top = active * rowHeight;
    const height = grid.clientHeight - head.offsetHeight;
    if (top < grid.scrollTop) grid.scrollTop = top;
    else if (top + rowHeight > grid.scrollTop + height) grid.scrollTop = top + rowHeight - height;
    draw();
    rows.get(active)?.classList.add("active");
    rows.get(active)?.setAttribute("aria-selected", "true");
    grid.setAttribute("aria-activedescendant", `${id}-${active}`);
  }

  const page = () => Math.max(1, Math.floor(grid.clientHeight / rowHeight) - 2);
  const moves = { j: () => active + 1, ArrowDown: () => active + 1, k: () => active - 1, ArrowUp: () => active - 1, PageDown: () => active + page(), PageUp: () => active - page(), Home: () => 0, End: () => model.count - 1 };
  grid.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, button, select")) return;
    const item = model.item(active);
    const branch = item && treeOf?.(item);
    if (branch && event.key === "ArrowRight" && branch.isOpen === false) branch.toggle(true);
    else if (branch && event.key === "ArrowLeft" && branch.isOpen) branch.toggle(false);
    else if (event.key in moves) choose(moves[event.key]());
    else if (event.key === "Enter" && item && onOpen && event.target === grid) onOpen(item);
    else return;
    event.preventDefault();
  });
  grid.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (!row?.item) return;
    choose(row.index);
    if (onOpen && !event.target.closest("a, button") && String(getSelection()) === "") onOpen(row.item);
  });
  grid.addEventListener("scroll", () => { frame ||= requestAnimationFrame(draw); }, { passive: true });
  new ResizeObserver(() => { arrange(); frame ||= requestAnimationFrame(draw); }).observe(grid);
  grid.reload = (next) => { rows.clear(); fill(body); active = -1; model.reset(next.first, next.load); };
  grid.update = (items) => { model.replace(items); active = Math.min(active, items.length - 1); draw(); };
  grid.prepend = (items) => { active += active < 0 ? 0 : items.length; rows.clear(); fill(body); model.prepend(items); };
  grid.first = () => model.item(0);
  grid.focusFirst = () => { grid.focus(); choose(Math.max(0, active)); };
  arrange();
  grid.reload(source);
  return grid;
}

function controls(row) {
  return [...row.querySelectorAll("a, button")];
}

function cellClass(column) {
  return column.end ? "cell end" : "cell";
}

/** Return the pages of a list. Pages far from those in sight are forgotten, and loaded again from their address. */
function pages(changed) {
  let all = []; // { address, start, count, items }
  let next = null;
  let busy = null;
  const model = {
    first: null,
    loader: null,
    count: 0,
    isComplete: false,
    failure: null,
    reset(first, loader) {
      Object.assign(model, { first, loader, count: 0, isComplete: false, failure: null });
      all = [];
      next = first;
      busy = null;
      void model.more();
    },
    item(index) {
      const found = pageOf(index);
      if (!found) return undefined;
      if (!found.items) void again(found);
      return found.items?.[index - found.start];
    },
    async more() {
      if (busy || next === null || model.failure) return;
      const mine = {};
      busy = mine;
      const address = next;
      try {
        const loaded = await model.loader(address);
        if (busy !== mine) return;
        if (loaded.items.length > 0) all.push({ address, start: model.count, count: loaded.items.length, items: loaded.items });
        model.count += loaded.items.length;
        next = loaded.next;
        model.isComplete = next === null;
      } catch (error) {
        if (error.name === "AbortError" || busy !== mine) return;
        model.failure = error;
        model.isComplete = true;
      }
      busy = null;
      changed();
    },
    replace(items) {
      Object.assign(model, { count: items.length, isComplete: true, failure: null });
      all = items.length > 0 ? [{ address: null, start: 0, count: items.length, items }] : [];
      next = null;
      busy = null;
    },
    prepend(items) {
      for (const each of all) {
        each.start += items.length;
        if (each.address === model.first && each.items) each.address = null; // it stays, as that address has other items now
      }
      all.unshift({ address: null, start: 0, count: items.length, items });
      model.count += items.length;
      changed();
    },
    keep(first, last) {
      const from = all.indexOf(pageOf(first));
      const to = all.indexOf(pageOf(last - 1));
      for (const [index, each] of all.entries()) {
        if (each.address !== null && model.count > each.count && (index < from - NEAR_PAGES || index > to + NEAR_PAGES)) each.items = null;
      }
    },
  };

  function pageOf(index) {
    let low = 0;
    let high = all.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (index < all[middle].start) high = middle - 1;
      else if (index >= all[middle].start + all[middle].count) low = middle + 1;
      else return all[middle];
    }
    return null;
  }

  async function again(found) {
    if (found.loading) return;
    found.loading = true;
    const loaded = await model.loader(found.address).catch(() => null);
    found.loading = false;
    if (loaded) { found.items = loaded.items.slice(0, found.count); changed(); }
  }
  return model;
}
