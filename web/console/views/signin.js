// Sign in with a password and, for users with a second factor, a one-time code.

import { h } from "../dom.js";
import { signIn } from "../session.js";

/** Return the form; `onSignedIn` is called with nothing once somebody has signed in. A problem of the API says why one must. */
export function signInView(onSignedIn, reason = null) {
  const name = field("Username", { autocomplete: "username", required: true, autocapitalize: "none" });
  const password = field("Password", { type: "password", autocomplete: "current-password", required: true });
  const code = field("One-time or recovery code", { autocomplete: "one-time-code", inputmode: "text" });
  const problem = h("p", { role: "alert", class: "problem" });
  const button = h("button", { class: "primary" }, "Sign in");
  code.label.hidden = true;
  const send = async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.textContent = "";
    try {
      await signIn(name.input.value, password.input.value, code.input.value.trim());
      await onSignedIn();
    } catch (error) {
      button.disabled = false;
      explain(error);
    }
  };
  const explain = (error) => {
    if (error.code === "authentication_otp_required") {
      code.label.hidden = false;
      code.input.focus();
      return;
    }
    problem.textContent = [`${error.message}.`, error.status === 429 || !error.status ? error.help : ""].join(" ");
  };
  return h("div", { class: "sign-in" },
    h("h1", {}, "Ledger"),
    h("p", { class: "muted" }, reason ? whyAgain(reason) : "Sign in to look at the books."),
    !isSecureContext && h("p", { class: "problem", role: "alert" }, "Signing in needs TLS: open the console by an address that begins with https."),
    h("form", { onsubmit: send }, name.label, password.label, code.label, problem, button));
}

function whyAgain({ code }) {
  const why = code === "login_too_old" ? "This change needs a recent login." : "Your session has ended.";
  return `${why} Sign in again to go on where you were.`;
}

function field(text, attributes) {
  const input = h("input", { ...attributes, spellcheck: "false" });
  return { input, label: h("label", {}, text, input) };
}
