// Builds a request from the form, sends it, and shows the response.

import { disclosure, element } from "./dom.js";
import { exampleOf, exampleOfMedia, resolve } from "./schema.js";
import { base, keepTokens, tokenFor } from "./session.js";
import { jsonView } from "./views.js";

/** Return the form's controls for an operation: an input for each parameter, and the body. */
export function controlsOf(spec, { operation, parameters }) {
  return {
    parameters: parameters.map((parameter) => ({ ...parameter, input: parameterInput(spec, parameter) })),
    body: operation.requestBody ? bodyInput(spec, resolve(spec, operation.requestBody).schema) : null,
  };
}

function parameterInput(spec, { name, required, schema = {} }) {
  const { schema: found } = resolve(spec, schema);
  const choices = found.enum ?? (found.type === "boolean" ? ["true", "false"] : null);
  const attributes = { "data-name": name, required: required === true };
  if (choices) {
    return element("select", attributes, ["", ...choices].map((choice) => element("option", { value: choice }, String(choice))));
  }
  const hint = required ? exampleOf(spec, schema) : (found.examples?.[0] ?? found.default);
  const placeholder = hint === undefined || hint === null ? null : String(hint);
  return element("input", { ...attributes, placeholder, autocomplete: "off", spellcheck: "false" });
}

const FORM = "application/x-www-form-urlencoded";

function bodyInput(spec, { content, required = false }) {
  const types = Object.keys(content);
  const example = (type) => {
    const value = exampleOfMedia(spec, content[type]);
    if (type === FORM) return new URLSearchParams(value).toString();
    return typeof value === "object" ? JSON.stringify(value, null, 2) : type.includes("json") && type !== types[0] ? "" : String(value ?? "");
  };
  const text = element("textarea", { spellcheck: "false", autocomplete: "off", rows: "4" }, example(types[0]));
  const type = element("select", { onchange: () => { text.value = example(type.value); } }, types.map((each) => element("option", {}, each)));
  return { text, type, types, required };
}

/** Return the request that the controls describe. */
export function requestOf({ method, path, operation }, controls) {
  const url = new URL(path.slice(1).replace(/\{([^}]+)\}/g, (_, name) => encodeURIComponent(valueOf(controls, "path", name))), base);
  const headers = new Headers({ Accept: acceptOf(operation) });
  for (const { in: place, name, input } of controls.parameters) {
    if (input.value === "") continue;
    if (place === "query") url.searchParams.append(name, input.value);
    if (place === "header") headers.set(name, input.value);
  }
  const scheme = schemeOf(operation);
  if (scheme && tokenFor(scheme)) headers.set("Authorization", `Bearer ${tokenFor(scheme)}`);
  const body = controls.body && (controls.body.required || controls.body.text.value.trim()) ? controls.body.text.value : undefined;
  if (body !== undefined) headers.set("Content-Type", controls.body.type.value);
  return { url, method: method.toUpperCase(), headers, body };
}

/** Return the security scheme that an operation asks for, or undefined. */
export function schemeOf(operation) {
  return (operation.security ?? []).flatMap((each) => Object.keys(each))[0];
}

function valueOf(controls, place, name) {
  return controls.parameters.find((parameter) => parameter.in === place && parameter.name === name)?.input.value ?? "";
}

function acceptOf(operation) {
  const success = Object.entries(operation.responses ?? {}).find(([status]) => status.startsWith("2"))?.[1];
  const types = Object.keys(success?.content ?? {});
  return [...new Set([...types.slice(0, 1), "application/problem+json", "application/json;q=0.9"])].join(", ");
}

/** Return a request as a curl command, with the token as a variable. */
export function curlOf({ url, method, headers, body }) {
  const quoted = (text) => `'${text.replaceAll("'", String.raw`'\''`)}'`;
  const shown = [...headers].filter(([name]) => name !== "accept").map(([name, value]) => (
    name === "authorization" ? `-H "Authorization: Bearer $TOKEN"` : `-H ${quoted(`${name}: ${value}`)}`
  ));
  const data = body === undefined ? [] : [`-d ${quoted(body)}`];
  return [`curl -X ${method} ${quoted(String(url))}`, ...shown, ...data].join(" \\\n  ");
}

/** Send a request and show its response in `output`. */
export async function send(request, output) {
  const started = performance.now();
  output.replaceChildren(element("p", { role: "status" }, "Sending …"));
  try {
    const response = await fetch(request.url, request);
    const text = await response.text();
    const body = parsed(response, text);
    keepTokens(body);
    const milliseconds = Math.round(performance.now() - started);
    output.replaceChildren(...answer(response, text, body, milliseconds));
  } catch (error) {
    output.replaceChildren(element("p", { role: "alert", class: "bad" }, `No response: ${error.message}`));
  }
}

function parsed(response, text) {
  try {
    return /json$/.test((response.headers.get("Content-Type") ?? "").split(";")[0].trim()) ? JSON.parse(text) : text;
  } catch {
    return text;
  }
}

function answer(response, text, body, milliseconds) {
  const sort = response.ok ? "good" : "bad";
  const status = [element("strong", { class: sort }, `${response.status} ${response.statusText}`), ` in ${milliseconds} ms, ${text.length} characters`];
  const headers = disclosure("Response headers", () => [jsonView([...response.headers].map((pair) => pair.join(": ")).join("\n"), "Response headers")]);
  return [
    element("p", { role: "status" }, status),
    text === "" ? null : jsonView(body, "Response body"),
    headers.button,
    headers.region,
  ].filter(Boolean);
}
