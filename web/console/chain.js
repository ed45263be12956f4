// What became of a transaction: a hold and its captures, the execution of a schedule, reversals.

import { h } from "./dom.js";
import { amount, when } from "./format.js";
import { transactionLink } from "./names.js";

const ENDS = { voided: "Released", expired: "Expired" };

/** Return how an amount is made up: [{ cents, kind, text }], where the kind is moved, open or ended. */
export function partsOf(transaction) {
  const { kind, status, amount_cents: cents } = transaction;
  if (kind !== "hold") return [{ cents, kind: status === "posted" ? "moved" : status === "scheduled" ? "open" : "ended", text: status === "posted" ? "" : status }];
  const captured = status === "captured" ? (transaction.captured_cents ?? cents) : (transaction.captured_cents ?? 0);
  const rest = cents - captured;
  const isOpen = status === "pending";
  return [
    captured > 0 && { cents: captured, kind: "moved", text: "captured" },
    rest > 0 && { cents: rest, kind: isOpen ? "open" : "ended", text: isOpen ? "held" : status === "expired" ? "expired" : "released" },
  ].filter(Boolean);
}

/** Return the steps from a transaction to its last reversal, as a list; the step of the shown one is marked. */
export function chainOf(transaction, reversals, shownId) {
  const steps = [...stepsOf(transaction), ...reversals.map((each) => reversalStep(each, transaction.id))];
  return h("ol", { class: "chain" }, steps.map((step) => stepOf(step, step.id === shownId)));
}

function stepsOf(transaction) {
  const { id, kind, status, created_at: at } = transaction;
  if (transaction.execute_at) return scheduleSteps(transaction);
  if (kind !== "hold") return [{ id, name: { transfer: "Transferred", journal: "Entry posted" }[kind] ?? "Posted", at, text: totalText(transaction) }];
  const captured = transaction.captured_cents ?? (status === "captured" ? transaction.amount_cents : 0);
  const captures = transaction.captures ?? (captured > 0 ? [{ amount_cents: captured, created_at: transaction.settled_at }] : []);
  const rest = transaction.amount_cents - captured;
  return [
    { id, name: "Held", at, text: totalText(transaction) },
    ...captures.map((each) => ({ name: "Captured", at: each.created_at, text: money(each.amount_cents, transaction), note: each.reference ?? each.description })),
    status === "pending" && { name: "Expires", at: transaction.expires_at, text: money(rest, transaction), isOpen: true },
    status in ENDS && { name: ENDS[status], at: transaction.settled_at ?? transaction.expires_at, text: money(rest, transaction), isEnd: true },
    status === "captured" && rest > 0 && { name: "Released", text: money(rest, transaction), isEnd: true },
  ].filter(Boolean);
}

function scheduleSteps(transaction) {
  const { id, status, created_at: at, execute_at: due, settled_at: settled } = transaction;
  const outcome = {
    scheduled: { name: "Due", at: due, isOpen: true },
    posted: { name: "Executed", at: settled },
    failed: { name: "Failed", at: settled, isEnd: true, note: transaction.failure_codes?.join(", ") },
  }[status] ?? { name: "Cancelled", at: settled, isEnd: true };
  return [{ id, name: "Scheduled", at, text: totalText(transaction) }, outcome];
}

function reversalStep(reversal, originalId) {
  return { id: reversal.id, name: "Reversed", at: reversal.created_at, text: totalText(reversal), isLink: reversal.id !== originalId, note: reversal.reference ?? reversal.description };
}

function totalText(transaction) {
  if (!transaction.postings) return money(transaction.amount_cents, transaction);
  const [{ currency }] = transaction.postings;
  const cents = transaction.postings.filter((each) => each.currency === currency && each.amount_cents > 0).reduce((sum, each) => sum + BigInt(each.amount_cents), 0n);
  return money(cents, { currency });
}

function money(cents, { currency }) {
  return `${amount(cents, currency)} ${currency}`;
}

function stepOf({ id, name, at, text, note, isOpen, isEnd }, isShown) {
  return h("li", { class: [isShown && "shown", isOpen && "open", isEnd && "ended"].filter(Boolean).join(" ") || null, "aria-current": isShown ? "step" : null },
    h("span", { class: "step-name" }, id && !isShown ? transactionLink(id, name) : name),
    text && h("span", { class: "step-amount" }, text),
    at && h("span", { class: "muted" }, when(at, { short: true })),
    note && h("span", { class: "muted step-note", title: note }, note));
}
