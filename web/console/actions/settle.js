// What becomes of a transaction: a hold is captured or released, a transaction is reversed, amended or cancelled.

import { h } from "../dom.js";
import { amount, words } from "../format.js";
import { balances, memberChanges } from "./effects.js";
import { detailFields, madeTransaction, sum } from "./details.js";
import { amountField, checkField, metadataField, textField } from "./fields.js";
import { accountField } from "./picker.js";

/** Return what a hold still holds, in minor units. */
export const leftOf = (hold) => hold.amount_cents - (hold.captured_cents ?? 0);

/** Return what is left to reverse of a transaction between two accounts, in minor units. */
export function reversibleOf({ kind, amount_cents: cents, captured_cents: captured = 0, reversed_cents: reversed, reversed_by: by }) {
  if (by !== undefined && reversed === undefined) return 0;
  return (kind === "hold" ? captured : cents) - (reversed ?? 0);
}

/** Return the action that captures a hold, or a part of it. */
export function capture(context, hold) {
  const { currency } = hold;
  const rest = amount(leftOf(hold), currency);
  const fields = [
    amountField({ name: "amount_cents", label: "Amount", unit: () => currency, isRequired: false, placeholder: rest, hint: `${rest} ${currency} are held. Empty: all of it.` }),
    checkField({ name: "final", label: "Release the rest", isChecked: true }),
    ...detailFields(),
  ];
  return {
    title: "Capture", fields,
    request: (body) => ({ method: "POST", path: `/v1/transactions/${hold.id}/capture`, body }),
    preview: async (result) => [h("p", {}, "Capture ", sum((result.captured_cents ?? 0) - (hold.captured_cents ?? 0), currency), result.status === "pending" ? [", and keep holding ", sum(leftOf(result), currency), "."] : ". The hold ends."), await balances(hold, result)],
    made: (result) => madeTransaction(h("span", {}, "Captured ", sum((result.captured_cents ?? 0) - (hold.captured_cents ?? 0), currency), "."), result),
  };
}

/** Return the action that releases a hold. */
export function release(context, hold) {
  return {
    title: "Release the hold",
    request: () => ({ method: "POST", path: `/v1/transactions/${hold.id}/void`, body: {} }),
    preview: async (result) => [h("p", {}, "Release ", sum(leftOf(hold), hold.currency), ". The hold ends."), await balances(hold, result)],
    made: (result) => madeTransaction("The hold is released.", result),
  };
}

/** Return the action that cancels a scheduled transaction. */
export function cancel(context, scheduled) {
  return {
    title: "Cancel the scheduled transaction",
    request: () => ({ method: "POST", path: `/v1/transactions/${scheduled.id}/void`, body: {} }),
    preview: async (result) => memberChanges([["Status", words(scheduled.status), words(result.status)]]),
    made: (result) => madeTransaction("The transaction will not be made.", result),
  };
}

/** Return the action that reverses a transaction, or a part of it. */
export function reverse(context, transaction) {
  const isBetweenTwo = !transaction.postings;
  const currency = transaction.currency ?? transaction.postings[0].currency;
  const rest = isBetweenTwo ? amount(reversibleOf(transaction), currency) : null;
  const fields = [
    isBetweenTwo && amountField({ name: "amount_cents", label: "Amount", unit: () => currency, isRequired: false, placeholder: rest, hint: `${rest} ${currency} can be moved back. Empty: all of it.` }),
    ...detailFields(),
    checkField({ name: "force", label: "Even if the money was spent", hint: "The balance of the account that pays back may become negative.", isExtra: true }),
    accountField({ name: "destination_account_id", label: "Pay back to", context, isRequired: false, isExtra: true }),
  ].filter(Boolean);
  return {
    title: "Reverse", fields, isGrave: true,
    text: "A new transaction moves the money back. The first one stays as it is.",
    request: (body) => ({ method: "POST", path: `/v1/transactions/${transaction.id}/reverse`, body }),
    preview: async (result) => [result.amount_cents === undefined ? h("p", {}, "Move back all postings.") : h("p", {}, "Move back ", sum(result.amount_cents, result.currency), "."), await balances(null, result)],
    made: (result) => madeTransaction("The money was moved back.", result),
  };
}

/** Return the action that amends what a transaction says. */
export function amend(context, transaction) {
  const { description = "", metadata = {} } = transaction;
  return {
    title: "Amend", text: "What it said before stays readable, with who has changed it.",
    fields: [textField({ name: "description", label: "Description", value: description, maxlength: 500 }), metadataField({ known: metadata, isExtra: false })],
    request: (values) => {
      const pairs = patchOf(metadata, values.metadata);
      const texts = (values.description ?? "") === description ? {} : { description: values.description ?? null };
      return { method: "PATCH", path: `/v1/transactions/${transaction.id}`, body: Object.keys(pairs).length > 0 ? { ...texts, metadata: pairs } : texts };
    },
    preview: async (result) => {
      const changes = [["Description", description, result.description ?? ""], ...pairChanges(metadata, result.metadata)].filter(([, before, after]) => before !== after);
      return changes.length > 0 ? memberChanges(changes) : h("p", { class: "muted" }, "Nothing changes.");
    },
    made: (result) => madeTransaction("The transaction is amended.", result),
  };
}

/** Return the patch that makes one object of texts into another: null removes a member. */
export function patchOf(before, after = {}) {
  const gone = Object.keys(before).filter((key) => !(key in after)).map((key) => [key, null]);
  return Object.fromEntries([...gone, ...Object.entries(after).filter(([key, value]) => before[key] !== value)]);
}

/** Return the rows of metadata that change. */
export function pairChanges(before, after = {}) {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((key) => before[key] !== after[key]).map((key) => [key, before[key], after[key]]);
}
