// The users, with a search as one types and filters; and the machine clients, for admins.

import { fill, h, state } from "../dom.js";
import { badge, count, idOf, when } from "../format.js";
import { learn } from "../names.js";
import { table } from "../table.js";

export const title = "People and machines";

const FIRST = 400; // users, so that there is something to show at once
const PAGE = 1000;
const MOST = 20_000; // users in memory; others are found by their exact name
const TYPING_MILLISECONDS = 60;
const ROLES = ["admin", "auditor", "customer", "guest"];

/** Show the users, or with `?show=machines` the machine clients. */
export async function show(context) {
  return context.query.get("show") === "machines" && context.can("admin") ? machines(context) : users(context);
}

function heading(context, isMachines, ...others) {
  const tab = (text, query, isCurrent) => h("a", { href: context.link("/people", query), "aria-current": isCurrent ? "page" : null }, text);
  return h("header", { class: "view-head" },
    h("h1", { class: "unseen" }, isMachines ? "Machine clients" : "Users"),
    h("div", { class: "sub-tabs large" }, h("nav", { "aria-label": "People and machines" }, tab("Users", {}, !isMachines), context.can("admin") && tab("Machines", { show: "machines" }, isMachines))),
    others);
}

function users(context) {
  const summary = h("p", { class: "muted", role: "status" });
  const form = filters(context);
  const found = reader(context, () => draw());
  const grid = table({ label: "Users", columns: USER_COLUMNS(context), source: found.source, onOpen: (user) => context.navigate(`/people/${user.id}`), empty: "No user fits", signal: context.signal });

  const draw = () => {
    const given = Object.fromEntries(new FormData(form));
    const fitting = found.users.filter((user) => fits(user, given));
    grid.update(fitting);
    fill(summary, `${count(fitting.length)} ${fitting.length === 1 ? "user" : "users"}${found.isCut ? " of the newest" : found.isComplete ? "" : ", more are coming"}`);
    if (found.isCut && given.q) void found.byName(given.q);
  };
  let timer = 0;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => { keepFilters(context, form); grid.scrollTop = 0; draw(); }, TYPING_MILLISECONDS);
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); grid.focusFirst(); });
  context.onLeave(() => clearTimeout(timer));
  return h("div", { class: "full" }, heading(context, false, summary, form), grid);
}

function filters(context) {
  const given = context.query;
  const choice = (name, text, choices) => h("select", { name, "aria-label": text }, h("option", { value: "" }, text), choices.map((each) => h("option", { value: each, selected: given.get(name) === each }, each)));
  return h("form", { class: "filters", role: "search", "aria-label": "Users" },
    h("input", { type: "search", name: "q", class: "wide", value: given.get("q") ?? "", placeholder: "Name, e-mail address or id", "aria-label": "Words", autocomplete: "off", spellcheck: "false" }),
    choice("role", "Any role", ROLES), choice("status", "Active or not", ["active", "inactive"]));
}

function keepFilters(context, form) {
  history.replaceState(null, "", context.link("/people", Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""))));
}

function fits(user, { q = "", role = "", status = "" }) {
  if (role && !user.roles.split(",").includes(role)) return false;
  if (status && user.active !== (status === "active")) return false;
  const text = `${user.username} ${user.email} ${user.id}`.toLowerCase();
  return q.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

/** Read all users page by page, call `changed` after each page, and again when events name users. */
function reader(context, changed) {
  const found = { users: [], isComplete: false, isCut: false, byName, source: { first: "all", load: async () => { await read(); return { items: found.users, next: null }; } } };
  const asked = new Set(); // names

  async function read() {
    const all = [];
    const take = ({ items, next }) => {
      learn("user", items);
      all.push(...items);
      const isLast = next === null || all.length >= MOST;
      if (!found.isComplete || isLast) Object.assign(found, { users: [...all], isComplete: isLast, isCut: isLast && next !== null });
      return isLast ? null : next.replace(/([?&]limit=)\d+/, `$1${PAGE}`);
    };
    const rest = async (next) => {
      for (let more = next; more;) { more = take(await context.page(more)); changed(); }
    };
    const next = take(await context.page("/v1/users", { query: { limit: FIRST }, at: true }));
    setTimeout(() => { changed(); void rest(next).catch(() => {}); });
  }

  async function byName(username) {
    if (asked.has(username)) return;
    asked.add(username);
    const named = await context.get("/v1/users", { query: { username }, at: true }).catch(() => []);
    const known = new Set(found.users.map((user) => user.id));
    found.users.push(...named.filter((user) => !known.has(user.id)));
    if (named.length > 0) changed();
  }

  let timer = 0;
  context.onEvent((event) => { if (event?.topic.startsWith("User")) timer ||= setTimeout(() => { timer = 0; void read().catch(() => {}); }, 500); });
  context.onLeave(() => clearTimeout(timer));
  return found;
}

const nameLink = (context, user) => h("a", { href: context.link(`/people/${user.id}`), class: "name", title: user.username }, user.username);
const activeBadge = (user) => badge(user.active ? "active" : "inactive", user.active ? "good" : "plain");
const rolesText = (roles) => roles.replaceAll(",", ", ");

const USER_COLUMNS = (context) => [
  { title: "User", width: "minmax(0, 2fr)", from: 640, cell: (user) => nameLink(context, user) },
  { title: "User", width: "minmax(0, 2fr)", upto: 640, cell: (user) => h("span", { class: "lines" }, h("span", {}, nameLink(context, user)), h("span", { class: "muted" }, user.email)) },
  { title: "E-mail address", width: "minmax(0, 2fr)", from: 640, cell: (user) => user.email },
  { title: "Roles", width: "minmax(5rem, 1.2fr)", from: 440, cell: (user) => rolesText(user.roles) },
  { title: "Status", width: "6rem", cell: activeBadge },
  { title: "Created", width: "10rem", from: 900, cell: (user) => when(user.created_at, { short: true }) },
  { title: "Changed", width: "10rem", from: 1200, cell: (user) => when(user.updated_at, { short: true }) },
  { title: "Id", width: "7rem", from: 760, cell: (user) => idOf(user.id) },
];

function machines(context) {
  if (!context.isNow) return h("div", {}, heading(context, true), state("empty", "Machine clients are known as of now only", "Their events are in the log."));
  const source = context.source("/v1/clients");
  const grid = table({ label: "Machine clients", source, signal: context.signal, empty: "No machine client is registered", onOpen: (client) => context.navigate(`/people/${client.id}`), columns: [
    { title: "Client", width: "minmax(0, 1.4fr)", cell: (client) => h("a", { href: context.link(`/people/${client.id}`), class: "name", title: client.name }, client.name) },
    { title: "Roles", width: "minmax(5rem, .8fr)", cell: (client) => rolesText(client.roles) },
    { title: "Scopes", width: "minmax(0, 2fr)", from: 640, cell: (client) => h("span", { title: client.scope }, client.scope) },
    { title: "Limits", width: "minmax(0, 1fr)", from: 760, cell: limits },
    { title: "Secrets", width: "5rem", end: true, from: 900, cell: (client) => count(client.secrets.length) },
    { title: "Created", width: "10rem", from: 1000, cell: (client) => when(client.created_at, { short: true }) },
    { title: "Id", width: "7rem", from: 640, cell: (client) => idOf(client.id) },
  ] });
  return h("div", { class: "full" }, heading(context, true), grid);
}

/** Return what a machine client is limited to. */
export function limits({ account_ids: accounts, user_ids: users }) {
  const number = (ids, one) => ids && `${count(ids.length)} ${ids.length === 1 ? one : `${one}s`}`;
  const parts = [number(accounts, "account"), users && `accounts of ${number(users, "user")}`].filter(Boolean);
  return parts.length > 0 ? parts.join(", ") : h("span", { class: "muted" }, "no limits");
}
