// The proof of a transaction: checked in this browser, and drawn. What the service alone says is told apart.

import { get, Problem } from "./api.js";
import { downloadButton } from "./download.js";
import { copyable, facts, fill, h, loading, problemState, state } from "./dom.js";
import { clockText, count, shortId, words } from "./format.js";
import { pathPicture, pathTable } from "./merkle_path.js";
import { checkReceipt, differences, keysOf, MalformedError, missing } from "./proof.js";

const KEYS = "/.well-known/ledger-seal.json";
const OWN_KEY = "ledger-proof-key"; // in the browser's storage: what a reader pasted stays
const FIRST_WAIT_SECONDS = 2;
const LABELS = { path: ["Root of the block", "Root that the event leads to"], position: ["Positions of the block", "Position"], key: ["Signed with", "Pasted"], signature: ["", ""] };

/** Return the key that the reader has pasted, or null. */
function ownKey() {
  try {
    return localStorage.getItem(OWN_KEY);
  } catch {
    return null;
  }
}

/** Return the keys that the service publishes; it may have none. */
async function publishedKeys(signal) {
  const set = await get(KEYS, { signal });
  return set.keys.length > 0 ? keysOf(JSON.stringify(set)) : [];
}

function keepOwnKey(text) {
  try {
    if (text === null) localStorage.removeItem(OWN_KEY);
    else localStorage.setItem(OWN_KEY, text);
  } catch {
    // a browser that stores nothing asks for the key again
  }
}

/** Return the button that saves the receipt of a transaction, to be checked elsewhere. */
export function receiptButton({ id }) {
  return downloadButton("Receipt", proofPath(id), `${id}.receipt.json`);
}

function proofPath(id) {
  return `/v1/transactions/${id}/proof`;
}

/**
 * Return a part that reads the receipt of a transaction and checks it. `onProven(checked)` gets the checked proofs,
 * `onFailed(page)` the page that says that the proof does not hold. The element has `check()`, to do so again.
 */
export function proofPart(context, transaction, { onProven, onFailed }) {
  const place = h("div", { class: "proof" }, loading(3));
  const path = proofPath(transaction.id);
  let timer = 0;
  context.onLeave(() => clearTimeout(timer));

  place.check = async () => {
    clearTimeout(timer);
    const isIncapable = await missing();
    if (isIncapable) return fill(place, incapable(isIncapable));
    try {
      const [receipt, own] = [await get(path, { signal: context.signal }), ownKey()];
      const keys = own ? await keysOf(own) : await publishedKeys(context.signal);
      const verdict = await judge(transaction, receipt, keys, { own, isNow: context.isNow });
      if (context.signal.aborted) return place;
      if (verdict.reason) return onFailed(failedPage(verdict, { own, again: place.check, receipt: receiptButton(transaction), useService: () => { keepOwnKey(null); return place.check(); } }));
      onProven(verdict.checked);
      return fill(place, verdict.unknownKey ? unknownKey(verdict.unknownKey) : proven(verdict.checked, own), keyForm(own, place.check));
    } catch (error) {
      if (error.name === "AbortError") return place;
      if (error.code === "seal_mismatch") return onFailed(failedPage({ reason: `${error.message}. ${error.help}.` }, { again: place.check }));
      if (error instanceof Problem) return fill(place, refusal(error));
      throw error;
    }
  };

  function refusal(problem) {
    if (problem.code === "sealing_inactive") return state("empty", "This ledger has no seals", "No key to seal the log with is configured, so nothing can be proven. The operator can set LEDGER_SEAL_KEY_FILE.");
    if (problem.code !== "not_sealed_yet") return problemState(problem, place.check);
    const seconds = Number(problem.errors[0].detail?.retry_after_seconds ?? FIRST_WAIT_SECONDS);
    const text = `The log is sealed in blocks, and the next one is due within ${count(seconds)} s. This page looks again by itself.`;
    timer = setTimeout(place.check, 1000 * Math.min(Math.max(seconds, 1), 60));
    return state("empty", "Not sealed yet", text, h("button", { type: "button", onclick: place.check }, "Look again"));
  }
  void place.check();
  return place;
}

/** Return whether a receipt proves what is shown: { checked }, with `unknownKey` or with the reason that it does not. */
async function judge(...given) {
  try {
    return await compare(...given);
  } catch (error) {
    if (error instanceof MalformedError || error instanceof SyntaxError) return { reason: `The receipt is invalid. ${error.message}.` };
    throw error;
  }
}

async function compare(transaction, receipt, keys, { own, isNow }) {
  const checked = await checkReceipt(receipt, keys);
  const [failed] = checked.flatMap(({ proof, checks }) => checks.filter(({ holds }) => !holds).map((check) => ({ ...check, proof })));
  if (failed && (failed.name !== "key" || own)) return { reason: reasonOf(failed), failed: { ...failed, labels: LABELS[failed.name] } };
  const [different] = differences(transaction, receipt, { isNow });
  if (different) return { reason: `The service shows another ${words(different.name)} than the sealed events have.`, failed: { labels: ["Sealed", "Shown"], expected: different.proven, found: different.shown } };
  return { checked, unknownKey: failed?.expected };
}

function reasonOf({ name, expected, found, proof: { event, block } }) {
  return {
    path: `The event at position ${count(event.notification_id)} is not the one that was sealed in block ${count(block.number)}: its hash does not lead to the root.`,
    position: `Position ${found} is outside block ${count(block.number)}.`,
    key: `Block ${count(block.number)} is signed with the key ${shortId(expected)}, which is not the one that you pasted.`,
    signature: `The signature of block ${count(block.number)} is wrong.`,
  }[name];
}

function incapable(reason) {
  const texts = {
    insecure: ["The proof cannot be checked over plain http", "Browsers check signatures only on pages that came over TLS, or from this machine. Open the console with https, or check the receipt with ledger audit check-receipt."],
    ed25519: ["This browser cannot check Ed25519 signatures", "Use a newer one, or check the receipt with ledger audit check-receipt."],
  };
  return state("denied", ...texts[reason]);
}

function unknownKey(keyId) {
  return h("div", { class: "verdict unknown", role: "status" },
    h("p", { class: "verdict-title" }, h("span", { "aria-hidden": "true" }, "? "), "Not proven: the key is unknown"),
    h("p", {}, "The service does not publish the key that the block is signed with. If the key was changed since, paste the one of that time. Otherwise somebody else signed this. Its id: ", copyable(keyId, shortId(keyId))));
}

/** Return what was proven, with the path of the event that the reader chooses. */
function proven(checked, own) {
  const picture = h("div", {});
  const blocks = [...new Set(checked.map(({ proof }) => proof.block.number))];
  const [{ proof: { block } }] = checked;
  const choose = h("select", {}, checked.map(({ proof: { event } }, index) => h("option", { value: String(index) }, `${event.topic}, position ${count(event.notification_id)}`)));
  const draw = () => { const one = checked[Number(choose.value)]; fill(picture, pathPicture(one), pathTable(one)); };
  choose.addEventListener("change", draw);
  draw();
  const events = checked.length === 1 ? "1 event is" : `${count(checked.length)} events are`;
  return [
    h("div", { class: "verdict", role: "status" },
      h("p", { class: "verdict-title good" }, h("span", { "aria-hidden": "true" }, "✓ "), "Verified in this browser"),
      h("p", { class: "muted" }, `${events} in ${blocks.length === 1 ? "block" : "blocks"} ${blocks.map(count).join(", ")} of the log, unchanged. Checked at ${clockText(Date.now())}, with the key that ${own ? "you pasted" : "the service publishes"}: `, copyable(block.key_id, shortId(block.key_id)))),
    checked.length > 1 && h("label", { class: "path-of" }, "The path of", choose),
    picture,
    h("div", { class: "told-apart" },
      h("section", { class: "computed" }, h("h3", {}, "Computed here"), h("ul", {}, [
        "The hash of each event leads to the root of its block",
        "Each block is signed with the key",
        "Accounts, amounts, reference, texts and time on this page are those of the sealed events",
      ].map((each) => h("li", {}, each)))),
      h("section", { class: "said" }, h("h3", {}, "Said by the service"), h("ul", {}, [
        !own && "That this key is the ledger's. Paste one that you got elsewhere",
        "The names of accounts and users, and who sent the commands",
        "That nothing was recorded since",
      ].filter(Boolean).map((each) => h("li", {}, each))))),
  ];
}

/** Return the form for a key from elsewhere. */
function keyForm(own, check) {
  const problem = h("p", { class: "problem", role: "alert" });
  const field = h("textarea", { rows: "3", "aria-label": "Public key", placeholder: "PEM, a key set (JWKS), or the 32 bytes in base64", spellcheck: "false", autocomplete: "off" });
  const form = h("form", { class: "key-form" },
    h("p", { class: "muted" }, "ledger audit seal-key prints the ledger's key. Get it from somebody you trust, not from this page. It stays in this browser."),
    field, problem, h("div", { class: "buttons" }, h("button", { class: "primary" }, "Check with this key"),
      own && h("button", { type: "button", onclick: () => { keepOwnKey(null); void check(); } }, "Use the service's key")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.textContent = "";
    try {
      await keysOf(field.value);
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      problem.textContent = `${error.message}.`;
      return;
    }
    keepOwnKey(field.value);
    void check();
  });
  return h("details", { class: "own-key" }, h("summary", {}, own ? "Checked with your own key · change" : "Paste a key from elsewhere"), form);
}

/** Return the page that stands in the place of the view when a proof does not hold. */
function failedPage({ reason, failed }, { own, again, receipt, useService }) {
  return h("div", { class: "not-proven", role: "alert" },
    h("p", { class: "cross", "aria-hidden": "true" }, "✗"),
    h("h1", {}, "This transaction is not proven"),
    h("p", { class: "reason" }, reason),
    failed?.expected && facts([[failed.labels[0], failed.expected], [failed.labels[1], failed.found || "nothing"]]),
    h("p", {}, "Do not rely on what the service shows. Keep the receipt, and tell the operator: ledger audit verify-seals finds what was changed."),
    h("div", { class: "buttons" },
      h("button", { type: "button", onclick: again }, "Check again"),
      own && h("button", { type: "button", class: "service-key", onclick: useService }, "Use the service's key"),
      receipt));
}
