// The search box: an id, a code, a reference or words lead to an account, a transaction, or a list of them.

import { get } from "./api.js";
import { h } from "./dom.js";
import { navigate } from "./router.js";
import { can } from "./session.js";

const UUID = /^[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}$/i;
const CODE = /^[\w.-]+(?::[\w.-]+)+$/;
const FIRST_TOPICS = { // of the streams that a view shows
  people: ["UserCreated", "ClientRegistered"],
  transactions: ["MoneyTransferred", "JournalEntryPosted", "HoldPlaced", "TransactionReversed", "TransactionScheduled"],
};

/** Return the search box. */
export function searchBox() {
  const input = h("input", { type: "search", id: "search", placeholder: "Search accounts, ids, references", "aria-label": "Search accounts, ids and references", autocomplete: "off", spellcheck: "false" });
  const form = h("form", { class: "search", role: "search" }, input, h("kbd", { "aria-hidden": "true" }, "/"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) return;
    const found = await find(text);
    navigate(found.path, { query: found.query });
    input.value = "";
    input.blur();
  });
  return form;
}

async function find(text) {
  if (UUID.test(text)) {
    if (can("admin", "auditor")) return placeOf(text);
    if (await exists(`/v1/transactions/${text}`)) return { path: `/transactions/${text}` };
    return { path: `/accounts/${text}` };
  }
  if (CODE.test(text)) {
    const account = await exists(`/v1/accounts/${encodeURIComponent(text)}`);
    if (account) return { path: `/accounts/${account.id}` };
  }
  const [transaction] = (await exists("/v1/transactions", { reference: text, limit: 1 })) ?? [];
  return transaction ? { path: "/transactions", query: { reference: text } } : { path: "/accounts", query: { q: text } };
}

/** Return where something is shown, by the first event of its id. */
async function placeOf(id) {
  const [first] = (await exists("/v1/events", { stream: id, limit: 1 })) ?? [];
  const [view] = Object.entries(FIRST_TOPICS).find(([, topics]) => topics.includes(first?.topic)) ?? ["accounts"];
  return { path: `/${view}/${id}` };
}

function exists(path, query) {
  return get(path, { query }).catch(() => null);
}
