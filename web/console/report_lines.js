// What the lines of a report add up to, computed here from the lines, and the same lines as CSV. Pure functions.

export const HEADINGS = { assets: "Assets", liabilities: "Liabilities", equity: "Equity", income: "Income", expenses: "Expenses", untyped: "Accounts without a type" };
const GROUPS = { uncoded: "Accounts without a code", world: "World: opening balances", result: "Income less expenses so far" };
const RUNS = /^[=+\-@\t\r\n'\uff1d\uff0b\uff0d\uff20]/; // what a spreadsheet would run, and the mark that prevents it

/** Return the sum of a column of a section's lines; subtotals are left out, as they sum up other lines. */
export function sumOf(section, column) {
  if (!section) return 0n;
  return section.lines.filter((line) => !line.is_subtotal).reduce((sum, line) => sum + BigInt(line[column]), 0n);
}

/** Return the identity of a report's books: its two sides, computed from the lines, and whether the service says the same. */
export function identityOf(report, books) {
  const section = Object.fromEntries(books.sections.map((each) => [each.section, each]));
  if (report === "trial-balance") {
    const [left, right] = ["debit_cents_text", "credit_cents_text"].map((column) => books.sections.reduce((sum, each) => sum + sumOf(each, column), 0n));
    return identity("debits", left, "credits", right, left === BigInt(books.debit_cents_text) && right === BigInt(books.credit_cents_text));
  }
  const sum = (name) => sumOf(section[name], "amount_cents_text");
  const agrees = books.sections.every((each) => sum(each.section) === BigInt(each.amount_cents_text));
  if (report === "balance-sheet") {
    const untyped = sum("untyped");
    return identity(untyped === 0n ? "assets" : "assets and untyped", sum("assets") + untyped, "liabilities and equity", sum("liabilities") + sum("equity"), agrees);
  }
  return identity("income less expenses", sum("income") - sum("expenses"), "result", BigInt(books.result_cents_text), agrees);
}

function identity(leftName, left, rightName, right, agrees) {
  return { leftName, left, rightName, right, agrees, holds: left === right && agrees };
}

/** Return the label of each line: its code without what the subtotals around it have in common. */
export function labelsOf(lines) {
  const above = [""];
  return lines.map((line) => {
    above.length = line.level + 1;
    const label = labelOf(line, above.at(-1) ?? "");
    if (line.is_subtotal) above.push(line.code ?? "");
    return label;
  });
}

function labelOf({ code, group }, above) {
  if (code === undefined) return GROUPS[group] ?? group;
  if (code.length === above.length) return `${code.slice(code.lastIndexOf(":") + 1)} itself`;
  return above ? code.slice(above.length + 1) : code;
}

/**
 * Return the books of a report with those of another point in time as `previous…` members. Lines that only the other
 * one has are added at their place.
 */
export function compared(books, others) {
  const sections = books.sections.map((section) => {
    const other = others?.sections.find((each) => each.section === section.section);
    return { ...section, previous_cents_text: other?.amount_cents_text ?? "0", lines: joined(section.lines, other?.lines ?? []) };
  });
  return { ...books, sections };
}

const keyOf = (line) => `${line.group} ${line.code ?? ""} ${line.is_subtotal}`;

function joined(lines, others) {
  const before = new Map(others.map((line) => [keyOf(line), line]));
  const known = new Set(lines.map(keyOf));
  const all = lines.map((line) => ({ ...line, previous_cents_text: before.get(keyOf(line))?.amount_cents_text ?? "0" }));
  for (const line of others) {
    if (known.has(keyOf(line))) continue;
    const place = all.findIndex((each) => each.code === undefined || (line.code !== undefined && each.code > line.code));
    all.splice(place < 0 ? all.length : place, 0, { ...line, amount_cents_text: "0", previous_cents_text: line.amount_cents_text });
  }
  return all;
}

/** Return a report as CSV, with the columns of `ledger report --format csv`. */
export function csvOf(currencies, columns) {
  const rows = [["currency", "section", "row", "group", "code", "name", "level", "accounts", ...columns.map(([title]) => title)]];
  for (const { currency, digits, sections } of currencies) {
    const amounts = (line) => columns.map(([, member]) => decimal(line[member], digits));
    for (const { section, lines, ...totals } of sections) {
      for (const line of lines) {
        const row = line.is_subtotal ? "subtotal" : line.group === "result" ? "result" : "accounts";
        rows.push([currency, section, row, line.group, protect(line.code), protect(line.name), line.level, line.accounts, ...amounts(line)]);
      }
      rows.push([currency, section, "total", "", "", "", 0, "", ...amounts(totals)]);
    }
  }
  return rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

function protect(text = "") {
  return RUNS.test(text) ? `'${text}` : text;
}

function cell(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function decimal(cents, digits) {
  const isNegative = cents.startsWith("-");
  const text = cents.replace("-", "").padStart(digits + 1, "0");
  return `${isNegative ? "-" : ""}${text.slice(0, text.length - digits)}${digits ? `.${text.slice(text.length - digits)}` : ""}`;
}
