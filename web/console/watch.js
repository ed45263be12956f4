// What changes without an event in the log, such as progress: asked for again and again, until the view is left.

import * as api from "./api.js";
import { fill, h, loading, problemState, staleNote } from "./dom.js";
import { clockText } from "./format.js";

const HIDDEN_MILLISECONDS = 2000; // a hidden page asks nothing

/**
 * Ask for a body repeatedly, `every(body)` milliseconds after the last response. The object has the `body`, `again()`,
 * which asks at once, and `region(draw, {part, lines})`: an element that shows the body, or the part of it that
 * matters, and is drawn again only if that has changed. Its element `stale` says since when there is no response.
 */
export function watch(context, path, { every, read = () => context.get(path) }) {
  const listeners = new Map(); // by the element that they draw
  const seen = new WeakSet(); // elements that were in the page
  let timer = 0;
  let reading = null;
  let isDue = false; // again, because something has changed since the reading began
  let readAt = api.readAt(path);
  const watched = { body: api.known(path), problem: null, stale: h("div", {}), again, region };
  const come = async () => {
    try {
      watched.body = await read();
      watched.problem = null;
      readAt = Date.now();
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof api.Problem)) throw error;
      watched.problem = error;
    }
    const isStale = watched.problem && watched.body !== undefined;
    fill(watched.stale, isStale && staleNote(watched.problem, clockText(readAt)));
    for (const [element, show] of listeners) {
      if (element.isConnected) seen.add(element);
      else if (seen.has(element)) listeners.delete(element);
      show();
    }
  };

  function again() {
    clearTimeout(timer);
    isDue = reading !== null;
    reading ??= (document.hidden ? Promise.resolve() : come()).finally(() => {
      reading = null;
      if (context.signal.aborted) return;
      if (isDue) void again();
      else timer = setTimeout(again, document.hidden ? HIDDEN_MILLISECONDS : every(watched.body));
    });
    return reading;
  }

  function region(draw, { part = (body) => body, lines = 3 } = {}) {
    const element = h("div", { class: "panel" });
    let shown = null;
    const show = () => {
      if (watched.body === undefined && !watched.problem) return void fill(element, loading(lines));
      const value = watched.body === undefined ? watched.problem : part(watched.body);
      const text = watched.body === undefined ? watched.problem.message : JSON.stringify(value) ?? "";
      if (text === shown) return;
      shown = text;
      const content = watched.body === undefined ? problemState(watched.problem, again) : draw(value);
      if (content !== element.firstChild) fill(element, content); // a table stays, with the focus
    };
    listeners.set(element, show);
    show();
    element.ready = reading;
    return element;
  }

  context.onLeave(() => clearTimeout(timer));
  void again();
  return watched;
}
