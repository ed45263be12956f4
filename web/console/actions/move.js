// Moving money: a transfer, a hold, a journal entry.

import { h } from "../dom.js";
import { effectsOf, balances } from "./effects.js";
import { detailFields, later, madeTransaction, sum } from "./details.js";
import { amountField, timeField } from "./fields.js";
import { accountField } from "./picker.js";
import { postingsField } from "./postings.js";

/** The fields of a movement from one account to another. */
function betweenTwo(context, account) {
  const from = accountField({ name: "source_account_id", label: "From", context, account, isOwn: true, onChange: () => cents.refresh() });
  const to = accountField({ name: "destination_account_id", label: "To", context, like: () => from.account(), onChange: () => cents.refresh() });
  const unit = () => from.account()?.currency ?? to.account()?.currency ?? "USD";
  const cents = amountField({ name: "amount_cents", label: "Amount", unit });
  return [from, to, cents];
}

const names = (fields) => fields.slice(0, 2).map((field) => h("strong", {}, field.element.querySelector("input").value));

/** Return the action that transfers money, from an account if one is given. */
export function transfer(context, account = null) {
  const fields = [...betweenTwo(context, account), ...detailFields({ canBeScheduled: true })];
  const sentence = (verb, { amount_cents: cents, currency }) => { const [from, to] = names(fields); return h("p", {}, verb, sum(cents, currency), " from ", from, " to ", to, "."); };
  return {
    title: "Transfer", fields,
    request: (body) => ({ method: "POST", path: "/v1/transactions/transfer", body }),
    preview: async (result) => [sentence("Move ", result), later(result), await balances(null, result)],
    made: (result) => madeTransaction(sentence(result.status === "scheduled" ? "Scheduled " : "Moved ", result), result),
  };
}

/** Return the action that holds money for another account. */
export function hold(context, account = null) {
  const fields = [...betweenTwo(context, account), timeField({ name: "expires_at", label: "Expires at", hint: "Empty: after the service's usual time." }), ...detailFields()];
  const sentence = (verb, { amount_cents: cents, currency }) => { const [from, to] = names(fields); return h("p", {}, verb, sum(cents, currency), " of ", from, " for ", to, "."); };
  return {
    title: "Hold", text: "The money stays where it is, and cannot be spent until it is captured, released or the hold expires.", fields,
    request: (body) => ({ method: "POST", path: "/v1/transactions/hold", body }),
    preview: async (result) => [sentence("Hold ", result), await balances(null, result)],
    made: (result) => madeTransaction(sentence("Held ", result), result),
  };
}

/** Return the action that posts a journal entry. */
export function entry(context, account = null) {
  const fields = [postingsField({ context, account }), ...detailFields({ canBeScheduled: true })];
  const count = (result) => (result.status === "scheduled" ? result.postings.length : effectsOf(null, result).length);
  return {
    title: "Journal entry", text: "What is debited and what is credited must be the same in each currency.", fields, isWide: true,
    request: (body) => ({ method: "POST", path: "/v1/transactions", body }),
    preview: async (result) => [h("p", {}, `${result.postings.length} postings.`), later(result), await balances(null, result)],
    made: (result) => madeTransaction(`${result.status === "scheduled" ? "Scheduled" : "Posted"} an entry of ${result.postings.length} postings to ${count(result)} accounts.`, result),
  };
}
