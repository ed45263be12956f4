// Reads JSON Schema 2020-12 as OpenAPI 3.1 uses it. Pure: it does not touch the page.

const DEPTH = 8; // of examples, because schemas can be recursive
const PLAIN = {
  uuid: "01890a5d-ac96-774b-bcce-b302099a8057",
  "date-time": "2026-05-01T12:00:00Z",
  date: "2026-05-01",
  uri: "https://example.com/",
  email: "alice@example.com",
};

/** Return what a JSON pointer of the document (`#/components/…`) points to. */
export function at(spec, pointer) {
  const parts = pointer.replace(/^#\//, "").split("/");
  const names = parts.map((part) => decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~"));
  return names.reduce((value, name) => value?.[name], spec);
}

/** Follow references. Return the schema, and the name of the component that it came from, if any. */
export function resolve(spec, schema) {
  if (schema === false) return { schema: { not: {} } };
  let name;
  let found = schema === true || schema === undefined ? {} : schema;
  for (let steps = 0; found.$ref && steps < DEPTH; steps += 1) {
    const { $ref, ...besides } = found;
    name = $ref.split("/").at(-1);
    found = { ...at(spec, $ref), ...besides };
  }
  return { schema: found, name };
}

/** Return the schema without the alternative null, and whether it had one. */
export function withoutNull(spec, schema) {
  const { schema: found } = resolve(spec, schema);
  const key = found.anyOf ? "anyOf" : "oneOf";
  const choices = found[key] ?? [];
  const others = choices.filter((choice) => resolve(spec, choice).schema.type !== "null");
  if (others.length === choices.length) return { schema, nullable: false };
  const { [key]: _, ...besides } = found;
  return { schema: others.length === 1 ? { ...others[0], ...without(besides, ["default"]) } : { ...besides, [key]: others }, nullable: true };
}

/** Return the type in words: `string (uuid)`, `array of Account`, `Transfer or Hold`. */
export function typeOf(spec, schema) {
  const { schema: found, name } = resolve(spec, schema);
  if (name) return name;
  if ("const" in found) return JSON.stringify(found.const);
  const choices = found.oneOf ?? found.anyOf;
  if (choices && !found.properties) return [...new Set(choices.map((choice) => typeOf(spec, choice)))].join(" or ");
  if (found.allOf && !found.properties) return found.allOf.map((part) => typeOf(spec, part)).join(" and ");
  return [found.type ?? (found.properties ? "object" : "any")].flat().map((type) => plainType(spec, found, type)).join(" or ");
}

function plainType(spec, schema, type) {
  if (type === "array") return schema.items ? `array of ${typeOf(spec, schema.items)}` : "array";
  if (type === "object" && !schema.properties && typeof schema.additionalProperties === "object") {
    return `map of ${typeOf(spec, schema.additionalProperties)}`;
  }
  return schema.format && type !== "null" ? `${type} (${schema.format})` : type;
}

/** Return the rules beside the type, each as words. Patterns and enumerations are shown apart. */
export function rulesOf(schema) {
  const not = schema.not && "const" in schema.not ? `not ${JSON.stringify(schema.not.const)}` : null;
  return [
    range(schema.minimum, schema.maximum, ""),
    schema.exclusiveMinimum === undefined ? null : `more than ${schema.exclusiveMinimum}`,
    schema.exclusiveMaximum === undefined ? null : `less than ${schema.exclusiveMaximum}`,
    schema.multipleOf === undefined ? null : `a multiple of ${schema.multipleOf}`,
    range(schema.minLength, schema.maxLength, " characters"),
    range(schema.minItems, schema.maxItems, " items"),
    range(schema.minProperties, schema.maxProperties, " members"),
    schema.uniqueItems ? "no item twice" : null,
    not,
    schema.contentEncoding ?? null,
    schema.default === undefined || schema.default === null ? null : `default ${JSON.stringify(schema.default)}`,
    schema.writeOnly ? "write-only" : null,
    schema.deprecated ? "deprecated" : null,
  ].filter(Boolean);
}

function range(least, most, unit) {
  const shown = (number) => (typeof number === "number" ? number.toLocaleString("en") : number);
  if (least === undefined && most === undefined) return null;
  if (most === undefined) return least === 0 && unit ? null : `at least ${shown(least)}${unit}`;
  if (least === undefined) return `at most ${shown(most)}${unit}`;
  return `${least === most ? shown(most) : `${shown(least)} to ${shown(most)}`}${unit}`;
}

/** Return the members of an object and of its `allOf`, required ones first. */
export function membersOf(spec, schema) {
  const { schema: found } = resolve(spec, schema);
  const inherited = (found.allOf ?? []).flatMap((part) => membersOf(spec, part));
  const required = new Set(found.required ?? []);
  const own = Object.entries(found.properties ?? {}).map(([name, member]) => ({ name, schema: member }));
  const all = new Map([...inherited, ...own].map((member) => [member.name, member]));
  const members = [...all.values()].map((member) => ({ ...member, required: Boolean(member.required) || required.has(member.name) }));
  return members.sort((one, other) => other.required - one.required);
}

/** Return the alternatives of a schema, each with what tells it apart: the discriminator's value, or its type. */
export function variantsOf(spec, schema) {
  const { schema: found } = resolve(spec, schema);
  const choices = found.oneOf ?? found.anyOf ?? [];
  return choices.map((choice) => ({ schema: choice, label: variantLabel(spec, found, choice) }));
}

function variantLabel(spec, whole, choice) {
  const { schema: found, name } = resolve(spec, choice);
  const told = whole.discriminator?.propertyName;
  const value = told && membersOf(spec, choice).find((member) => member.name === told)?.schema;
  const shown = value && resolve(spec, value).schema;
  if (shown && ("const" in shown || shown.enum)) {
    return `${told}: ${(shown.enum ?? [shown.const]).map((each) => JSON.stringify(each)).join(", ")}`;
  }
  if (!name && !found.type && !found.properties && found.required) return `with ${found.required.join(", ")}`;
  return name ?? found.title ?? typeOf(spec, choice);
}

/** Return whether a schema has parts that are worth opening. */
export function hasParts(spec, schema) {
  const { schema: found } = resolve(spec, withoutNull(spec, schema).schema);
  if (found.type === "array") return hasParts(spec, found.items);
  if (typeof found.additionalProperties === "object") return true;
  return membersOf(spec, found).length > 0 || variantsOf(spec, found).some((variant) => hasParts(spec, variant.schema));
}

/** Return an example of a schema: its own, or one put together from those of its parts. */
export function exampleOf(spec, schema, depth = 0) {
  const { schema: found } = resolve(spec, schema);
  if (found.examples?.length) return found.examples[0];
  for (const key of ["example", "const", "default"]) if (found[key] !== undefined) return found[key];
  if (found.enum) return found.enum[0];
  if (depth > DEPTH) return null;
  const choices = found.oneOf ?? found.anyOf;
  if (choices && !found.properties) return exampleOf(spec, choices[0], depth + 1);
  const members = membersOf(spec, found);
  if (members.length || found.type === "object") return exampleObject(spec, members, depth);
  if (found.type === "array") return [exampleOf(spec, found.items, depth + 1)];
  return examplePlain(found);
}

function exampleObject(spec, members, depth) {
  const needed = members.filter((member) => member.required);
  const shown = needed.length ? needed : members;
  return Object.fromEntries(shown.map((member) => [member.name, exampleOf(spec, member.schema, depth + 1)]));
}

function examplePlain(schema) {
  const type = [schema.type].flat()[0];
  if (type === "integer" || type === "number") return schema.minimum ?? 1;
  if (type === "boolean") return true;
  if (type === "null" || type === undefined) return null;
  return PLAIN[schema.format] ?? "string";
}

function without(object, names) {
  return Object.fromEntries(Object.entries(object).filter(([name, value]) => !names.includes(name) || value !== null));
}

/** Return the example of a media type: its own first, then that of its schema. Strings are shown as they are. */
export function exampleOfMedia(spec, media) {
  if (media.example !== undefined) return media.example;
  const [first] = Object.values(media.examples ?? {});
  const named = first && resolve(spec, first).schema.value;
  return named ?? (media.schema ? exampleOf(spec, media.schema) : undefined);
}
