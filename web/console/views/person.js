// A user or a machine client: facts, sessions, second factor, accounts, and what each did.

import { accountsAt } from "../account_list.js";
import { commandsTable } from "../actor.js";
import { Problem } from "../api.js";
import { changeButton } from "../dialog.js";
import { card, facts, fill, h, state } from "../dom.js";
import { amount, badge, count, idOf, shortId, statusBadge, when } from "../format.js";
import { accountLink, learn, machineName, userLink } from "../names.js";
import { fromArray, table } from "../table.js";
import { limits } from "./people.js";

const MOST_ACCOUNTS = 50;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
let lastName = "Person";

/** Return the name, once it is known. */
export const title = () => lastName;

/** Show the user or the client. */
export async function show(context) {
  const { id } = context.params;
  const isReader = context.can("admin", "auditor");
  if (!isReader && id !== context.me.id) return h("div", {}, h("h1", { class: "unseen" }, "Another user"), state("denied", "You can see no other user", "Admins and auditors can.", h("a", { href: context.link(`/people/${context.me.id}`), class: "name" }, "You and your sessions")));
  if (!UUID.test(id)) throw new Problem(404, { detail: `User not found: ${id}` });
  const name = isReader && id !== context.me.id ? await machineName(id) : null;
  if (name !== null) return machineOf(context, id, name);
  const user = await context.get(`/v1/users/${id}`, { at: true });
  learn("user", [user]);
  lastName = user.username;
  return person(context, user);
}

/** Show the view again, after something has changed. */
const again = (context) => () => context.navigate(`/people/${context.params.id}`, { query: Object.fromEntries(context.query), replace: true });

const names = (event, id) => !event || event.stream_id === id || event.topic === "AllTokensRevoked" || JSON.stringify(event.state).includes(id);

async function person(context, user) {
  const isSelf = user.id === context.me.id;
  const ours = (event) => names(event, user.id);
  const activity = context.can("admin", "auditor") ? activityOf(context, user.id) : null;
  const revoke = changeButton(context, "Revoke all tokens", {
    roles: isSelf ? context.me.roles : ["admin"], isDangerous: true, title: `Revoke all tokens of ${user.username}?`,
    text: ["All sessions end at once, on all devices.", isSelf && "This session is one of them: you have to sign in again."].filter(Boolean),
    request: { path: "/v1/auth/revoke-user", body: { user_id: user.id } }, done: again(context),
  });
  return h("div", {},
    heading(user.username, [badge(user.active ? "active" : "inactive", user.active ? "good" : "plain"), isSelf && badge("you")], [user.email, " · ", user.roles.replaceAll(",", ", "), " · ", idOf(user.id)], revoke),
    h("div", { class: "two" },
      card("Facts", facts([["Roles", user.roles.replaceAll(",", ", ")], ["Created", when(user.created_at)], ["Last changed", when(user.updated_at)]])),
      card("Second factor", secondFactor(context, user))),
    card("Sessions", sessions(context, user, ours, activity)),
    context.can("admin", "auditor", "customer") && card("Accounts", await accounts(context, user, ours)),
    activity?.element);
}

function heading(name, badges, about, action) {
  return h("header", { class: "view-head" }, h("h1", {}, name), badges, h("p", { class: "muted sub" }, about), h("div", { class: "actions" }, action));
}

function secondFactor(context, user) {
  if (!context.isNow) return h("p", { class: "muted" }, "It is known as of now only.");
  return context.panel(`/v1/users/${user.id}/totp`, { live: (event) => event?.stream_id === user.id, lines: 1 }, ({ enabled, recovery_codes_left: left }) => h("div", { class: "row-of" },
    badge(enabled ? "on" : "off", enabled ? "good" : "plain"),
    h("p", { class: "muted" }, enabled ? `Logins need a code. ${count(left)} recovery ${left === 1 ? "code is" : "codes are"} left.` : "Logins need the password alone."),
    enabled && h("div", { class: "actions" }, changeButton(context, "Remove", {
      roles: ["admin"], isDangerous: true, name: "Remove the second factor", title: `Remove the second factor of ${user.username}?`,
      text: "It is for users who have lost their device. Logins then need the password alone, and all sessions of the user end.",
      verb: "Remove it", request: { method: "DELETE", path: `/v1/users/${user.id}/totp` }, done: again(context),
    }))));
}

function sessions(context, user, ours, activity) {
  if (!context.isNow) return h("p", { class: "muted" }, "Sessions are known as of now only.");
  if (user.id !== context.me.id && !context.can("admin")) return h("p", { class: "muted" }, "Only admins see the sessions of others.");
  return context.panel("/v1/auth/sessions", { query: { user_id: user.id, limit: 200 }, live: ours }, (found) => {
    if (found.length === 0) return h("p", { class: "muted" }, "No session is open.");
    const grid = table({ label: "Sessions", columns: sessionColumns(context, user), source: fromArray(found), onOpen: activity && ((session) => activity.choose(session.id)) });
    grid.classList.add("bounded");
    return grid;
  });
}

function sessionColumns(context, user) {
  const isThis = (session) => session.id === context.me.session_id;
  const agent = (session) => h("span", { title: session.agent ?? null }, agentName(session.agent));
  const mark = (session) => isThis(session) && [" ", badge("this session", "good")];
  const address = (session) => session.address ?? h("span", { class: "muted" }, "–");
  const end = (session) => changeButton(context, "End", {
    isDangerous: true, name: `End session ${shortId(session.id)}`, title: isThis(session) ? "End this session?" : `End a session of ${user.username}?`,
    text: [`${agentName(session.agent)} at ${session.address ?? "an unknown address"}. Its tokens are dead at once.`, isThis(session) && "You have to sign in again."].filter(Boolean),
    verb: "End session", request: { method: "DELETE", path: `/v1/auth/sessions/${session.id}` }, done: again(context),
  });
  return [
    { title: "Agent", width: "minmax(0, 2fr)", from: 640, cell: (session) => [agent(session), mark(session)] },
    { title: "Address", width: "minmax(0, 1fr)", from: 640, cell: address },
    { title: "Agent, address", width: "minmax(0, 2fr)", upto: 640, cell: (session) => h("span", { class: "lines" }, h("span", {}, agent(session)), h("span", { class: "muted" }, address(session), mark(session))) },
    { title: "Last used", width: "clamp(5rem, 18vw, 10rem)", cell: (session) => when(session.refreshed_at, { short: true }) },
    { title: "Began", width: "10rem", from: 800, cell: (session) => when(session.created_at, { short: true }) },
    { title: "Ends", width: "10rem", from: 1000, cell: (session) => when(session.expires_at) },
    { title: "Id", width: "7rem", from: 900, cell: (session) => idOf(session.id) },
    { width: "4.5rem", end: true, cell: end },
  ];
}

const AGENTS = [[/Edg\/(\d+)/, "Edge"], [/Firefox\/(\d+)/, "Firefox"], [/(?:Headless)?Chrome\/(\d+)/, "Chrome"], [/Version\/(\d+).* Safari\//, "Safari"]];
const SYSTEMS = [[/Android/, "Android"], [/iPhone|iPad/, "iOS"], [/Windows/, "Windows"], [/Mac OS X/, "macOS"], [/Linux/, "Linux"]];

/** Return a user agent as one calls it, such as "Firefox 145 on Linux". */
function agentName(agent) {
  if (!agent) return "An unknown agent";
  const [, name] = AGENTS.find(([pattern]) => pattern.test(agent)) ?? [];
  if (!name) return agent;
  const version = AGENTS.find(([pattern]) => pattern.test(agent))[0].exec(agent)[1];
  const system = SYSTEMS.find(([pattern]) => pattern.test(agent))?.[1];
  return `${name} ${version}${system ? ` on ${system}` : ""}`;
}

async function accounts(context, user, ours) {
  if (!context.isNow) return accountsThen(context, user);
  return context.panel("/v1/accounts", { query: { user_id: user.id, limit: MOST_ACCOUNTS }, live: ours }, (found) => {
    learn("account", found);
    return [accountsTable(context, found), found.length === MOST_ACCOUNTS && h("p", { class: "muted" }, `The newest ${MOST_ACCOUNTS} are shown.`)];
  });
}

/** Return the accounts that the user owned at the point in time, out of all accounts of then. */
async function accountsThen(context, user) {
  const place = h("div", {});
  const list = await accountsAt(context);
  const draw = () => fill(place, accountsTable(context, list.accounts.filter((account) => account.user_id === user.id)));
  context.onLeave(list.onChange(draw));
  draw();
  return place;
}

function accountsTable(context, found) {
  if (found.length === 0) return h("p", { class: "muted" }, "No account.");
  const grid = table({ label: "Accounts", source: fromArray(found), onOpen: (account) => context.navigate(`/accounts/${account.id}`), columns: [
    { title: "Account", width: "minmax(0, 2fr)", cell: (account) => accountLink(account.id) },
    { title: "Name", from: 640, cell: (account) => account.name ?? "" },
    { title: "Status", width: "7rem", from: 440, cell: (account) => statusBadge(account.status) },
    { title: "Held", width: "minmax(0, 9rem)", from: 800, end: true, cell: (account) => (account.held_cents ? amount(account.held_cents, account.currency) : "") },
    { title: "Balance", width: "minmax(8rem, 11rem)", end: true, cell: (account) => [amount(account.balance_cents, account.currency), " ", h("span", { class: "unit" }, account.currency)] },
  ] });
  grid.classList.add("bounded");
  return grid;
}

/** Return the card of what an actor did, with a function that shows what one of its sessions did. */
function activityOf(context, id) {
  const place = h("div", {});
  const all = h("button", { type: "button", class: "plain", hidden: true, title: "Show all sessions", onclick: () => draw(null) });
  const draw = (session) => {
    all.hidden = !session;
    fill(all, session && `session ${shortId(session)} ✕`);
    fill(place, commandsTable(context, session ?? id, choose));
  };
  const choose = (session) => {
    draw(session);
    element.scrollIntoView({ block: "nearest" });
    place.firstChild.focus({ preventScroll: true });
  };
  const element = card("Activity", place, { actions: all, className: "activity" });
  draw(null);
  return { element, choose };
}

/** Return a machine client; of one that is revoked, and for auditors, the log alone knows. */
async function machineOf(context, id, name) {
  lastName = name;
  const [revoked] = await context.get("/v1/events", { query: { stream: id, topic: "ClientRevoked", limit: 1 } });
  if (context.can("admin") && !revoked) return machine(context, id);
  return h("div", {},
    heading(name, [badge("machine"), revoked && badge("revoked", "bad")], [revoked && ["revoked ", when(revoked.recorded_at), " · "], idOf(id)], null),
    revoked ? null : h("p", { class: "muted" }, "Only admins see the roles and secrets of machine clients."),
    activityOf(context, id).element);
}

async function machine(context, id) {
  const client = await context.get(`/v1/clients/${id}`);
  lastName = client.name;
  const revoke = changeButton(context, "Revoke client", {
    roles: ["admin"], isDangerous: true, title: `Revoke ${client.name}?`, text: "Its secrets and its tokens are dead at once. It cannot be undone.",
    request: { method: "DELETE", path: `/v1/clients/${id}` }, done: () => context.navigate("/people", { query: { show: "machines" } }),
  });
  return h("div", {},
    heading(client.name, badge("machine"), [client.roles.replaceAll(",", ", "), " · ", idOf(id)], revoke),
    h("div", { class: "two" },
      card("Facts", facts([["Roles", client.roles.replaceAll(",", ", ")], ["Limits", limits(client)], ["Created", when(client.created_at)], ["Last changed", when(client.updated_at)]])),
      card("Scopes", h("ul", { class: "plain-list" }, client.scope.split(" ").map((scope) => h("li", {}, h("code", {}, scope)))))),
    card("Secrets", h("ul", { class: "plain-list" }, client.secrets.map((secret) => h("li", {}, idOf(secret.id), secret.expires_at ? h("span", { class: "muted" }, "ends ", when(secret.expires_at)) : badge("in use", "good"))))),
    client.account_ids && card("Accounts", h("ul", { class: "plain-list" }, client.account_ids.map((account) => h("li", {}, accountLink(account))))),
    client.user_ids && card("Accounts of", h("ul", { class: "plain-list" }, client.user_ids.map((user) => h("li", {}, userLink(user))))),
    activityOf(context, id).element);
}
