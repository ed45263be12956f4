// The reports of accountants: trial balance, balance sheet and income statement, to read, to print and to save.

import { save } from "../download.js";
import { h, noAccounts, state } from "../dom.js";
import { amount, count, timeText } from "../format.js";
import { timeOf } from "../hold_ages.js";
import { datesOf, dateOf, monthsBefore, PERIODS } from "../periods.js";
import { compared, csvOf, HEADINGS, identityOf, labelsOf, sumOf } from "../report_lines.js";

const REPORTS = [["balance-sheet", "Balance sheet"], ["income-statement", "Income statement"], ["trial-balance", "Trial balance"]];
const DEPTHS = [["1", "1 level"], ["2", "2 levels"], ["3", "3 levels"], ["4", "4 levels"], ["all", "All accounts"]];
const BY = [["recorded", "By recording time"], ["effective", "By effective time"]];
const COMPARE = [["", "No comparison"], ["previous", "Period before"], ["year", "Year before"]];
const COMPARE_DATES = [["", "No comparison"], ["1", "A month before"], ["3", "A quarter before"], ["12", "A year before"]];
const MEMBERS = ["report", "depth", "currency", "effective_at", "period", "from", "to", "by", "compare", "against"];
const DEFAULTS = { report: "balance-sheet", depth: "2", period: "all", by: "recorded" };

/** Return the name of the report. */
export const title = (context) => nameOf(choicesOf(context).report);

const nameOf = (report) => REPORTS.find(([key]) => key === report)[1];

/** Show a report. */
export async function show(context) {
  const given = choicesOf(context);
  const query = queryOf(context, given);
  const other = await comparison(context, given, query);
  const panel = context.panel(`/v1/ledger/reports/${given.report}`, { query, at: true, live: true, lines: 10 }, (body) => draw(context, given, body, other));
  return h("div", { class: "reports" },
    h("header", { class: "view-head" }, h("h1", {}, nameOf(given.report)), tabs(context, given)),
    filters(context, given),
    panel);
}

function choicesOf({ query }) {
  const given = Object.fromEntries(MEMBERS.map((name) => [name, query.get(name) || DEFAULTS[name] || ""]));
  for (const name of ["effective_at", "from", "to"]) if (!/^\d{4}-\d\d-\d\d$/.test(given[name])) given[name] = "";
  return REPORTS.some(([key]) => key === given.report) ? given : { ...given, report: DEFAULTS.report };
}

/** Return the query of this view's address. What is as usual is left out. */
function address(given, changes = {}) {
  const all = Object.entries({ ...given, ...changes });
  const isOfPeriod = given.period === "dates";
  return Object.fromEntries(all.filter(([name, value]) => value && value !== DEFAULTS[name] && (isOfPeriod || !["from", "to"].includes(name))));
}

function queryOf(context, given) {
  const shared = { depth: given.depth === "all" ? null : given.depth, currency: given.currency };
  if (given.report !== "income-statement") return { ...shared, effective_at: given.effective_at };
  const { from, to } = given.period === "dates" ? given : datesOf(given.period, timeOf(context));
  return { ...shared, from, to, by: given.by === "recorded" ? null : given.by, compare: from && to ? given.compare : null };
}

/** Return the balance sheet of an earlier date, by effective time, and that date; null without a comparison. */
async function comparison(context, given, query) {
  if (given.report !== "balance-sheet" || !given.against) return null;
  const date = monthsBefore(given.effective_at || dateOf(timeOf(context)), Number(given.against) || 12);
  const body = await context.get(`/v1/ledger/reports/${given.report}`, { query: { ...query, effective_at: date }, at: true });
  return { body, date };
}

function tabs(context, given) {
  return h("nav", { class: "report-tabs", "aria-label": "Reports" }, REPORTS.map(([key, text]) => h("a", { href: context.link("/reports", address(given, { report: key })), "aria-current": key === given.report ? "page" : null }, text)));
}

function filters(context, given) {
  const change = (event) => {
    event.preventDefault();
    context.navigate("/reports", { query: address({ ...given, ...Object.fromEntries(new FormData(form)) }) });
  };
  const select = (name, text, choices, isOff = false) => h("select", { name, "aria-label": text, class: given[name] && given[name] !== DEFAULTS[name] ? "set" : null, disabled: isOff }, choices.map(([key, shown]) => h("option", { value: key, selected: given[name] === key }, shown)));
  const date = (name, text) => h("label", { class: "date" }, text, h("input", { type: "date", name, value: given[name], class: given[name] ? "set" : null }));
  const isOpen = given.period === "all" || (given.period === "dates" && !(given.from && given.to));
  const income = () => [select("period", "Period", PERIODS), given.period === "dates" && [date("from", "from"), date("to", "to")], select("by", "Times", BY), select("compare", "Comparison", COMPARE, isOpen)];
  const form = h("form", { class: "filters report-filters", "aria-label": "Report", onchange: change, onsubmit: change },
    select("depth", "Depth", DEPTHS),
    h("input", { name: "currency", value: given.currency, placeholder: "Currency", "aria-label": "Currency", class: "code", autocomplete: "off", spellcheck: "false", maxlength: "16" }),
    given.report === "income-statement" ? income() : date("effective_at", "as of effective date"),
    given.report === "balance-sheet" && select("against", "Comparison", COMPARE_DATES));
  return form;
}

function draw(context, given, body, other) {
  if (body.currencies.length === 0) return given.currency ? state("empty", `No account in ${given.currency}`) : noAccounts(context);
  const currencies = body.currencies.map((books) => (other ? compared(books, other.body.currencies.find((each) => each.currency === books.currency)) : books));
  const columns = columnsOf(given, body, other);
  const csv = () => save(new Blob([csvOf(currencies, columns)], { type: "text/csv" }), `${given.report}-${body.position}.csv`);
  return [
    h("div", { class: "report-head" },
      h("p", { class: "muted" }, h("span", { class: "print-only" }, "Ledger · "), basis(context, given, body)),
      h("div", { class: "actions" }, h("button", { type: "button", onclick: csv }, "CSV"), h("button", { type: "button", onclick: () => print() }, "Print"))),
    currencies.map((books) => booksOf(given, books, columns))];
}

/** Return the columns: the title and the member of each. */
function columnsOf(given, body, other) {
  if (given.report === "trial-balance") return [["debit", "debit_cents_text"], ["credit", "credit_cents_text"]];
  if (given.report === "balance-sheet") return [[given.effective_at || "amount", "amount_cents_text"], ...(other ? [[other.date, "previous_cents_text"]] : [])];
  return [[periodText(body.period), "amount_cents_text"], ...(body.previous_period ? [[periodText(body.previous_period), "previous_cents_text"]] : [])];
}

function periodText({ from, to }) {
  if (!from && !to) return "all time";
  return `${from ? from.slice(0, 10) : "beginning"} to ${to ? to.slice(0, 10) : "now"}`;
}

/** Return what the numbers rest on. */
function basis(context, given, body) {
  const known = `at position ${count(body.position)}${context.at?.time ? `, ${timeText(context.at.time)}` : context.isNow ? ", now" : ""}`;
  if (given.report === "income-statement") return `${periodText(body.period)}, by ${body.by === "effective" ? "effective time" : "recording time"}, as known ${known}`;
  return given.effective_at ? `What counts by ${given.effective_at}, as known ${known}` : `As recorded ${known}`;
}

/** Return the tables of a currency. On a wide page, a balance sheet has its two sides beside each other. */
function booksOf(given, books, columns) {
  const { currency } = books;
  const sections = books.sections.filter((each) => each.lines.length > 0);
  const table = (some, totals, isAlone = false) => reportTable({ sections: some, totals, columns, currency, isAlone });
  const parts = { "balance-sheet": sheet, "income-statement": income, "trial-balance": trial }[given.report];
  return h("section", { class: `books-of ${given.report}`, "aria-label": `${nameOf(given.report)}, ${currency}` },
    h("header", { class: "books-head" }, h("h2", {}, currency), h("span", { class: "muted" }, `${count(books.accounts)} ${books.accounts === 1 ? "account" : "accounts"}`), proof(given.report, books)),
    h("div", { class: "sides" }, parts(sections, columns, table, books)));
}

const totalOf = (sections, [, member]) => sections.reduce((sum, section) => sum + sumOf(section, member), 0n);

function sheet(sections, columns, table) {
  const left = sections.filter(({ section }) => ["assets", "untyped"].includes(section));
  const right = sections.filter(({ section }) => !["assets", "untyped"].includes(section));
  const total = (some, name) => [[name, columns.map((column) => totalOf(some, column))]];
  const name = left.some(({ section }) => section === "untyped") ? "Total assets and accounts without a type" : "Total assets";
  return [table(left, total(left, name), left.length === 1), table(right, total(right, "Total liabilities and equity"))];
}

function income(sections, columns, table) {
  const of = (name, column) => totalOf(sections.filter(({ section }) => section === name), column);
  return table(sections, [["Result", columns.map((column) => of("income", column) - of("expenses", column))]]);
}

function trial(sections, columns, table) {
  return table(sections, [["Total", columns.map((column) => totalOf(sections, column))]]);
}

/** Return the check of the two sides, which is computed in this browser from the lines below. */
function proof(report, books) {
  const { leftName, left, rightName, right, agrees, holds } = identityOf(report, books);
  const shown = (cents) => amount(cents, books.currency);
  if (holds) return h("p", { class: "check good", title: `${shown(left)} = ${shown(right)}, added up in this browser from the lines below` }, `✓ ${leftName} = ${rightName}`);
  return h("p", { class: "check bad", role: "alert" }, agrees ? `✗ ${leftName} ${shown(left)} ≠ ${rightName} ${shown(right)}` : "✗ the lines do not add up to the totals of the service");
}

/** Return a table of sections with their totals; that of a section that `isAlone` is the table's. */
function reportTable({ sections, totals, columns, currency, isAlone }) {
  const cells = (values, isBlank = false) => values.map((value) => h("td", { class: BigInt(value) < 0n ? "end negative" : "end" }, isBlank && BigInt(value) === 0n ? "" : amount(value, currency)));
  const hasSides = columns[0][0] === "debit";
  const of = (line) => columns.map(([, member]) => line[member]);
  const bodies = sections.map((section) => {
    const labels = labelsOf(section.lines);
    return h("tbody", {},
      h("tr", { class: "section-row" }, h("th", { scope: "rowgroup", colspan: String(columns.length + 1) }, HEADINGS[section.section])),
      section.lines.map((line, index) => h("tr", { class: line.is_subtotal ? "subtotal" : null }, h("th", { scope: "row", title: line.code, style: { "--level": String(line.level) } }, lineLabel(line, labels[index])), cells(of(line), hasSides))),
      !isAlone && h("tr", { class: "total" }, h("th", { scope: "row" }, `Total ${HEADINGS[section.section].toLowerCase()}`), cells(columns.map(([, member]) => sumOf(section, member)), hasSides)));
  });
  return h("div", { class: "report-table" }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "unseen" }, "Accounts")), columns.map(([text]) => h("th", { scope: "col", class: "end" }, heading(text))))),
    bodies,
    h("tfoot", {}, totals.map(([name, values]) => h("tr", { class: "grand" }, h("th", { scope: "row" }, name), cells(values))))));
}

/** Return a heading that breaks between the dates of a period, and not within one. */
function heading(text) {
  const [from, to] = text.split(" to ");
  return to ? [h("span", { class: "date" }, from), " to ", h("span", { class: "date" }, to)] : text;
}

function lineLabel(line, label) {
  const last = label.slice(label.lastIndexOf(":") + 1);
  return [label, line.name && line.name.toLowerCase() !== last && h("span", { class: "muted" }, ` ${line.name}`), line.accounts > 1 && !line.is_subtotal && line.group !== "result" && h("span", { class: "muted" }, ` (${count(line.accounts)})`)];
}
