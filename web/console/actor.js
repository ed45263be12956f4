// What a user, a machine client or a session did: the commands, newest first, each with its outcome.

import { showJson } from "./dialog.js";
import { copyable, h } from "./dom.js";
import { badge, count, money, shortId, when, words } from "./format.js";
import { accountLink, transactionLink } from "./names.js";
import { table } from "./table.js";

/** Return the table of the commands of an actor, up to the point in time. `onSession` is called with the id of one. */
export function commandsTable(context, actorId, onSession) {
  const source = context.source(`/v1/audit/actors/${actorId}`);
  if (context.at?.time) source.load = until(context.at.time, source.load);
  return table({ label: "What was done", columns: columns(context, onSession), source, signal: context.signal, empty: "Nothing yet", onOpen: (command) => showJson(nameOf(command), command) });
}

function until(time, load) {
  const end = new Date(time);
  return async (address, signal) => {
    const { items, next } = await load(address, signal);
    return { items: items.filter((command) => new Date(command.recorded_at) <= end), next };
  };
}

/** Return a command's name as one reads it: `TransferMoney` is "Transfer money". */
function nameOf({ name }) {
  const text = name.replaceAll(/(?<=[a-z])(?=[A-Z])/g, " ").toLowerCase();
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function columns(context, onSession) {
  const muted = (text) => h("span", { class: "muted" }, text);
  return [
    { title: "Time", width: "clamp(5rem, 18vw, 10rem)", cell: (command) => when(command.recorded_at, { short: true }) },
    { title: "What", width: "minmax(0, 11rem)", from: 640, cell: nameOf },
    { title: "Outcome", width: "6rem", from: 640, cell: outcome },
    { title: "About", from: 640, cell: (command) => subject(context, command) },
    { title: "What, about", upto: 640, cell: (command) => h("span", { class: "lines" }, h("span", {}, nameOf(command), command.outcome === "refused" && [" ", outcome(command)]), h("span", {}, subject(context, command))) },
    { title: "Session", width: "7rem", from: 900, cell: (command) => (command.session_id ? h("button", { type: "button", class: "copy", title: "Show what this session did", onclick: () => onSession(command.session_id) }, shortId(command.session_id)) : muted("–")) },
    { title: "Request", width: "7rem", from: 1000, cell: (command) => (command.request_id ? copyable(command.request_id, shortId(command.request_id)) : muted("–")) },
  ];
}

const outcome = (command) => badge(command.outcome, command.outcome === "refused" ? "bad" : "good");

/** Return what a command was about: the reasons of a refusal, an amount with its transaction, an account or a user. */
function subject(context, { name, outcome: how, result }) {
  if (how === "refused") return h("span", { title: reasons(result) }, reasons(result));
  if (!result) return "";
  if (Array.isArray(result.results)) return `${count(result.results.length)} transfers`;
  if (result.postings) return [`${count(result.postings.length)} postings `, transactionLink(result.id)];
  if (result.amount_cents !== undefined && result.currency && /Money|Transfer|Hold|Transaction|Schedule/.test(name)) return [money(result.amount_cents, result.currency), " ", transactionLink(result.id)];
  if (/Account/.test(name) && result.id) return accountLink(result.id);
  if (result.username) return h("a", { href: context.link(`/people/${result.id}`), class: "name" }, result.username);
  if (result.name) return h("a", { href: context.link(`/people/${result.id}`), class: "name" }, result.name);
  if (result.session_id) return h("span", { class: "muted" }, "session ", h("span", { class: "id" }, shortId(result.session_id)));
  return result.through ? `through ${result.through}` : "";
}

function reasons(result) {
  return [result].flat().map((reason) => reason.message ?? words(reason.code ?? "")).join("; ");
}
