// What a change does to balances, from the transaction as it is and as it would be.

import { get } from "../api.js";
import { h } from "../dom.js";
import { amount } from "../format.js";
import { nameOf } from "./picker.js";

/** Return how a transaction bears on accounts: a map of ids to { balance, held }. */
function bearingOf(transaction) {
  const all = new Map();
  const add = (id, balance, held = 0) => {
    const before = all.get(id) ?? { balance: 0n, held: 0n };
    all.set(id, { balance: before.balance + BigInt(balance), held: before.held + BigInt(held) });
  };
  if (!transaction || ["scheduled", "failed"].includes(transaction.status)) return all;
  const { kind, status, postings, source_account_id: from, destination_account_id: to, amount_cents: cents } = transaction;
  if (postings) for (const posting of postings) add(posting.account_id, posting.amount_cents);
  else if (kind === "hold") {
    const captured = transaction.captured_cents ?? 0;
    add(from, -captured, status === "pending" ? cents - captured : 0);
    add(to, captured);
  } else if (status !== "voided") {
    add(from, -cents);
    add(to, cents);
  }
  return all;
}

/** Return what changes between two states of a transaction (null before there is one): [{ id, balance, held }…]. */
export function effectsOf(before, after) {
  const [was, will] = [bearingOf(before), bearingOf(after)];
  const none = { balance: 0n, held: 0n };
  return [...new Set([...was.keys(), ...will.keys()])].map((id) => {
    const [one, other] = [was.get(id) ?? none, will.get(id) ?? none];
    return { id, balance: other.balance - one.balance, held: other.held - one.held };
  }).filter(({ balance, held }) => balance !== 0n || held !== 0n);
}

/** Return a table of the balances before and after, of the accounts that the reader may see. */
export async function balances(before, after) {
  const effects = effectsOf(before, after);
  const accounts = await Promise.all(effects.map(({ id }) => get(`/v1/accounts/${id}`).catch((problem) => { if (problem.status === 404) return null; throw problem; })));
  const groups = effects.map((effect, index) => accounts[index] && { title: nameOf(accounts[index]), unit: accounts[index].currency, lines: linesOf(accounts[index], effect) }).filter(Boolean);
  const hidden = effects.length - groups.length;
  return [
    groups.length > 0 && changesTable(groups),
    effects.length === 0 && h("p", { class: "muted" }, "No balance changes now."),
    hidden > 0 && h("p", { class: "muted" }, hidden === 1 ? "The other account belongs to somebody else." : `${hidden} accounts belong to others.`),
  ];
}

function linesOf(account, { balance, held }) {
  const { currency } = account;
  const line = (name, now, by) => by !== 0n && { name, before: amount(now, currency), after: amount(BigInt(now) + by, currency), change: `${by > 0n ? "+" : ""}${amount(by, currency)}`, isNegative: BigInt(now) + by < 0n };
  const isApart = account.available_cents !== account.balance_cents || held !== 0n; // else it says the same as the balance
  const available = account.user_id !== null && isApart && line("Available", account.available_cents, balance - held);
  return [line("Balance", account.balance_cents, balance), line("Held", account.held_cents, held), available].filter(Boolean);
}

/** Return a table of what changes: groups of a title and lines of { name, before, after, change }. */
export function changesTable(groups) {
  const head = (text, unseen = false) => h("th", { scope: "col" }, unseen ? h("span", { class: "unseen" }, text) : text);
  return h("table", { class: "changes" },
    h("thead", {}, h("tr", {}, head("What", true), head("Before"), head("Change"), head("After"))),
    groups.map(({ title, unit, lines }) => h("tbody", {},
      title && h("tr", { class: "group" }, h("th", { scope: "rowgroup", colspan: 4 }, title, unit && h("span", { class: "unit" }, ` ${unit}`))),
      lines.map(({ name, before, after, change = "", isNegative }) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, before), h("td", {}, change), h("td", { class: isNegative ? "after negative" : "after" }, after))))));
}

/** Return a table of members that change: [[name, before, after]…]; what is absent is a dash. */
export function memberChanges(members) {
  const text = (value) => (value === undefined || value === null || value === "" ? "–" : value);
  return h("table", { class: "changes members" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "unseen" }, "Member")), h("th", { scope: "col" }, "Before"), h("th", { scope: "col" }, "After"))),
    h("tbody", {}, members.map(([name, before, after]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, text(before)), h("td", { class: "after" }, text(after))))));
}
