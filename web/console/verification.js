// The verification of the whole ledger: started here, followed while it runs, and its findings.

import { changeButton } from "./dialog.js";
import { card, h } from "./dom.js";
import { count, words } from "./format.js";
import { operationBadge, origin, progress, valueText } from "./progress.js";
import { link } from "./router.js";
import { setAt } from "./time.js";
import { watch } from "./watch.js";

const PATH = "/v1/audit/verify";
const RUNNING_MILLISECONDS = 1000;
const IDLE_MILLISECONDS = 10_000;

/** Return the card of the last verification. */
export function verification(context) {
  const watched = watch(context, PATH, { every: (body) => (body?.last?.state === "running" ? RUNNING_MILLISECONDS : IDLE_MILLISECONDS) });
  const result = watched.region(({ last }) => (last ? draw(last) : none()));
  const actions = watched.region((isRunning) => buttons(context, watched, isRunning), { part: ({ last }) => last?.state === "running", lines: 0 });
  actions.classList.add("actions");
  return card("Verification", [result, watched.stale], { actions, className: "verification" });
}

function none() {
  return h("p", { class: "muted" }, "Not verified in the last week. A verification recomputes every balance, table and seal from the log.");
}

function buttons(context, watched, isRunning) {
  const done = () => watched.again();
  if (isRunning) {
    return changeButton(context, "Cancel", { roles: ["admin", "auditor"], title: "Cancel the verification?", text: "What it has checked so far is lost.", verb: "Cancel it", request: { path: `${PATH}/cancel` }, done });
  }
  const both = { roles: ["admin", "auditor"], done, verb: "Start" };
  return [
    changeButton(context, "Quick check", { ...both, title: "Start a quick check?", text: "It trusts the log, and checks heads, read tables and sums. Requests come first: it gets what they leave.", request: { path: PATH, body: { fast: true } } }),
    changeButton(context, "Verify all", { ...both, title: "Verify the whole ledger?", text: "It reads the whole log, and recomputes everything that follows from it. Requests come first: it gets what they leave.", request: { path: PATH, body: { fast: false } } }),
  ];
}

function draw(last) {
  if (last.state === "running") return [progress(last, "Verification"), verdict(last), origin(last)];
  return [verdict(last), last.error && h("p", { class: "problem" }, last.error), last.notes.map((note) => h("p", { class: "muted" }, note)), origin(last), last.findings.length > 0 && findings(last)];
}

function verdict(last) {
  const scope = last.fast ? "heads, read tables and sums" : "the log, and all that follows from it";
  if (last.found > 0) return h("p", { class: "verdict bad", role: "status" }, `✗ ${count(last.found)} ${last.found === 1 ? "finding" : "findings"}`, h("span", { class: "muted" }, ` in ${scope}`));
  if (last.state === "succeeded") return h("p", { class: "verdict good", role: "status" }, "✓ No finding", h("span", { class: "muted" }, ` in ${scope}, ${count(last.done)} events and rows`));
  return last.state === "running" ? null : h("p", { class: "verdict", role: "status" }, operationBadge(last));
}

/** Return the findings as a table; the numbers of those that are left out follow. */
function findings({ findings: shown, omitted }) {
  const others = Object.entries(omitted);
  return [
    h("div", { class: "scroll findings", tabindex: "0", role: "region", "aria-label": "Findings" },
      h("table", {},
        h("thead", {}, h("tr", {}, ["Broken rule", "Where", "Expected", "Found"].map((text) => h("th", { scope: "col" }, text)))),
        h("tbody", {}, shown.map((each) => h("tr", {}, h("td", {}, words(each.rule)), h("td", {}, place(each)), h("td", { "data-label": "expected" }, h("code", {}, valueText(each.expected))), h("td", { class: "bad", "data-label": "found" }, h("code", {}, valueText(each.found)))))))),
    others.length > 0 && h("p", { class: "muted" }, "Not listed: ", others.map(([rule, number]) => `${count(number)} × ${words(rule)}`).join(", ")),
  ];
}

function place({ table, row, column, stream_id: stream, version, position }) {
  const name = table === "accounts" ? h("a", { href: link(`/accounts/${row}`), class: "name" }, row) : row;
  const others = [column, stream && `stream ${stream}`, version !== undefined && `version ${version}`].filter(Boolean).join(" · ");
  return [table && [table, " ", name, others && " · "], others, position !== undefined && h("button", { type: "button", class: "copy", title: "Show the ledger as of this event", onclick: () => setAt({ position }) }, `@ ${count(position)}`)];
}
