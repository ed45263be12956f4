// Names of accounts and users: links that show an id at once, and a name as soon as it is known.

import { get } from "./api.js";
import { h } from "./dom.js";
import { shortId } from "./format.js";
import { link } from "./router.js";
import { can, who } from "./session.js";

const MAX_KNOWN = 20_000;
const MAX_ASKING = 4; // requests at the same time
const known = new Map(); // by kind and id
const machines = new Map(); // names by id; null for what is no machine client
const waiting = new Map(); // elements that wait for a name, by kind and id
const queue = [];
let asking = 0;

const KINDS = {
  account: { path: "/v1/accounts/", name: (body) => body.code ?? body.name ?? (body.user_id === null ? `world ${body.currency}` : null) },
  user: { path: "/v1/users/", name: (body) => body.username },
};

/** Take note of the accounts or users of a list, so that nobody has to ask for their names. */
export function learn(kind, bodies) {
  if (known.size > MAX_KNOWN) known.clear();
  for (const body of bodies) known.set(kind + body.id, KINDS[kind].name(body));
}

/** Return a link to an account that shows its code or name. Customers get no link to accounts of others. */
export function accountLink(id) {
  if (id === null) return h("span", { class: "muted" }, "several");
  if (!can("admin", "auditor") && !known.has(`account${id}`)) return h("span", { class: "id", title: id }, shortId(id));
  return named("account", id, h("a", { href: link(`/accounts/${id}`), class: "name", title: id }));
}

/** Return the name of a user; for those who may read users, a link. */
export function userLink(id) {
  if (id === null) return h("span", { class: "muted" }, "the ledger");
  if (id === who()?.id) return h("span", { title: id }, who().username);
  if (!can("admin", "auditor")) return h("span", { class: "id", title: id }, shortId(id));
  return named("user", id, h("a", { href: link(`/people/${id}`), class: "name", title: id }));
}

/** Return the name of who sent a command, a user or a machine client; the log knows which. */
export function actorLink(id) {
  if (id === null || id === who()?.id || known.has(`user${id}`) || !can("admin", "auditor")) return userLink(id);
  const place = h("span", { class: "id", title: id }, shortId(id));
  void machineName(id).then((name) => place.replaceWith(name === null ? userLink(id) : machineLink(id, name))).catch(() => {});
  return place;
}

/** Return the name of a machine client, or null if the id is not that of one. For admins and auditors. */
export async function machineName(id) {
  if (known.has(`user${id}`)) return null;
  if (!machines.has(id)) {
    const [first] = await get("/v1/events", { query: { stream: id, limit: 1 } });
    machines.set(id, first?.topic === "ClientRegistered" ? first.state.name : null);
  }
  return machines.get(id);
}

function machineLink(id, name) {
  return h("a", { href: link(`/people/${id}`), class: "name", title: id }, name);
}

/** Return a link to a transaction. */
export function transactionLink(id, text = shortId(id)) {
  return h("a", { href: link(`/transactions/${id}`), class: "id", title: id }, text);
}

function named(kind, id, element) {
  const key = kind + id;
  element.append(known.get(key) ?? shortId(id));
  if (known.has(key)) return element;
  if (!waiting.has(key)) {
    waiting.set(key, []);
    queue.push({ kind, id, key });
    ask();
  }
  waiting.get(key).push(new WeakRef(element));
  return element;
}

function ask() {
  while (asking < MAX_ASKING && queue.length > 0) {
    asking += 1;
    void answer(queue.pop()).finally(() => { asking -= 1; ask(); });
  }
}

async function answer({ kind, id, key }) {
  const body = await get(KINDS[kind].path + id).catch(() => null);
  const elements = waiting.get(key) ?? [];
  waiting.delete(key);
  if (!body) return;
  learn(kind, [body]);
  const name = known.get(key);
  if (name) for (const element of elements) element.deref()?.replaceChildren(name);
}
