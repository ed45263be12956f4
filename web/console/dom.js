// Builds elements. Text is always set as text, never as markup, so nothing from the ledger can run.

const SVG = "http://www.w3.org/2000/svg";
let lastNumber = 0;

/** Return an element. `on…` attributes are listeners, `style` sets properties; null, undefined and false are left out. */
export function h(name, attributes = {}, ...children) {
  return build(document.createElement(name), attributes, children);
}

/** Return an SVG element. */
export function svg(name, attributes = {}, ...children) {
  return build(document.createElementNS(SVG, name), attributes, children);
}

function build(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [name, text] of Object.entries(value)) element.style.setProperty(name, text);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...flatten(children));
  return element;
}

function flatten(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** Replace what an element shows. */
export function fill(element, ...children) {
  element.replaceChildren(...flatten(children));
  return element;
}

/** Replace what an element shows; a button of an action that has the focus gives it to the one that takes its place. */
export function refill(element, ...children) {
  const action = element.contains(document.activeElement) ? document.activeElement.dataset.action : null;
  fill(element, ...children);
  if (action) element.querySelector(`[data-action="${action}"]`)?.focus({ preventScroll: true });
  return element;
}

/** Return an id that no other element of the page has. */
export function newId(prefix) {
  lastNumber += 1;
  return `${prefix}-${lastNumber}`;
}

/** Return what a view shows instead of content: nothing yet, an error, or no right to see it. */
export function state(kind, title, text = "", action = null) {
  const marks = { empty: "○", error: "!", denied: "⊘", missing: "?" };
  return h("div", { class: `state ${kind}`, role: kind === "error" ? "alert" : "note" },
    h("span", { class: "mark", "aria-hidden": "true" }, marks[kind]),
    h("p", { class: "state-title" }, title),
    text && h("p", { class: "muted" }, text),
    action);
}

/** Return what a view shows instead of accounts if the user sees none, now or at the point in time. */
export function noAccounts({ isNow, can }) {
  const isReader = can("admin", "auditor");
  if (!isNow) return isReader ? state("empty", "No accounts at this point in time", "The first one was opened later.") : state("empty", "You owned no account at this point in time");
  if (!isReader) return state("empty", "You own no account", "An admin can open one for you.");
  return state("empty", "No accounts yet", can("admin") ? "Open an account, and its balance appears here." : "Once an admin opens one, its balance appears here.");
}

/** Return what a view shows instead of transactions if there are none, now or at the point in time. */
export function noTransactions({ isNow }) {
  return isNow ? state("empty", "No transactions yet", "The first one appears here once it is recorded.") : state("empty", "No transactions by this point in time");
}

/** Return the state that shows a problem of the API; `again` repeats what failed. */
export function problemState(problem, again = null) {
  const retry = again && h("button", { type: "button", onclick: again }, "Try again");
  if (problem.status === 403) return state("denied", "Your roles do not allow this", "An admin can change the roles of a user.");
  if (problem.status === 404) return state("missing", "There is nothing here", problem.message);
  if (problem.errors?.[0]?.detail?.in === "path") return state("missing", "There is nothing here", "The address may be misspelt.");
  const trace = problem.traceId ? `Request ${problem.traceId}` : "";
  const help = problem.status >= 500 ? "" : problem.help; // which is for clients that repeat requests themselves
  return state("error", problem.message, [help, trace].filter(Boolean).join(" · "), retry);
}

/** Return a line that says since when content has not been refreshed, and why. */
export function staleNote(problem, time) {
  return h("p", { class: "stale", role: "status" }, `! As of ${time}: ${problem.message}`);
}

/** Return grey lines that stand for content. They become visible after 100 ms. */
export function loading(lines = 3) {
  return h("div", { class: "loading", role: "status" }, h("span", { class: "unseen" }, "Loading"),
    Array.from({ length: lines }, (_, index) => h("span", { class: `bone bone-${index % 3}`, "aria-hidden": "true" })));
}

/** Return a text that a click copies; `shown` may be shorter. */
export function copyable(text, shown = text) {
  const button = h("button", { type: "button", class: "copy", title: `Copy ${text}`, "aria-label": `Copy ${text}` }, shown);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text).catch(() => selectText(button));
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 1200);
  });
  return button;
}

function selectText(element) {
  getSelection().selectAllChildren(element);
}

/** Return a block with a heading. `actions` are beside the heading. */
export function card(title, content, { actions = null, className = "" } = {}) {
  const id = newId("card");
  return h("section", { class: `card ${className}`, "aria-labelledby": id },
    h("header", { class: "card-head" }, h("h2", { id }, title), actions && h("div", { class: "actions" }, actions)),
    content);
}

/** Return pairs of a name and a value. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}
