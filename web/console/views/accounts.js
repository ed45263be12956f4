// The accounts as a tree of their codes, with sums that roll up, and a search as one types.

import { accountsAt } from "../account_list.js";
import { newActions } from "../actions/index.js";
import { fill, h, noAccounts, state } from "../dom.js";
import { count, money, statusBadge, words } from "../format.js";
import { groupSums } from "../group_sums.js";
import { accountLink, userLink } from "../names.js";
import { sparkline } from "../sparkline.js";
import { fromArray, table } from "../table.js";
import { buildTree, matches, nameOfGroup, openAtFirst, rowsOf } from "../tree.js";

export const title = "Accounts";

const TYPING_MILLISECONDS = 60;
const ROWS_AT_FIRST = 60;
const WIDE = 1200; // pixels of a page that has room for two sums
const order = new Intl.Collator("en");
const FILTERS = [
  { name: "type", text: "type", choices: ["asset", "liability", "equity", "income", "expense"] },
  { name: "status", text: "status", choices: ["open", "closed"] },
];

let open = null; // the codes of open groups, which stay open when the reader comes back

/** Show the tree. */
export async function show(context) {
  const list = await accountsAt(context);
  const summary = h("p", { class: "muted", role: "status" });
  const form = filters(context);
  const sums = groupSums(context, () => place());
  let rows = [];
  let isAll = true; // the accounts, so that the sums of the service are those of the tree
  let currencies = []; // those of most accounts last

  const place = () => grid.update(isAll ? rows.map((row) => (row.account ? row : { ...row, ...sums.of(nameOfGroup(row.code)) })) : rows);
  const draw = () => {
    const given = Object.fromEntries(new FormData(form));
    const tree = buildTree(list.accounts.filter((account) => matches(account, given, list.textOf(account))));
    if (tree.count > 0) open ??= openAtFirst(tree, ROWS_AT_FIRST);
    currencies = [...tree.sums].sort(([one, { count: few }], [other, { count: many }]) => few - many || order.compare(other, one)).map(([currency]) => currency);
    rows = rowsOf(tree, given.q ? null : open);
    isAll = !given.q && !given.type && !given.status;
    if (isAll) sums.want(["", ...rows.filter((row) => row.isOpen && row.code === nameOfGroup(row.code)).map((row) => row.code)]);
    place();
    fill(summary, `${count(tree.count)} ${tree.count === 1 ? "account" : "accounts"}${list.isCut ? ", the newest ones" : list.isComplete ? "" : ", more are coming"}`);
  };
  const openRow = (row) => (row.account ? context.navigate(`/accounts/${row.account.id}`) : toggle(row, !open.has(row.code)));
  const toggle = (row, isOpen) => {
    if (isOpen) open.add(row.code);
    else open.delete(row.code);
    draw();
  };
  const grid = table({
    label: "Accounts",
    columns: columns(context, () => currencies),
    source: fromArray(rows),
    onOpen: openRow,
    empty: () => (isAll ? noAccounts(context) : state("empty", "No account fits", form.elements.q.value && "Words are found in codes, names and metadata. A transaction is found by its id or reference.")),
    treeOf: (row) => ({ level: row.level + 1, isOpen: row.account ? null : row.isOpen, toggle: (isOpen) => toggle(row, isOpen) }),
  });

  let timer = 0;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => { keepFilters(context, form); grid.scrollTop = 0; draw(); }, TYPING_MILLISECONDS);
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); grid.focusFirst(); });
  context.onLeave(list.onChange(draw));
  context.onLeave(() => clearTimeout(timer));
  draw();
  return h("div", { class: "full" }, h("header", { class: "view-head" }, h("h1", {}, title), summary, form, h("div", { class: "actions" }, newActions(context, ["open", "transfer"]))), grid);
}

function filters(context) {
  const given = context.query;
  const choice = ({ name, text, choices }) => h("select", { name, "aria-label": text }, h("option", { value: "" }, `Any ${text}`), choices.map((each) => h("option", { value: each, selected: given.get(name) === each }, each)));
  return h("form", { class: "filters", role: "search", "aria-label": "Accounts" },
    h("input", { type: "search", name: "q", class: "wide", value: given.get("q") ?? "", placeholder: "Code, name, metadata or id", "aria-label": "Words", autocomplete: "off", spellcheck: "false" }),
    FILTERS.map(choice),
    context.can("admin", "auditor") && h("label", { class: "check-box" }, h("input", { type: "checkbox", name: "world", checked: given.get("world") === "on" }), "The ledger's own"));
}

/** Let the address name the filters, so that a link has them. The view stays as it is. */
function keepFilters(context, form) {
  const query = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
  history.replaceState(null, "", context.link("/accounts", query));
}

function columns(context, currencies) {
  const muted = (text) => h("span", { class: "muted" }, text);
  return [
    { title: "Account", width: "minmax(0, 2fr)", cell: nameCell },
    { title: "Name", from: 900, cell: ({ account }) => account?.name ?? "" },
    { title: "Owner", from: 1000, width: "8rem", cell: ({ account }) => (account ? userLink(account.user_id) : "") },
    { title: "Type", from: 1000, width: "5rem", cell: ({ account }) => words(account?.type ?? "") },
    { title: "Status", from: 640, width: "8rem", cell: (row) => (row.account ? statusOf(row.account) : muted(`${count(row.count)} ${row.count === 1 ? "account" : "accounts"}`)) },
    { title: "30 days", from: 800, width: "6rem", cell: ({ account }) => (account && context.isNow ? sparkline(context, account) : "") },
    { title: "Balance", width: "clamp(9rem, 22vw, 20rem)", end: true, cell: (row) => balanceCell(row, currencies(), innerWidth < WIDE ? 1 : 2) },
  ];
}

function nameCell(row) {
  const style = { "--level": String(row.level) };
  if (!row.account) return h("span", { class: "indent group-name", style }, h("span", { class: "twist", "aria-hidden": "true" }, row.isOpen ? "▾" : "▸"), row.label);
  const link = accountLink(row.account.id);
  if (row.label) link.textContent = row.label;
  return h("span", { class: "indent", style }, h("span", { class: "twist", "aria-hidden": "true" }), link);
}

/** Return the balance of an account or the sums of a group: the last currencies, and how many more there are. */
function balanceCell({ account, sums }, currencies, most) {
  if (account) return money(account.balance_cents, account.currency);
  const all = [...sums].sort(([one], [other]) => currencies.indexOf(one) - currencies.indexOf(other)).map(([currency, { cents }]) => money(cents, currency));
  const others = all.slice(0, -most);
  return h("span", { class: "sums-of" }, others.length > 0 && h("span", { class: "muted", title: others.map((each) => each.textContent).join(", ") }, `+${others.length}`), all.slice(-most));
}

function statusOf(account) {
  return account.frozen === "none" ? statusBadge(account.status) : h("span", { class: "badge warn" }, `frozen: ${words(account.frozen)}`);
}
