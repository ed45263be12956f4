// Opening and changing accounts: their labels, limits, freezes and ends.

import { get } from "../api.js";
import { h } from "../dom.js";
import { amount, words } from "../format.js";
import { link } from "../router.js";
import { memberChanges } from "./effects.js";
import { amountField, choiceField, metadataField, textField } from "./fields.js";
import { nameOf, userField } from "./picker.js";
import { pairChanges, patchOf } from "./settle.js";

const TYPES = [["", "None"], ["asset", "Asset"], ["liability", "Liability"], ["equity", "Equity"], ["income", "Income"], ["expense", "Expense"]];
const FREEZES = [["none", "Nothing: money comes and goes"], ["debits", "Debits: no money leaves it"], ["all", "All: no money leaves it or comes in"]];
const MEMBERS = { code: "Code", name: "Name", type: "Type", overdraft_limit_cents: "Overdraft limit", max_balance_cents: "Most it may hold", frozen: "Frozen", status: "Status" };
const WORLD_NOTE = "It comes from the ledger's own account, so that all balances always sum to zero.";

function madeAccount(text, account) {
  return { text, links: [h("a", { class: "button", href: link(`/accounts/${account.id}`) }, "Open the account")] };
}

/** Return the action that opens an account. */
export async function open(context) {
  const assets = await get("/v1/assets");
  let unit = "USD";
  const amounts = [
    amountField({ name: "balance_cents", label: "Opening balance", unit: () => unit, isRequired: false, from: 0n, hint: WORLD_NOTE }),
    amountField({ name: "overdraft_limit_cents", label: "Overdraft limit", unit: () => unit, isRequired: false, from: 0n, isExtra: true }),
    amountField({ name: "max_balance_cents", label: "Most it may hold", unit: () => unit, isRequired: false, from: 0n, isExtra: true }),
  ];
  const choices = assets.map(({ code, name }) => [code, name ? `${code} · ${name}` : code]);
  const chosen = (value) => { unit = value; for (const each of amounts) each.refresh(); };
  return {
    title: "Open account",
    fields: [
      userField({ name: "user_id", label: "Owner", context }),
      choiceField({ name: "currency", label: "Currency", choices, value: unit, onChange: chosen }),
      textField({ name: "code", label: "Code", hint: "Its place in the tree, such as assets:bank:main." }),
      textField({ name: "name", label: "Name" }),
      choiceField({ name: "type", label: "Type", choices: TYPES, value: "" }),
      ...amounts, metadataField({}),
    ],
    request: (body) => ({ method: "POST", path: "/v1/accounts", body }),
    preview: async (result) => memberChanges([
      ["Account", null, result.code ?? result.name ?? "new"], ["Currency", null, result.currency], ["Balance", null, amount(result.balance_cents, result.currency)],
      ["Available", null, amount(result.available_cents, result.currency)], ...membersOf({}, result), ...pairChanges({}, result.metadata),
    ].filter(([name, , after]) => after !== undefined && !["Code", "Frozen"].includes(name))),
    made: (result) => madeAccount("The account is open.", result),
  };
}

/** Return the members that differ between two states of an account. */
function membersOf(before, after) {
  const shown = (account, key) => {
    const value = account[key];
    if (value === undefined || value === null) return undefined;
    return key.endsWith("_cents") ? amount(value, account.currency) : words(value);
  };
  return Object.entries(MEMBERS).map(([key, name]) => [name, shown(before, key), shown(after, key)]).filter(([, one, other]) => one !== other);
}

/** Return an action that patches an account; `bodyOf(values)` is the patch. */
function patch(account, action, bodyOf) {
  return {
    ...action,
    request: (values) => ({ method: "PATCH", path: `/v1/accounts/${account.id}`, body: bodyOf(values) }),
    preview: async (result) => {
      const changes = [...membersOf(account, result), ...pairChanges(account.metadata ?? {}, result.metadata)];
      return changes.length > 0 ? memberChanges(changes) : h("p", { class: "muted" }, "Nothing changes.");
    },
    made: (result) => madeAccount(`${nameOf(result)} is changed.`, result),
  };
}

/** Return the action that changes an account's labels and limits. */
export function edit(context, account) {
  const { code = "", name = "", type = "", metadata = {}, currency } = account;
  const shown = (cents) => (cents === null ? "" : amount(cents, currency));
  const limit = (member, label, hint) => amountField({ name: member, label, value: shown(account[member]), unit: () => currency, isRequired: false, from: 0n, hint });
  return patch(account, {
    title: "Change the account",
    fields: [
      textField({ name: "code", label: "Code", value: code }),
      textField({ name: "name", label: "Name", value: name }),
      choiceField({ name: "type", label: "Type", choices: TYPES, value: type }),
      limit("overdraft_limit_cents", "Overdraft limit", "How far the balance may fall below zero."),
      limit("max_balance_cents", "Most it may hold", "Empty: no limit."),
      metadataField({ known: metadata, isExtra: false }),
    ],
  }, (values) => changed(account, {
    code: values.code ?? null, name: values.name ?? null, type: values.type ?? null,
    overdraft_limit_cents: values.overdraft_limit_cents ?? 0, max_balance_cents: values.max_balance_cents ?? null,
  }, patchOf(metadata, values.metadata)));
}

/** Return only what differs from the account, so that nobody else's change is undone. */
function changed(account, members, metadata) {
  const different = Object.entries(members).filter(([key, value]) => (account[key] ?? null) !== value);
  return { ...Object.fromEntries(different), ...(Object.keys(metadata).length > 0 ? { metadata } : {}) };
}

/** Return the action that freezes an account, or ends a freeze. */
export function freeze(context, account) {
  const next = account.frozen === "none" ? "debits" : "none";
  return patch(account, {
    title: account.frozen === "none" ? "Freeze the account" : "Freeze or unfreeze the account", isGrave: account.frozen === "none",
    fields: [choiceField({ name: "frozen", label: "What is frozen", choices: FREEZES, value: next })],
  }, (values) => values);
}

/** Return the action that closes an account. */
export function close(context, account) {
  return {
    title: "Close the account", isGrave: true, text: "Its balance must be zero. Its history stays readable.",
    request: () => ({ method: "DELETE", path: `/v1/accounts/${account.id}`, isDoneBy: ({ code }) => code === "account_closed" }),
    preview: async () => memberChanges([["Status", account.status, "closed"]]),
    made: () => madeAccount(`${nameOf(account)} is closed.`, account),
  };
}

/** Return the action that opens a closed account again. */
export function reopen(context, account) {
  return {
    title: "Open the account again",
    request: () => ({ method: "POST", path: `/v1/accounts/${account.id}/reopen`, body: {} }),
    preview: async (result) => memberChanges([["Status", account.status, result.status]]),
    made: (result) => madeAccount(`${nameOf(result)} is open again.`, result),
  };
}
