// The postings of a transaction as a picture: who paid is on the left, who received is on the right.

import { partsOf } from "./chain.js";
import { h, svg } from "./dom.js";
import { amount, count } from "./format.js";
import { accountLink } from "./names.js";

const ROW = 52; // pixels
const MOST_ROWS = 8; // on a side; the rest is one row
const THICKEST = 40; // pixels, of all ribbons together
const THINNEST = 1.5;
const WIDTH = 100; // units of the drawing, which has any width
const BAR = 2;

/** Return the postings of a transaction of any kind: [{ account_id, amount_cents, currency }]; payments are negative. */
export function postingsOf(transaction) {
  if (transaction.postings) return transaction.postings;
  const { source_account_id: source, destination_account_id: destination, amount_cents: cents, currency } = transaction;
  return [{ account_id: source, amount_cents: -cents, currency }, { account_id: destination, amount_cents: cents, currency }];
}

/** Return the picture of a transaction's postings, one for each currency, and a table of them if there are many. */
export function flowPicture(transaction) {
  const postings = postingsOf(transaction);
  const currencies = [...new Set(postings.map(({ currency }) => currency))];
  return [currencies.map((currency) => figureOf(transaction, postings.filter((each) => each.currency === currency))), postings.length > 2 && tableOf(postings)];
}

function figureOf(transaction, postings) {
  const payers = sideOf(postings.filter(({ amount_cents: cents }) => cents < 0));
  const receivers = sideOf(postings.filter(({ amount_cents: cents }) => cents >= 0));
  const height = Math.max(payers.length, receivers.length) * ROW;
  const isPair = payers.length === 1 && receivers.length === 1;
  const [{ currency }] = postings;
  const total = receivers.reduce((sum, { cents }) => sum + cents, 0n);
  const parts = partsOf({ ...transaction, amount_cents: Number(total) });
  if (isPair) payers[0].cents = receivers[0].cents = movedOf(parts);
  return h("figure", { class: "flow", role: "group", "aria-label": `${count(payers.length)} paid ${amount(total, currency)} ${currency} to ${count(receivers.length)}` },
    listOf("Paid", payers, currency),
    h("div", { class: "ribbons", style: { height: `${height}px` } },
      svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, isPair ? straight(parts, height) : bundle(payers, receivers, { height, kind: parts[0].kind })),
      isPair ? labelOf(parts, currency) : h("p", { class: "flow-label over" }, h("span", {}, h("strong", {}, amount(total, currency)), " ", h("span", { class: "unit" }, currency)))),
    listOf("Received", receivers, currency));
}

/** Return how much of an amount has moved: what is held, or was released, has left nobody. */
function movedOf(parts) {
  return parts.reduce((sum, { cents, kind }) => (kind === "moved" ? sum + BigInt(cents) : sum), 0n);
}

/** Return the rows of a side: the largest amounts, and the rest as one. */
function sideOf(postings) {
  const sorted = [...postings].sort((one, other) => Math.abs(other.amount_cents) - Math.abs(one.amount_cents));
  const rows = sorted.map((each) => ({ id: each.account_id, cents: BigInt(Math.abs(each.amount_cents)) }));
  if (rows.length <= MOST_ROWS) return rows;
  const rest = rows.splice(MOST_ROWS - 1);
  return [...rows, { rest: rest.length, cents: rest.reduce((sum, { cents }) => sum + cents, 0n) }];
}

function listOf(name, rows, currency) {
  const sign = name === "Paid" ? -1 : 1;
  return h("ul", { class: `side ${name.toLowerCase()}`, "aria-label": name }, rows.map(({ id, rest, cents }) => h("li", {},
    h("span", { class: "flow-name" }, rest ? `${count(rest)} other accounts` : accountLink(id)),
    cents !== 0n && h("span", { class: sign < 0 ? "money negative" : "money" }, sign < 0 ? "" : "+", amount(sign < 0 ? -cents : cents, currency)))));
}

function labelOf(parts, currency) {
  return h("p", { class: "flow-label" }, parts.map(({ cents, kind, text }) => h("span", { class: kind }, h("strong", {}, amount(cents, currency)), " ", h("span", { class: "unit" }, currency, text && ` ${text}`))));
}

/** Draw the parts of an amount between two accounts, one below the other. */
function straight(parts, height) {
  const sizes = thicknesses(parts.map(({ cents }) => cents));
  let top = (height - sizes.reduce((sum, size) => sum + size, 0)) / 2;
  return parts.map(({ kind }, index) => {
    const from = top;
    top += sizes[index];
    return svg("rect", { class: `ribbon ${kind}`, x: 0, y: from, width: WIDTH, height: sizes[index] });
  });
}

/** Draw ribbons from each payer into a bar, and from the bar to each receiver. */
function bundle(payers, receivers, { height, kind }) {
  const all = payers.reduce((sum, { cents }) => sum + Number(cents), 0);
  const half = (rows, isLeft) => {
    const sizes = thicknesses(rows.map(({ cents }) => cents), all);
    let inside = (height - sizes.reduce((sum, size) => sum + size, 0)) / 2;
    const start = (height - rows.length * ROW) / 2;
    return rows.map((_, index) => {
      const outside = start + index * ROW + (ROW - sizes[index]) / 2;
      const path = ribbon(isLeft ? 0 : WIDTH, outside, WIDTH / 2, inside, sizes[index]);
      inside += sizes[index];
      return svg("path", { class: `ribbon ${kind}`, d: path });
    });
  };
  return [...half(payers, true), ...half(receivers, false), svg("rect", { class: "bar", x: (WIDTH - BAR) / 2, y: (height - THICKEST) / 2 - 2, width: BAR, height: THICKEST + 4 })];
}

function thicknesses(amounts, all = amounts.reduce((sum, cents) => sum + Number(cents), 0)) {
  return amounts.map((cents) => Math.max(THINNEST, (THICKEST * Number(cents)) / (all || 1)));
}

function ribbon(x, y, end, endY, size) {
  const middle = (x + end) / 2;
  return `M${x} ${y}C${middle} ${y} ${middle} ${endY} ${end} ${endY}V${endY + size}C${middle} ${endY + size} ${middle} ${y + size} ${x} ${y + size}Z`;
}

function tableOf(postings) {
  const details = h("details", { class: "as-table" }, h("summary", {}, `All ${count(postings.length)} postings as a table`));
  details.addEventListener("toggle", () => {
    if (!details.open || details.querySelector("table")) return;
    details.append(h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Postings" },
      h("table", {}, h("thead", {}, h("tr", {}, ["Account", "Amount", "Currency"].map((text) => h("th", { scope: "col" }, text)))),
        h("tbody", {}, postings.map((each) => h("tr", {}, h("td", {}, accountLink(each.account_id)), h("td", { class: each.amount_cents < 0 ? "end negative" : "end" }, amount(each.amount_cents, each.currency)), h("td", {}, each.currency)))))));
  });
  return details;
}
