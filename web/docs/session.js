// The tokens. They are only in this module's memory, so a reload signs the user out.

import { disclosure, element } from "./dom.js";

const LOGIN = "v1/auth/login";
const LOGOUT = "v1/auth/logout";
const OTP_REQUIRED = "authentication_otp_required";

export const base = new URL(".", document.baseURI);

const session = { access: "", refresh: "", name: "" };
const listeners = [];

/** Return the token that a security scheme asks for, or an empty string. */
export function tokenFor(scheme) {
  return scheme === "refreshToken" ? session.refresh : session.access;
}

/** Keep the tokens of an answer that has some, whichever operation gave it. */
export function keepTokens(body) {
  if (typeof body?.access_token !== "string") return;
  keep({ access: body.access_token, refresh: body.refresh_token ?? session.refresh, name: session.name || "a token" });
}

function keep(tokens) {
  Object.assign(session, tokens);
  for (const listener of listeners) listener();
}

/** Return the panel in which the reader signs in and out. */
export function sessionView() {
  const panel = disclosure("Sign in", () => [signIn(panel), pasted(panel)], { className: "session" });
  listeners.push(() => {
    panel.button.textContent = session.access ? `Signed in: ${session.name}` : "Sign in";
    panel.region.replaceChildren(...(session.access ? [signOut(panel)] : []));
    panel.close();
  });
  panel.region.addEventListener("keydown", (event) => {
    if (event.key === "Escape") leave(panel);
  });
  return element("div", { class: "session-box" }, panel.button, panel.region);
}

function leave(panel) {
  panel.close();
  panel.button.focus();
}

function signIn(panel) {
  const name = field("Username", { autocomplete: "username", required: true });
  const password = field("Password", { type: "password", autocomplete: "current-password", required: true });
  const code = field("One-time code", { autocomplete: "one-time-code" });
  const problem = element("p", { role: "alert", class: "bad" });
  const send = async (event) => {
    event.preventDefault();
    const askForCode = () => problem.before(code.label);
    problem.textContent = await logIn(name.input.value, password.input.value, code.input.value.trim() || undefined, askForCode);
    if (!problem.textContent) panel.button.focus();
  };
  return element("form", { onsubmit: send }, name.label, password.label, problem, element("button", { class: "primary" }, "Sign in"));
}

async function logIn(username, password, otp, askForCode) {
  try {
    const headers = { "Content-Type": "application/json" };
    const response = await fetch(new URL(LOGIN, base), { method: "POST", headers, body: JSON.stringify({ username, password, otp }) });
    const body = await response.json();
    if (body.errors?.[0]?.code === OTP_REQUIRED) askForCode();
    if (!response.ok) return body.detail ?? response.statusText;
    keep({ access: body.access_token, refresh: body.refresh_token, name: username });
    return "";
  } catch (error) {
    return String(error);
  }
}

function pasted(panel) {
  const token = field("or an access token", { type: "password", autocomplete: "off", required: true });
  const use = (event) => {
    event.preventDefault();
    keep({ access: token.input.value.trim(), refresh: "", name: "a token" });
    panel.button.focus();
  };
  return element("form", { onsubmit: use }, token.label, element("button", {}, "Use this token"));
}

function signOut(panel) {
  const end = async () => {
    const { refresh } = session;
    keep({ access: "", refresh: "", name: "" });
    panel.button.focus();
    if (refresh) await fetch(new URL(LOGOUT, base), { method: "POST", headers: { Authorization: `Bearer ${refresh}` } });
  };
  const note = element("p", {}, "The tokens are only in the memory of this page.");
  return element("div", {}, note, element("button", { type: "button", onclick: end }, "Sign out"));
}

function field(text, attributes) {
  const input = element("input", { ...attributes, spellcheck: "false" });
  return { input, label: element("label", {}, text, input) };
}
