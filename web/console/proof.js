// Checks receipts: whether events are in the log of a ledger, unchanged. Pure: it asks nobody, and draws nothing.
// docs/reference/receipts.md has the layout of every byte, and test vectors.

const MEMBERS = {
  receipt: ["format", "proofs"],
  proof: ["event", "leaf_index", "path", "block", "signature"],
  event: ["originator_id", "originator_version", "topic", "state", "notification_id", "recorded_at", "command_id"],
  block: ["ledger", "number", "first_position", "last_position", "count", "root", "previous", "sealed_at", "key_id"],
  commands: ["count", "root", "since", "before"],
};
const HASH_BYTES = 32;
const PEM = /-----BEGIN PUBLIC KEY-----([^-]+)-----END PUBLIC KEY-----/g;
const PEM_PREFIX = "302a300506032b6570032100"; // of an Ed25519 key (RFC 8410)

/** A text is not what it should be. The message is a sentence for its reader. */
export class MalformedError extends Error {}

/** Return why this browser cannot check receipts, or null if it can. */
export async function missing() {
  if (globalThis.crypto?.subtle === undefined) return "insecure";
  return crypto.subtle.importKey("raw", new Uint8Array(HASH_BYTES), "Ed25519", false, ["verify"]).then(() => null, () => "ed25519");
}

/**
 * Check each proof of a receipt with the given keys, as of `keysOf`. Return the proofs with what was computed and the
 * checks of each: { proof, leaf, steps, hash, checks: [{ name, holds, expected, found }], holds }. Raises `MalformedError`.
 */
export async function checkReceipt(receipt, keys) {
  expectMembers("receipt", receipt, MEMBERS.receipt);
  if (!Array.isArray(receipt.proofs) || receipt.proofs.length === 0) throw new MalformedError("The receipt has no proofs");
  const format = receipt.proofs.some((proof) => proof !== null && typeof proof === "object" && "command_digest" in proof) ? "ledger-receipt-2" : "ledger-receipt-1";
  if (receipt.format !== format) throw new MalformedError(`The format of the receipt is not ${format}, as its proofs have it`);
  return Promise.all(receipt.proofs.map((proof) => checkProof(proof, keys)));
}

async function checkProof(proof, keys) {
  const { event, block, path, leaf_index: index } = shaped(proof);
  const header = headerOf(block);
  const leaf = await leafOf(event, proof.command_digest);
  const steps = await climb(leaf, whole(index), whole(block.count), path.map(hashFrom));
  const root = steps === null ? "" : toHex(steps.at(-1)?.node ?? leaf);
  const key = keys.find(({ kid }) => kid === block.key_id);
  const position = event.notification_id;
  const checks = [
    { name: "path", holds: index < block.count && root === toHex(hashFrom(block.root)), expected: toHex(hashFrom(block.root)), found: root },
    { name: "position", holds: block.first_position <= position && position <= block.last_position, expected: `${block.first_position} to ${block.last_position}`, found: String(position) },
    { name: "key", holds: key !== undefined, expected: block.key_id, found: keys.map(({ kid }) => kid).join(", ") },
    { name: "signature", holds: key !== undefined && (await isSigned(key, header, bytesFrom(proof.signature))), expected: "", found: "" },
  ];
  return { proof, leaf, steps: steps ?? [], hash: await sha256(header), checks, holds: checks.every(({ holds }) => holds) };
}

/** Return a proof with exactly the members that it must have. */
function shaped(proof) {
  const isSecond = proof?.command_digest !== undefined;
  expectMembers("proof", proof, isSecond ? [...MEMBERS.proof, "command_digest"] : MEMBERS.proof);
  expectMembers("event", proof.event, MEMBERS.event);
  expectMembers("block", proof.block, isSecond ? [...MEMBERS.block, "commands"] : MEMBERS.block);
  if (isSecond) expectMembers("commands", proof.block.commands, MEMBERS.commands);
  if (!Array.isArray(proof.path) || whole(proof.leaf_index) < 0) throw new MalformedError("The receipt has no path");
  return proof;
}

function expectMembers(name, value, members) {
  const given = value !== null && typeof value === "object" ? Object.keys(value) : [];
  const wrong = [...members.filter((each) => !given.includes(each)), ...given.filter((each) => !members.includes(each))];
  if (wrong.length > 0) throw new MalformedError(`The ${name} of the receipt must have exactly its members: see ${wrong[0]}`);
}

/** Return the hash that stands for an event in its block. */
async function leafOf(event, digest) {
  const { command_id: command, topic } = event;
  const name = new TextEncoder().encode(topic);
  return sha256([0], digest === undefined ? [] : hashFrom(digest), uuid(event.originator_id),
    int(event.originator_version), int(event.notification_id), time(event.recorded_at),
    [command === null ? 0 : 1], command === null ? new Uint8Array(16) : uuid(command), int(name.length).slice(4), name, bytesFrom(event.state));
}

/** Return the bytes of a block header, which are signed. */
function headerOf(block) {
  const { commands } = block;
  const tree = commands ? [int(commands.count), hashFrom(commands.root), time(commands.since), time(commands.before)] : [];
  return join(new TextEncoder().encode(`ledger block ${commands ? 2 : 1}\n`), uuid(block.ledger), int(block.number), int(block.first_position),
    int(block.last_position), int(block.count), hashFrom(block.root), hashFrom(block.previous), time(block.sealed_at), ...tree, new TextEncoder().encode(block.key_id));
}

/** Return the steps from a leaf to the root (RFC 9162, section 2.1.3.2); null if the path has another length. */
async function climb(leaf, index, count, path) {
  let [place, last, node] = [index, count - 1, leaf];
  const steps = [];
  for (const sibling of path) {
    if (last === 0) return null;
    const isRight = place % 2 === 1 || place === last; // the node is the right one of the two
    node = isRight ? await sha256([1], sibling, node) : await sha256([1], node, sibling);
    steps.push({ sibling, isRight, node });
    while (isRight && place % 2 === 0 && place > 0) [place, last] = [place / 2, Math.floor(last / 2)];
    [place, last] = [Math.floor(place / 2), Math.floor(last / 2)];
  }
  return last === 0 ? steps : null;
}

async function isSigned({ raw }, message, signature) {
  const key = await crypto.subtle.importKey("raw", raw, "Ed25519", false, ["verify"]);
  return crypto.subtle.verify("Ed25519", key, signature, message);
}

/**
 * Return the keys of a text: a key set or a key in JSON (RFC 7517), PEM, or the 32 bytes in base64. `kid` is computed:
 * it is the key's thumbprint (RFC 7638). Raises `MalformedError`.
 */
export async function keysOf(text) {
  const raws = text.includes("-----BEGIN") ? [...text.matchAll(PEM)].map(([, body]) => rawOfPem(body)) : /^\s*[{[]/.test(text) ? rawsOfJson(text) : [rawOf(text.trim())];
  if (raws.length === 0) throw new MalformedError("There is no public key in this text");
  return Promise.all(raws.map(async (raw) => ({ raw, kid: await thumbprint(raw) })));
}

function rawsOfJson(text) {
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    throw new MalformedError("This is not JSON");
  }
  return [found.keys ?? found].flat().filter((key) => key?.kty === "OKP" && key.crv === "Ed25519").map((key) => rawOf(String(key.x)));
}

function rawOfPem(body) {
  const hex = toHex(bytesFrom(body.replaceAll(/\s/g, "")));
  if (!hex.startsWith(PEM_PREFIX) || hex.length !== PEM_PREFIX.length + 2 * HASH_BYTES) throw new MalformedError("This is not an Ed25519 key");
  return fromHex(hex.slice(PEM_PREFIX.length));
}

function rawOf(text) {
  const raw = bytesFrom(`${text.replaceAll("-", "+").replaceAll("_", "/").replace(/=+$/, "")}=`);
  if (raw.length !== HASH_BYTES) throw new MalformedError("An Ed25519 key has 32 bytes");
  return raw;
}

async function thumbprint(raw) {
  const x = base64Url(raw);
  return base64Url(await sha256(new TextEncoder().encode(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`)));
}

/** Return the content of a proven event: JSON, or the short form of a plain transfer's events. */
export function contentOf(event) {
  const state = bytesFrom(event.state);
  if (state[0] !== 1) return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(state));
  const number = (from) => Number(new DataView(state.buffer).getBigInt64(from));
  if (event.topic !== "MoneyTransferred") return { transaction_id: uuidText(state, 1), amount_cents: number(17), balance_cents: number(25) };
  return { source_account_id: uuidText(state, 1), destination_account_id: uuidText(state, 17), amount_cents: number(33), currency: new TextDecoder().decode(state.slice(41, 44)) };
}

/**
 * Return where a transaction, as the service shows it, differs from the proven events: [{ name, shown, proven }].
 * A receipt that proves events of something else is a difference, too.
 */
export function differences(transaction, receipt, { isNow = true } = {}) {
  const events = receipt.proofs.map(({ event }) => event);
  const isPart = (event) => event.originator_id === transaction.id || (contentOf(event).transaction_id ?? contentOf(event).transfer_id) === transaction.id;
  const other = events.find((event) => !isPart(event));
  if (other) return [{ name: "transaction", shown: transaction.id, proven: other.originator_id }];
  const first = events.find((event) => event.originator_id === transaction.id && event.originator_version === 1);
  if (!first) return entryDifferences(transaction, events);
  const content = contentOf(first);
  const said = content.transfer ?? content.journal_entry ?? content;
  const amended = events.findLast((event) => event.topic === "TransactionAmended");
  const texts = amended ? contentOf(amended) : said;
  const rows = [
    ...["source_account_id", "destination_account_id", "amount_cents", "currency", "postings", "reference"].map((name) => [name, transaction[name], said[name]]),
    ["created_at", micros(transaction.created_at), micros(first.recorded_at)],
    ...(isNow ? [["description", transaction.description, texts.description], ["metadata", transaction.metadata, texts.metadata]] : []),
  ];
  return rows.filter(([, shown, proven]) => canonical(shown) !== canonical(proven)).map(([name, shown, proven]) => ({ name, shown: canonical(shown), proven: canonical(proven) }));
}

/** Compare the entries alone: customers get no proof of a journal entry, which shows accounts of others. */
function entryDifferences(transaction, events) {
  const sums = new Map();
  for (const { account_id: id, amount_cents: cents } of transaction.postings ?? []) sums.set(id, (sums.get(id) ?? 0) + cents);
  const moved = events.filter(({ topic }) => topic === "AccountDebited" || topic === "AccountCredited");
  const found = new Map();
  for (const event of moved) found.set(event.originator_id, (found.get(event.originator_id) ?? 0) + (event.topic === "AccountDebited" ? -1 : 1) * Math.abs(contentOf(event).amount_cents));
  return [...found].filter(([id, cents]) => sums.has(id) && sums.get(id) !== cents).map(([id, cents]) => ({ name: "postings", shown: String(sums.get(id)), proven: String(cents) }));
}

/** Return a text that is the same for the same value: null, absent and empty mean the same. */
function canonical(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "object") return String(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(", ")}]`;
  const members = Object.keys(value).sort().map((name) => `${JSON.stringify(name)}: ${JSON.stringify(value[name])}`);
  return members.length > 0 ? `{${members.join(", ")}}` : "";
}

function micros(text) {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?Z$/.exec(text);
  const milliseconds = match ? Date.parse(`${match[1]}Z`) : NaN;
  if (Number.isNaN(milliseconds)) throw new MalformedError("The receipt has a time that is not in UTC");
  return BigInt(milliseconds) * 1000n + BigInt((match[2] ?? "").padEnd(6, "0"));
}

function time(text) {
  return int(micros(text));
}

function int(value) {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigInt64(0, typeof value === "bigint" ? value : BigInt(whole(value)));
  return new Uint8Array(view.buffer);
}

/** Return an integer that JSON has carried exactly. */
function whole(value) {
  if (!Number.isSafeInteger(value)) throw new MalformedError("The receipt has a number that is not an integer");
  return value;
}

function uuid(text) {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) throw new MalformedError("The receipt has an id that is none");
  return fromHex(text.replaceAll("-", ""));
}

function uuidText(state, from) {
  const hex = toHex(state.slice(from, from + 16));
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

function hashFrom(text) {
  const hash = bytesFrom(text);
  if (hash.length !== HASH_BYTES) throw new MalformedError("The receipt has a hash that does not have 32 bytes");
  return hash;
}

function bytesFrom(text) {
  try {
    const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
    if (typeof text === "string" && base64(bytes) === text) return bytes;
  } catch {
    // said below
  }
  throw new MalformedError("This is not base64");
}

function base64(bytes) {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

function base64Url(bytes) {
  return base64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function fromHex(text) {
  return Uint8Array.from(text.match(/../g), (pair) => Number.parseInt(pair, 16));
}

/** Return bytes in hexadecimal digits. */
export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function join(...parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let end = 0;
  for (const part of parts) {
    all.set(part, end);
    end += part.length;
  }
  return all;
}

async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", join(...parts)));
}
