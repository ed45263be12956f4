// Which view a path shows. The point in time is part of every address, so that a link keeps it.

import { url } from "./api.js";
import { at, fromKey, keyOf, take } from "./time.js";

const BASE = "/console";
const URL_MILLISECONDS = 250; // browsers limit how often an address changes

/** A row for each view: its path, its module and, if it is in the navigation, its name, key and the roles that see it. */
export const VIEWS = [
  { path: "/", load: () => import("./views/overview.js"), name: "Overview", key: "o", roles: ["admin", "auditor", "customer", "guest"] },
  { path: "/accounts", load: () => import("./views/accounts.js"), name: "Accounts", key: "a", roles: ["admin", "auditor", "customer"] },
  { path: "/accounts/:id", load: () => import("./views/account.js") },
  { path: "/transactions", load: () => import("./views/transactions.js"), name: "Transactions", key: "t", roles: ["admin", "auditor", "customer"] },
  { path: "/transactions/:id", load: () => import("./views/transaction.js") },
  { path: "/flow", load: () => import("./views/flow.js"), name: "Flow", key: "f", roles: ["admin", "auditor"] },
  { path: "/reports", load: () => import("./views/reports.js"), name: "Reports", key: "r", roles: ["admin", "auditor"] },
  { path: "/holds", load: () => import("./views/holds.js"), name: "Holds", key: "h", roles: ["admin", "auditor", "customer"] },
  { path: "/operations", load: () => import("./views/operations.js"), name: "Operations", key: "s", roles: ["admin", "auditor"] },
  { path: "/people", load: () => import("./views/people.js"), name: "People", key: "p", roles: ["admin", "auditor"] },
  { path: "/people/:id", load: () => import("./views/person.js") },
];

let show = () => {};
let timer = 0;

/** Return the address of a view at the point in time that is shown. */
export function link(path, query = {}) {
  return url(BASE + (path === "/" ? "" : path), { ...query, at: keyOf(at()) });
}

/** Go to a view. `replace` leaves no entry in the history. */
export function navigate(path, { query = {}, replace = false } = {}) {
  go(path.startsWith(BASE) ? path : link(path, query), replace);
}

function go(address, replace) {
  clearTimeout(timer);
  history[replace ? "replaceState" : "pushState"](null, "", address);
  follow();
}

/** Return the current view's row, its parameters and its query; the row is undefined if no view has this path. */
export function current() {
  const path = location.pathname.slice(BASE.length).replace(/\/$/, "") || "/";
  const query = new URLSearchParams(location.search);
  query.delete("at");
  for (const view of VIEWS) {
    const params = match(view.path, path);
    if (params) return { view, params, query, path };
  }
  return { view: undefined, params: {}, query, path };
}

function match(pattern, path) {
  const wanted = pattern.split("/");
  const given = path.split("/");
  if (wanted.length !== given.length) return null;
  const params = {};
  for (const [index, part] of wanted.entries()) {
    if (part.startsWith(":")) params[part.slice(1)] = decoded(given[index]);
    else if (part !== given[index]) return null;
  }
  return params;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Show views with `render`, now and whenever the address changes. */
export function start(render) {
  show = render;
  addEventListener("popstate", follow);
  document.addEventListener("click", (event) => {
    const anchor = event.target.closest?.("a[href]");
    if (!anchor || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || anchor.target || anchor.hasAttribute("download")) return;
    const target = new URL(anchor.href);
    if (target.origin !== location.origin || !`${target.pathname}/`.startsWith(`${BASE}/`)) return;
    event.preventDefault();
    go(target.pathname + target.search, target.href === location.href);
  });
  follow();
}

function follow() {
  take(fromKey(new URLSearchParams(location.search).get("at")));
  show();
}

/** Let the address follow the point in time. */
export function keepTime() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    const query = new URLSearchParams(location.search);
    query.delete("at");
    history.replaceState(null, "", url(location.pathname, { ...Object.fromEntries(query), at: keyOf(at()) }));
  }, URL_MILLISECONDS);
}

/** Let the address keep what is open in a view, or forget it if the value is null. */
export function keep(name, value) {
  const query = Object.fromEntries(new URLSearchParams(location.search));
  history.replaceState(null, "", url(location.pathname, { ...query, [name]: value }));
}
