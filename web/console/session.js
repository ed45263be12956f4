// Who has signed in. The tokens are in cookies that no script can read.

import { command, forget, get } from "./api.js";

const ADDRESS = "/console/session";
const EARLY_MILLISECONDS = 30_000; // before the access token expires

let me = null;
let renewing = null;
let timer = 0;

/** Return who has signed in, or null: id, username, roles, session_id, expires_at. */
export function who() {
  return me;
}

/** Return whether the user has one of these roles. */
export function can(...roles) {
  return me !== null && roles.some((role) => me.roles.includes(role));
}

/** Find out who has signed in, extending the session if that is needed. Return null if nobody has. */
export async function resume() {
  me = await load().catch(async (problem) => {
    if (problem.status !== 401) throw problem;
    return (await renew()) ? load() : null;
  });
  return me;
}

/** Sign in. Raises `Problem`, such as `authentication_otp_required`. */
export async function signIn(username, password, otp) {
  await command("POST", ADDRESS, { body: { username, password, ...(otp ? { otp } : {}) } });
  const before = me?.id;
  me = await load();
  if (before !== me.id) forget();
  return me;
}

/** End the session. */
export async function signOut() {
  clearTimeout(timer);
  me = null;
  forget();
  await command("DELETE", ADDRESS);
}

/** Extend the session; return whether that was possible. Tabs that do so at the same time get the same new tokens. */
export function renew() {
  const key = me?.expires_at ?? "first";
  renewing ??= command("POST", `${ADDRESS}/refresh`, { headers: { "Idempotency-Key": `console-${key}` } })
    .then(load)
    .then((found) => { me = found; return found !== null; }, () => false)
    .finally(() => { renewing = null; });
  return renewing;
}

async function load() {
  const found = await get(ADDRESS);
  clearTimeout(timer);
  if (!found) return null;
  const left = new Date(found.expires_at) - Date.now() - EARLY_MILLISECONDS;
  timer = setTimeout(() => { if (!document.hidden) renew(); }, Math.min(Math.max(left, 1000), 2_000_000_000));
  return found;
}
