// Shows one operation: its request, its responses, its errors in one list, and a form to call it.

import { disclosure, element, newId } from "./dom.js";
import { blocks, inline } from "./markdown.js";
import { controlsOf, curlOf, requestOf, schemeOf, send } from "./request.js";
import { exampleOfMedia, hasParts, resolve, typeOf } from "./schema.js";
import { about, facts, jsonView, schemaView } from "./views.js";

/** Return the operations of a document, in its order, each with its path's parameters. */
export function operationsOf(spec) {
  const methods = ["get", "post", "put", "patch", "delete"];
  return Object.entries(spec.paths).flatMap(([path, item]) =>
    methods.filter((method) => item[method]).map((method) => {
      const operation = item[method];
      const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map((each) => resolve(spec, each).schema);
      return { id: operation.operationId ?? `${method}-${path}`, method, path, operation, parameters, tag: operation.tags?.[0] ?? "other" };
    }),
  );
}

/** Return the article of an operation, whose content is built when it is opened. */
export function operationView(spec, entry) {
  const { id, method, path, operation } = entry;
  const label = [
    element("span", { class: `method ${method}` }, method.toUpperCase()),
    " ",
    element("code", { class: "path" }, path.split(/(?<=\/)/).flatMap((part) => [part, element("wbr")])),
    " ",
    element("span", { class: "summary" }, inline(operation.summary ?? id)),
  ];
  const onToggle = (open) => {
    if (open) history.replaceState(null, "", `#${id}`);
  };
  const shown = disclosure(label, () => [content(spec, entry)], { className: "opener", onToggle });
  const article = element("article", { id, class: "operation" }, element("h3", {}, shown.button), shown.region);
  return { article, open: shown.open };
}

function content(spec, entry) {
  const { operation } = entry;
  const controls = controlsOf(spec, entry);
  const output = element("div", { class: "output" });
  const onsubmit = (event) => {
    event.preventDefault();
    void send(requestOf(entry, controls), output);
  };
  return element("form", { class: "operation-body", onsubmit, "aria-label": operation.summary ?? entry.id }, [
    element("div", { class: "takes" }, [
      ...blocks(operation.description ?? ""),
      operation.deprecated && element("p", { class: "bad" }, "Deprecated."),
      parametersView(spec, controls.parameters),
      bodyView(spec, operation),
    ]),
    element("div", { class: "try" }, [editor(controls), sender(entry, controls), output]),
    element("div", { class: "gives" }, [...successView(spec, operation), errorsView(spec, operation)]),
  ]);
}

function parametersView(spec, parameters) {
  if (!parameters.length) return null;
  const rows = parameters.map(({ name, in: place, required, description, schema, input }) => {
    input.id = newId("parameter");
    return element("li", {}, [
      element("div", { class: "facts" }, element("label", { for: input.id }, element("code", { class: "name" }, name)), " ", facts(spec, schema, required, [place])),
      description && element("p", { class: "about" }, inline(description)),
      input,
    ]);
  });
  return element("section", {}, element("h4", {}, "Parameters"), element("ul", { class: "members parameters" }, rows));
}

function bodyView(spec, operation) {
  if (!operation.requestBody) return null;
  const body = resolve(spec, operation.requestBody).schema;
  const [media] = Object.values(body.content);
  return element("section", {}, [
    element("h4", {}, "Request body", !body.required && element("span", { class: "type" }, " optional")),
    about(spec, media.schema),
    ...schemaView(spec, media.schema, { request: true }),
  ]);
}

function editor({ body }) {
  if (!body) return null;
  body.text.id = newId("body");
  body.type.setAttribute("aria-label", "Content type");
  const choice = body.types.length > 1 ? body.type : element("span", { class: "type" }, body.types[0]);
  return element("div", { class: "editor" }, element("div", { class: "editor-head" }, element("label", { for: body.text.id }, "Request body"), choice), body.text);
}

function sender(entry, controls) {
  const command = disclosure("As a curl command", () => [jsonView(curlOf(requestOf(entry, controls)), "curl command")]);
  command.button.addEventListener("click", () => {
    if (!command.region.hidden) command.region.replaceChildren(jsonView(curlOf(requestOf(entry, controls)), "curl command"));
  });
  const need = { accessToken: "Needs an access token.", refreshToken: "Needs the refresh token." }[schemeOf(entry.operation)];
  return element("div", { class: "sender" }, element("button", { class: "primary" }, `Send ${entry.method.toUpperCase()}`), need && element("span", { class: "note" }, need), command.button, command.region);
}

function successView(spec, operation) {
  const successes = Object.entries(operation.responses).filter(([status]) => status < "4");
  return successes.map(([status, reference]) => {
    const response = resolve(spec, reference).schema;
    const medias = Object.entries(response.content ?? {});
    return element("section", { class: "success" }, [
      element("h4", {}, element("span", { class: "good" }, status), " ", response.description),
      headersView(spec, response),
      medias.length === 0 && element("p", { class: "note" }, "No body."),
      ...medias.flatMap(([type, media]) => mediaView(spec, type, media)),
    ]);
  });
}

function mediaView(spec, type, media) {
  const example = exampleOfMedia(spec, media);
  const parts = hasParts(spec, media.schema) && disclosure("Members", () => schemaView(spec, media.schema));
  return [
    element("p", { class: "note" }, element("code", {}, type), `: ${typeOf(spec, media.schema)}`),
    parts && parts.button,
    parts && parts.region,
    typeof example === "object" && jsonView(example, "Example response"),
  ].filter(Boolean);
}

function headersView(spec, response) {
  const headers = Object.entries(response.headers ?? {});
  if (!headers.length) return null;
  const shown = disclosure(`${headers.length} headers`, () => [
    element("ul", { class: "members" }, headers.map(([name, reference]) => {
      const { schema: header } = resolve(spec, reference);
      return element("li", {}, element("div", { class: "facts" }, element("code", { class: "name" }, name), " ", facts(spec, header.schema)), header.description && element("p", { class: "about" }, inline(header.description)));
    })),
  ]);
  return element("div", {}, shown.button, shown.region);
}

function errorsView(spec, operation) {
  const errors = Object.entries(operation.responses).filter(([status]) => status >= "4");
  const rows = errors.flatMap(([status, reference]) => errorRows(spec, status, resolve(spec, reference).schema));
  if (!rows.length) return null;
  return element("section", {}, element("h4", {}, "Errors"), element("ul", { class: "errors" }, rows));
}

/** Return a line for each code of a status; several examples of one code share a line. */
function errorRows(spec, status, response) {
  const named = Object.values(response.content ?? {}).flatMap((media) => Object.entries(media.examples ?? {}));
  const lines = new Map(named.length ? [] : [[response.description, []]]);
  for (const [name, reference] of named) {
    const { value } = resolve(spec, reference).schema;
    const code = value?.errors?.[0]?.code ?? name;
    lines.set(code, [...(lines.get(code) ?? []), value]);
  }
  return [...lines].map(([code, values]) => errorRow(status, code, values, response.description));
}

function errorRow(status, code, values, otherwise) {
  const [first] = values;
  const shown = element("code", {}, code);
  const label = [values.length > 1 ? `${values.length} examples` : "example", element("span", { class: "unseen" }, ` of ${code}`)];
  const examples = first && disclosure(label, () => values.map((value) => jsonView(value, `Example of ${code}`)));
  return element("li", {}, [
    element("span", { class: "bad" }, status),
    element("div", {}, [
      /^(https?:\/)?\//.test(first?.type ?? "") ? element("a", { href: first.type }, shown) : shown,
      " ",
      element("span", { class: "about" }, first?.errors?.[0]?.message ?? otherwise),
      " ",
      ...(examples ? [examples.button, examples.region] : []),
    ]),
  ]);
}
