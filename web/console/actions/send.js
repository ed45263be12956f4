// Sends a change once: repeats have the same Idempotency-Key, so whatever gets lost on the way, money moves once.

import { command, Problem } from "../api.js";

const PAUSES = [600, 1800, 4000]; // milliseconds before each repetition
const PATIENCE_MILLISECONDS = 20_000; // for a response

/** Return a request with the key that belongs to it. `isDoneBy(problem)` says that a repetition found it done. */
export function keyed({ method, path, body, isDoneBy = () => false }) {
  return { method, path, body, isDoneBy, key: `console-${crypto.randomUUID()}` };
}

/** Return what a request would do. Raises `Problem`. */
export async function tryOut({ method, path, body }) {
  return (await command(method, path, { body, dryRun: true, signal: AbortSignal.timeout(PATIENCE_MILLISECONDS) })).body;
}

/**
 * Send a request until its outcome is known; return the body of the response. `onRepeat` is called before each
 * repetition. Raises `Problem`: if `isUnclear(problem)`, sending the same request again is safe.
 */
export async function sendOnce(request, { onRepeat }) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const headers = request.method === "POST" ? { "Idempotency-Key": request.key } : {}; // other methods change nothing twice
      return (await command(request.method, request.path, { body: request.body, headers, signal: AbortSignal.timeout(PATIENCE_MILLISECONDS) })).body;
    } catch (error) {
      const problem = error instanceof Problem ? error : new Problem(0); // such as a response that breaks off
      if (request.wasSent && request.isDoneBy(problem)) return null;
      if (!isUnclear(problem)) throw problem;
      request.wasSent = true;
      if (attempt === PAUSES.length) throw problem;
      onRepeat(attempt + 1, problem);
      await new Promise((resolve) => { setTimeout(resolve, PAUSES[attempt]); });
    }
  }
}

/** Return whether a problem leaves open what has become of the request. */
export function isUnclear({ status, code }) {
  return status === 0 || status >= 500 || status === 429 || code === "idempotency_key_in_use";
}
