// The list of transactions, newest first, with filters in the address. New ones appear at the top.

import { newActions } from "../actions/index.js";
import { h, noTransactions, state } from "../dom.js";
import { table } from "../table.js";
import { aboutTransactions, COLUMNS } from "../transaction_table.js";

export const title = "Transactions";

const FILTERS = [
  { name: "kind", text: "Kind", choices: ["transfer", "journal", "hold", "reversal", "opening", "adjustment"] },
  { name: "status", text: "Status", choices: ["posted", "pending", "captured", "voided", "expired", "scheduled", "failed"] },
  { name: "currency", text: "Currency" },
  { name: "reference", text: "Reference" },
];

/** Show the list. */
export async function show(context) {
  const given = Object.fromEntries(context.query);
  const { first, load } = context.source("/v1/transactions", { query: given, at: true });
  let newest; // the id of the first row; undefined before the first page, null if that is empty
  const source = {
    first,
    load: async (address) => {
      const page = await load(address);
      if (address === first) newest = page.items[0]?.id ?? null;
      return page;
    },
  };
  const empty = () => (context.query.size > 0 ? state("empty", "No transaction fits") : noTransactions(context));
  const grid = table({ label: title, columns: COLUMNS, source, onOpen: (each) => context.navigate(`/transactions/${each.id}`), empty });
  context.follow(async () => {
    const { items } = await context.page(first).catch(() => ({ items: [] }));
    if (newest === undefined || items.length === 0 || items[0].id === newest) return;
    const index = items.findIndex(({ id }) => id === newest);
    if (index < 0 && newest !== null) return grid.reload(source); // there are more new ones than in a page
    grid.prepend(items.slice(0, index < 0 ? items.length : index));
    newest = items[0].id;
  }, aboutTransactions);
  return h("div", { class: "full" },
    h("header", { class: "view-head" }, h("h1", {}, title), filters(context, given), h("div", { class: "actions" }, newActions(context, ["transfer", "hold", "entry"]))),
    grid);
}

function filters(context, given) {
  const change = (event) => {
    event.preventDefault?.();
    const query = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
    context.navigate("/transactions", { query });
  };
  const form = h("form", { class: "filters", onsubmit: change, onchange: change }, FILTERS.map(({ name, text, choices }) => h("label", {}, h("span", { class: "unseen" }, text),
    choices
      ? h("select", { name, class: given[name] ? "set" : null }, h("option", { value: "" }, `Any ${text.toLowerCase()}`), choices.map((choice) => h("option", { value: choice, selected: given[name] === choice }, choice)))
      : h("input", { name, value: given[name] ?? "", placeholder: text, autocomplete: "off", spellcheck: "false" }))));
  return form;
}
