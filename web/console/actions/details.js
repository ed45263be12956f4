// What every transaction may have: a description, a reference, metadata, and when it counts or happens.

import { h } from "../dom.js";
import { money, timeText } from "../format.js";
import { transactionLink } from "../names.js";
import { dayField, metadataField, textField, timeField } from "./fields.js";

/** Return the fields of a transaction's details. `canBeScheduled` adds the time at which it is made. */
export function detailFields({ canBeScheduled = false } = {}) {
  return [
    textField({ name: "description", label: "Description", maxlength: 500 }),
    textField({ name: "reference", label: "Reference", hint: "Unique: a second transaction with it is refused.", isExtra: true, maxlength: 200 }),
    dayField({ name: "effective_at", label: "Takes effect on", hint: "For bookkeeping, if not when it is recorded.", isExtra: true }),
    canBeScheduled && timeField({ name: "execute_at", label: "Make it at", hint: "The service makes it then. Empty: now.", isExtra: true }),
    metadataField({}),
  ].filter(Boolean);
}

/** Return what was done, with a link to the transaction. */
export function madeTransaction(text, transaction) {
  const link = transactionLink(transaction.id, "Open the transaction");
  link.className = "button";
  return { text, links: [link] };
}

/** Return an amount in a sentence. */
export function sum(cents, currency) {
  return h("strong", {}, money(cents, currency));
}

/** Return a sentence about when a transaction is made, if not now. */
export function later({ execute_at: time }) {
  return time ? h("p", {}, "It will be made at ", h("strong", {}, timeText(time)), " and can be cancelled until then.") : null;
}
