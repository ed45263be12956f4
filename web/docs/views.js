// Shows schemas and JSON.

import { disclosure, element } from "./dom.js";
import { inline } from "./markdown.js";
import { hasParts, membersOf, resolve, rulesOf, typeOf, variantsOf, withoutNull } from "./schema.js";

const FEW = 12; // values of an enumeration that are shown at once
const SHORT = 40; // characters of a pattern that are shown at once
const MOST = 200_000; // characters of a response that are shown
const TOKENS = /("(?:\\.|[^"\\])*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** Show a value as JSON, or a string as it is. */
export function jsonView(value, label) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  const shown = text.length > MOST ? `${text.slice(0, MOST)}\n… and ${text.length - MOST} more characters` : text;
  const content = typeof value === "string" ? [shown] : highlighted(shown);
  return element("pre", { tabindex: "0", role: "group", "aria-label": label }, element("code", {}, content));
}

function highlighted(text) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(TOKENS)) {
    const [whole, string, colon] = match;
    nodes.push(text.slice(end, match.index));
    if (colon) nodes.push(whole);
    else nodes.push(element("span", { class: string ? "string" : "literal" }, whole));
    end = match.index + whole.length;
  }
  return [...nodes, text.slice(end)];
}

/** Show a schema: its members, its alternatives, or those of its items. `request` leaves out members of responses. */
export function schemaView(spec, schema, { request = false } = {}) {
  const options = { request };
  const { schema: found } = resolve(spec, withoutNull(spec, schema).schema);
  if (found.type === "array") return [element("p", { class: "note" }, `Each item: ${typeOf(spec, found.items)}`), ...schemaView(spec, found.items, options)];
  const parts = [members(spec, found, options), map(spec, found, options), variants(spec, found, options)];
  return parts.some(Boolean) ? parts.filter(Boolean) : [element("div", { class: "facts" }, facts(spec, schema))];
}

function members(spec, schema, options) {
  const all = membersOf(spec, schema);
  const ignored = options.request ? all.filter((member) => resolve(spec, member.schema).schema.readOnly) : [];
  const shown = all.filter((member) => !ignored.includes(member));
  if (!all.length) return null;
  return element("div", {}, [
    element("ul", { class: "members" }, shown.map((member) => memberView(spec, member, options))),
    ignored.length > 0 && element("p", { class: "note" }, "Accepted and ignored: ", listed(ignored.map((member) => member.name))),
  ]);
}

function memberView(spec, { name, schema, required }, options) {
  const label = ["members", element("span", { class: "unseen" }, ` of ${name}`)];
  const details = hasParts(spec, schema) && disclosure(label, () => schemaView(spec, schema, options));
  return element("li", {}, [
    element("div", { class: "facts" }, element("code", { class: "name" }, name), " ", facts(spec, schema, required)),
    about(spec, schema),
    details && [details.button, details.region],
  ].flat());
}

function map(spec, schema, options) {
  const values = schema.additionalProperties;
  if (typeof values !== "object") return null;
  const names = schema.propertyNames ?? {};
  return element("ul", { class: "members" }, [
    element("li", {}, [
      element("div", { class: "facts" }, element("em", {}, "any name"), " ", facts(spec, values)),
      about(spec, values),
      rulesOf(names).length > 0 && element("p", { class: "note" }, `Names: ${rulesOf(names).join(", ")}`),
      hasParts(spec, values) && schemaView(spec, values, options),
    ].flat()),
  ]);
}

function variants(spec, schema, options) {
  const all = variantsOf(spec, schema);
  if (!all.length) return null;
  const rule = schema.oneOf ? "Exactly one of" : "One of";
  const shown = all.map((variant) => {
    if (!hasParts(spec, variant.schema)) return element("li", {}, element("code", {}, variant.label), " ", about(spec, variant.schema));
    const details = disclosure(variant.label, () => [about(spec, variant.schema), ...schemaView(spec, variant.schema, options)].filter(Boolean));
    return element("li", {}, details.button, details.region);
  });
  return element("div", {}, element("p", { class: "note" }, rule), element("ul", { class: "variants" }, shown));
}

/** Return the type of a schema and its rules, on one line; `before` are facts from elsewhere. */
export function facts(spec, schema, required = false, before = []) {
  const { schema: inner, nullable } = withoutNull(spec, schema);
  const { schema: found } = resolve(spec, inner);
  const item = found.type === "array" ? resolve(spec, found.items).schema : {};
  const type = typeOf(spec, inner) + (nullable ? " or null" : "");
  const short = [
    ...before,
    element("span", { class: "type" }, type),
    required && element("span", { class: "required" }, "required"),
    ...[...rulesOf(found), ...rulesOf(item)],
    choices(found.enum ?? item.enum),
    pattern(found.pattern ?? item.pattern),
  ].filter(Boolean);
  return short.flatMap((fact, index) => (index ? [", ", fact].flat() : fact));
}

/** Return the description of a schema, if it has one. */
export function about(spec, schema) {
  const { schema: inner } = withoutNull(spec, schema);
  const text = resolve(spec, schema).schema.description ?? resolve(spec, inner).schema.description;
  return text ? element("p", { class: "about" }, inline(text)) : null;
}

function choices(values) {
  if (!values) return null;
  const all = listed(values.map((value) => JSON.stringify(value)));
  if (values.length <= FEW) return values.length > 1 ? ["one of ", ...all] : null;
  const rest = disclosure(`one of ${values.length} values`, () => [element("p", {}, all)]);
  return [rest.button, rest.region];
}

function pattern(source) {
  if (!source) return null;
  if (source.length <= SHORT) return ["pattern ", element("code", {}, source)];
  const shown = disclosure("pattern", () => [element("p", {}, element("code", {}, source))]);
  return [shown.button, shown.region];
}

function listed(words) {
  return words.flatMap((word, index) => [index ? ", " : "", element("code", {}, word)]);
}
