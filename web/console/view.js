// What a view gets to show itself: where it is, when it is, and panels that fill themselves and stay fresh.

import * as api from "./api.js";
import { fill, h, loading, problemState, refill, staleNote } from "./dom.js";
import { onEvent } from "./feed.js";
import { clockText } from "./format.js";
import { link, navigate } from "./router.js";
import { can, who } from "./session.js";
import { atQuery, neighbours } from "./time.js";

const FIRST = 200; // items of a table's first page, which shall come soon, and
const NEXT = 1000; // of the others, which shall be few
const ATTEMPTS = 3; // while the service is busy
const RETRY_MILLISECONDS = 1000;
const LIVE_MILLISECONDS = 300; // at least, between two refreshes of a panel
const COST_FACTOR = 4; // a refresh that took a second is followed by a pause of so many

/** Return the context of a view. It ends with the signal: requests are cancelled, and listeners are removed. */
export function contextOf({ params, query, at, signal }) {
  const asked = new Map(); // requests that depend on the point in time, to prefetch its neighbours
  const context = {
    params,
    query,
    at,
    isNow: at === null,
    me: who(),
    can,
    signal,
    link,
    navigate,
    asked,
    /** Call a function when the view is left. */
    onLeave: (leave) => signal.addEventListener("abort", leave, { once: true }),
    /** Call a function with each new event of the log, or with null every few seconds, while the view shows now. */
    onEvent: (listener) => { if (at === null) context.onLeave(onEvent(listener)); },
    /** Return a body. With `at`, it is that of the point in time. */
    get: (path, options = {}) => api.get(path, timed(path, options)),
    /** Return a page of a list: its items, and the address of the next page. */
    page: (path, options = {}) => api.page(path, timed(path, options)),
    /** Return the source of a table from a list of the API. */
    source: (path, options = {}) => {
      const { query: given } = timed(path, { ...options, query: { limit: FIRST, ...options.query } });
      const first = api.url(path, given);
      const load = (address) => api.page(address === first ? first : address.replace(/([?&]limit=)\d+/, `$1${NEXT}`), { signal });
      return { first, load };
    },
    /** Call a function after events, all or those that fit. What takes long is called less often, so that a page costs the service little. */
    follow: (refresh, fits = () => true) => follow(context, refresh, fits),
    panel: (path, options, draw) => panel(context, path, timed(path, options), options, draw),
  };
  const timed = (path, { query: given = {}, at: isTimed = false }) => {
    const all = isTimed ? { ...given, ...atQuery(at) } : given;
    if (isTimed && at) asked.set(api.url(path, given), { path, query: given });
    return { query: all, signal };
  };
  return context;
}

/**
 * Return an element that shows a body of the API: what is known of it at once, then what is true, then, if it is
 * `live`, what new events make of it, and `every` so many milliseconds what is true then. If it cannot be refreshed, it
 * says since when. `draw` returns its content, and must not fail for any body; an element that it returns again stays
 * in its place, with the focus.
 */
function panel(context, path, request, { live = false, every = 0, lines = 3 }, draw) {
  const region = h("div", { class: "panel" });
  let shown = null; // as text
  let note = null; // that this is old
  const show = (body) => {
    note?.remove();
    note = null;
    const text = JSON.stringify(body);
    if (text === shown) return;
    const isFirst = shown === null;
    shown = text;
    const content = draw(body, { isFirst });
    if (content !== region.firstChild) refill(region, content);
  };
  const refresh = async (attempts = ATTEMPTS) => {
    try {
      show(await api.get(path, request));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof api.Problem)) throw error;
      if (error.status === 503 && attempts > 1) {
        await new Promise((resolve) => { setTimeout(resolve, RETRY_MILLISECONDS); });
        if (!context.signal.aborted) await refresh(attempts - 1);
        return;
      }
      if (shown !== null && api.isPassing(error)) {
        note?.remove();
        note = staleNote(error, clockText(api.readAt(path, request.query) ?? Date.now()));
        region.append(note);
      } else { shown = null; fill(region, problemState(error, () => void refresh())); }
    }
  };
  const before = api.known(path, request.query);
  if (before === undefined) region.append(loading(lines));
  else show(before);
  region.ready = refresh();
  if (live) context.follow(() => refresh(), (event) => !event || live === true || live(event));
  if (every && context.isNow) repeat(context, every, refresh);
  return region;
}

function repeat(context, milliseconds, refresh) {
  const timer = setInterval(() => { if (!document.hidden) void refresh(); }, milliseconds);
  context.onLeave(() => clearInterval(timer));
}

function follow(context, refresh, fits) {
  let timer = 0; // of the next refresh, and until it has ended
  let free = 0; // when the next refresh may begin
  let isDue = false;
  const plan = () => { timer = setTimeout(run, Math.max(LIVE_MILLISECONDS, free - performance.now())); };
  const run = async () => {
    isDue = false;
    const began = performance.now();
    await refresh();
    free = performance.now() + COST_FACTOR * (performance.now() - began);
    timer = 0;
    if (isDue && !context.signal.aborted) plan(); // there was an event while it read
  };
  context.onEvent((event) => {
    if (!fits(event)) return;
    isDue = true;
    if (!timer) plan();
  });
  context.onLeave(() => clearTimeout(timer));
}

/** Read what a view would ask for one step before and after, so that it can show that at once. */
export async function prefetch(context) {
  for (const point of await neighbours()) {
    for (const { path, query } of context.asked.values()) {
      const all = { ...query, ...atQuery(point) };
      if (api.known(path, all) === undefined) await api.get(path, { query: all, signal: context.signal }).catch(() => {});
    }
  }
}
