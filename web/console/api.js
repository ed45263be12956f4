// Requests of the public API. The browser attaches the session's cookie; no script sees a token.

const MAX_CACHED = 400; // responses
const MAX_CACHED_ITEMS = 10_000; // of the lists among them
const sizeOf = ({ body }) => (Array.isArray(body) ? body.length : 1);
let cachedItems = 0;
const cache = new Map(); // by URL, least recently used first: { body, etag, next, readAt }
const handlers = { renew: async () => false, lost: () => {} };

/** A refusal of the service, or no response at all. `errors` has an entry for each reason. */
export class Problem extends Error {
  constructor(status, body = {}) {
    const [first = {}] = body.errors ?? [];
    super(capital(first.message ?? body.detail ?? "The service does not respond"));
    this.status = status;
    this.code = first.code ?? "unreachable";
    this.help = [first.reason, first.code === "validation_error" ? null : first.help].filter(Boolean).map(capital).join(". ") || (status ? "" : "It may be stopped, or the network is down.");
    this.errors = body.errors ?? [];
    this.traceId = first.trace_id;
    this.body = body;
  }
}

/** Return whether a problem is that of a moment: the service is busy, or does not respond. */
export function isPassing({ status }) {
  return status === 0 || status === 429 || status >= 500;
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Return whether the user has to sign in again, after which what was begun goes on. */
export function needsSignIn({ status, code }) {
  return status === 401 || code === "login_too_old";
}

/** Say how to extend a session that has expired, and what to do when it is lost, or too old for a change. */
export function onSession({ renew, lost }) {
  Object.assign(handlers, { renew, lost });
}

/** Return a path with its query; absent values are left out. */
export function url(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(given.flatMap(([name, value]) => [value].flat().map((each) => [name, String(each)]))).toString();
  return text ? `${path}${path.includes("?") ? "&" : "?"}${text}` : path;
}

/** Return the body of a resource. A known one is only asked for again by its entity tag. Raises `Problem`. */
export async function get(path, { query = {}, signal } = {}) {
  return (await read(url(path, query), signal)).body;
}

/** Return a page of a list: its items, and the address of the next page or null. Raises `Problem`. */
export async function page(path, { query = {}, signal } = {}) {
  const { body, next } = await read(url(path, query), signal);
  return { items: body, next };
}

/** Return a body that was read before, or undefined. */
export function known(path, query = {}) {
  return cache.get(url(path, query))?.body;
}

/** Return when a body was last read, in milliseconds, or undefined. */
export function readAt(path, query = {}) {
  return cache.get(url(path, query))?.readAt;
}

/** Forget what was read, because somebody else has signed in. */
export function forget() {
  cache.clear();
  cachedItems = 0;
}

async function read(address, signal) {
  const before = cache.get(address);
  const headers = before?.etag ? { "If-None-Match": before.etag } : {};
  const response = await send("GET", address, { headers, signal });
  const entry = response.status === 304 ? before : { body: response.status === 204 ? null : await response.json(), etag: response.headers.get("ETag"), next: nextOf(response) };
  drop(address);
  cache.set(address, { ...entry, readAt: Date.now() });
  cachedItems += sizeOf(entry);
  while (cache.size > MAX_CACHED || cachedItems > MAX_CACHED_ITEMS) drop(cache.keys().next().value);
  return entry;
}

function drop(address) {
  if (cache.has(address)) cachedItems -= sizeOf(cache.get(address));
  cache.delete(address);
}

function nextOf(response) {
  const match = /<([^>]+)>;\s*rel="?next"?/.exec(response.headers.get("Link") ?? "");
  return match ? match[1] : null;
}

/** Send a command; return its body and headers. `dryRun` asks what it would change. Raises `Problem`. */
export async function command(method, path, { query = {}, body, signal, headers = {}, dryRun = false } = {}) {
  const address = url(path, dryRun ? { ...query, dry_run: "true" } : query);
  const all = { "Content-Type": "application/json", ...headers };
  const response = await send(method, address, { headers: all, body: body === undefined ? undefined : JSON.stringify(body), signal });
  const text = await response.text();
  return { body: text ? JSON.parse(text) : null, headers: response.headers, status: response.status };
}

/** Send a request, and once more if the session could be extended. Raises `Problem` unless it succeeds. */
export async function send(method, address, options = {}) {
  let response = await attempt(method, address, options);
  if (response.status === 401 && !address.startsWith("/console/session")) {
    if (await handlers.renew()) response = await attempt(method, address, options);
  }
  if (response.ok || response.status === 304) return response;
  const problem = new Problem(response.status, await response.json().catch(() => ({})));
  if (needsSignIn(problem) && !address.startsWith("/console/session")) handlers.lost(problem);
  throw problem;
}

async function attempt(method, address, { headers = {}, body, signal }) {
  try {
    return await fetch(address, { method, headers: { Accept: "application/json, application/problem+json", ...headers }, body, signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0);
  }
}
