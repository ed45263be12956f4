// Creating, changing and deleting webhooks, and giving them new secrets. A secret is shown once, and kept nowhere.

import { get } from "../api.js";
import { h, newId } from "../dom.js";
import { count, timeText } from "../format.js";
import { logEnd } from "../time.js";
import { accountsText, deadlineOfOlder, orderText, topicsText } from "../webhook.js";
import { memberChanges } from "./effects.js";
import { choiceField, positionField, textField } from "./fields.js";
import { topicsField } from "./topics.js";

const PATH = "/v1/webhooks";
const DAY = 86_400; // seconds
const MOST_URL = 2048; // characters
const MEMBERS = { url: "Address", topics: "Events", code_prefix: "Accounts", order: "Order", description: "Description" };
const ORDERS = [["webhook", "Each event waits until the one before it is delivered"], ["account", "An event waits only for earlier ones about the same account"]];
const OVERLAPS = [[DAY, "A day"], [3600, "An hour"], [7 * DAY, "A week"], [30 * DAY, "30 days"], [0, "Not at all: it ends at once"]];
const SHOWN_ONCE = "Copy the secret now: it is shown only this once. With it, the endpoint verifies that a request comes from this ledger.";

const strong = (text) => h("strong", { class: "given" }, text);

function settingFields({ url = "", topics = [], code_prefix: prefix, order = "webhook", description } = {}, isExtra = false) {
  return [
    textField({ name: "url", label: "Address", value: url, isRequired: true, maxlength: MOST_URL, inputmode: "url", hint: "A URL that begins with https:// and does not lead into the service's own network." }),
    topicsField({ known: topics }),
    textField({ name: "code_prefix", label: "Accounts", value: prefix ?? "", hint: "Only events about accounts with this code, such as users:bob, or one below it. Empty: all accounts." }),
    choiceField({ name: "order", label: "Order", choices: ORDERS, value: order, isExtra }),
    textField({ name: "description", label: "Description", value: description ?? "", maxlength: 500, hint: "For people: it is never sent.", isExtra }),
  ];
}

/** Return the action that creates a webhook. */
export async function createWebhook() {
  const { position: end } = await get("/v1/ledger/status");
  const [url, topics, accounts, ...others] = settingFields({}, true);
  const from = positionField({ name: "from_position", label: "From position", hint: `Empty: from the next event on. The log ends at position ${count(end)}; 1 sends the whole log.` });
  return {
    title: "New webhook", text: "The ledger sends each event as a signed request, and repeats it until the endpoint answers with success.",
    fields: [url, topics, accounts, from, ...others],
    request: (body) => ({ method: "POST", path: PATH, body }),
    preview: async (result, { from_position: position }) => [
      h("p", {}, "Send ", what(result), " to ", strong(result.url), "."),
      beginning(position, Math.max(end, logEnd())),
      h("p", {}, ORDERS.find(([order]) => order === result.order)[1], "."),
      h("p", { class: "muted" }, "The ledger makes a secret, with which it signs. It is shown once, after this.")],
    made: (result) => withSecret("The webhook is created.", result, "Rotate the secret to get another one."),
  };
}

/** Return in words which events a webhook sends. */
function what({ topics, code_prefix: prefix }) {
  const events = topics.length === 0 ? "all events that may leave the ledger" : topics.length === 1 ? ["all events ", strong(topics[0])] : ["events of ", strong(`${topics.length} topics`)];
  return [events, prefix !== null && [" about accounts with the code ", strong(prefix), " or one below it"]];
}

/** Return in words with which event a webhook begins. */
function beginning(position, end) {
  if (position === undefined || position > end) return h("p", {}, "It begins with the next event, after position ", strong(count(end)), " of the log.");
  return h("p", {}, "It begins at position ", strong(count(position)), ": of the events from there to the end of the log, at position ", strong(count(end)), ", those that it sends go out first, in order; then each new one.");
}

/** Return the action that changes the settings of a webhook. */
export async function changeWebhook(context, webhook) {
  const progress = await get(`${PATH}/${webhook.id}/progress`);
  return {
    title: "Change the webhook", fields: settingFields(webhook),
    request: (values) => ({ method: "PATCH", path: `${PATH}/${webhook.id}`, body: changed(webhook, values) }),
    preview: async (result) => {
      const members = Object.entries(MEMBERS).map(([key, name]) => [name, textOf(key, webhook), textOf(key, result)]).filter(([, before, after]) => before !== after);
      if (members.length === 0) return h("p", { class: "muted" }, "Nothing changes.");
      return [memberChanges(members), h("p", {}, "This applies to all events that are not delivered yet: those after position ", strong(count(progress.position)), progress.pending > 0 && `, and ${progress.pending === 1 ? "one" : count(progress.pending)} before it`, ". They are sent to ", strong(result.url), result.status === "disabled" ? " once the webhook is enabled again." : ".")];
    },
    made: () => ({ text: "The webhook is changed." }),
  };
}

/** Return only what differs from the webhook, so that nobody else's change is undone. */
function changed(webhook, values) {
  const given = { ...values, code_prefix: values.code_prefix ?? null, description: values.description ?? null };
  const plain = (value) => JSON.stringify(Array.isArray(value) ? [...value].sort() : value);
  return Object.fromEntries(Object.keys(MEMBERS).filter((key) => plain(given[key]) !== plain(webhook[key])).map((key) => [key, given[key]]));
}

function textOf(key, webhook) {
  return { topics: topicsText, code_prefix: accountsText, order: orderText }[key]?.(webhook) ?? webhook[key];
}

/** Return the action that gives a webhook another secret. */
export function rotateSecret(context, webhook) {
  const older = deadlineOfOlder(webhook);
  return {
    title: "Rotate the secret", text: "Requests get a signature with a new secret, and for a while a second one with the current secret, so that the endpoint can change over.",
    fields: [choiceField({ name: "overlap_seconds", label: "Keep signing with the current secret for", choices: OVERLAPS, value: DAY })],
    request: ({ overlap_seconds: seconds }) => ({ method: "POST", path: `${PATH}/${webhook.id}/rotate-secret`, body: { overlap_seconds: Number(seconds) } }),
    preview: async (result) => {
      const end = deadlineOfOlder(result);
      return [
        h("p", {}, "From now on, requests to ", strong(webhook.url), " are signed with a new secret. It is shown once, after this."),
        end === null
          ? h("p", {}, "The current secret ends at once: the endpoint can verify nothing until it has the new one.")
          : h("p", {}, "The current secret signs as well until ", strong(timeText(end)), ". Give the new one to the endpoint by then."),
        older !== null && h("p", { class: "warn" }, `An earlier rotation is still under way: the secret that was to sign until ${timeText(older)} ends now.`)];
    },
    made: (result) => withSecret("The secret is rotated.", result, "Rotate it again, and give the endpoint the new secret at once: the one that it has will no longer sign."),
  };
}

/** Return the action that deletes a webhook. */
export function deleteWebhook(context, webhook) {
  return {
    title: "Delete the webhook", isGrave: true,
    request: () => ({ method: "DELETE", path: `${PATH}/${webhook.id}`, isDoneBy: ({ code }) => code === "resource_not_found" }),
    preview: async () => [
      h("p", {}, "Nothing more is sent to ", strong(webhook.url), ". Events that are not delivered yet never will be."),
      h("p", {}, "The secret and the list of deliveries are deleted. The log keeps all events, and that there was this webhook.")],
    made: () => ({ text: "The webhook is deleted." }),
  };
}

/** Return what was done, with the secret; a response that was sent again does not have it. */
function withSecret(text, { secret }, instead) {
  if (!secret) return { text, content: h("p", { class: "warn" }, `The response with the secret was lost, and the ledger shows it only once. ${instead}`) };
  return { text, content: secretOf(secret), isOnce: true };
}

function secretOf(secret) {
  const id = newId("secret");
  const code = h("code", { class: "secret", tabindex: "0", "aria-labelledby": id }, secret);
  const told = h("span", { class: "good", role: "status" });
  const copy = async () => {
    const isCopied = await navigator.clipboard.writeText(secret).then(() => true, () => false);
    if (!isCopied) getSelection().selectAllChildren(code);
    told.textContent = isCopied ? "✓ Copied" : "Press Ctrl C or ⌘ C to copy it";
  };
  return h("div", { class: "field" }, h("p", {}, SHOWN_ONCE), h("p", { id, class: "hint" }, "Secret"), code,
    h("div", { class: "row-of" }, h("button", { type: "button", onclick: copy }, "Copy the secret"), told));
}
