// Loads the API description and puts the page together: contents, filter, deep links.

import { disclosure, element } from "./dom.js";
import { blocks, inline } from "./markdown.js";
import { operationsOf, operationView } from "./operation.js";
import { base, sessionView } from "./session.js";
import { about, schemaView } from "./views.js";

const byId = (id) => document.getElementById(id);
const opened = new Map(); // by id: how to open it

async function start() {
  byId("docs-session").append(sessionView());
  try {
    const response = await fetch(new URL("openapi.json", base));
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    show(await response.json());
  } catch (error) {
    byId("docs-status").textContent = `The API description cannot be loaded: ${error.message}`;
    byId("docs-status").classList.add("bad");
  }
}

function show(spec) {
  const operations = operationsOf(spec);
  const described = new Map((spec.tags ?? []).map((tag) => [tag.name, tag.description ?? ""]));
  const tags = [...new Set([...described.keys(), ...operations.map(({ tag }) => tag)])];
  const groups = tags.map((tag) => ({ tag, text: described.get(tag) ?? "", entries: operations.filter((each) => each.tag === tag) }));
  const shown = groups.filter((group) => group.entries.length > 0);
  byId("docs-title").textContent = `${spec.info.title} API`;
  byId("docs-version").textContent = spec.info.version;
  byId("docs-content").replaceChildren(introduction(spec), ...shown.map((group) => section(spec, group)), schemas(spec));
  byId("docs-nav").replaceChildren(...contents(shown));
  byId("docs-search").addEventListener("input", (event) => filter(operations, event.target.value));
  document.addEventListener("keydown", focusSearch);
  addEventListener("hashchange", followLink);
  filter(operations, byId("docs-search").value);
  followLink();
}

function introduction(spec) {
  const link = element("p", {}, "The machine-readable description: ", element("a", { href: new URL("openapi.json", base) }, "openapi.json"));
  return element("section", { class: "introduction" }, blocks(spec.info.description ?? ""), link);
}

function section(spec, { tag, text, entries }) {
  const views = entries.map((entry) => operationView(spec, entry));
  views.forEach((view, index) => opened.set(entries[index].id, view.open));
  const heading = element("h2", {}, tag, text && element("span", { class: "about" }, " ", inline(text)));
  return element("section", { class: "group", id: `tag-${tag}` }, heading, views.map((view) => view.article));
}

function schemas(spec) {
  const all = Object.entries(spec.components?.schemas ?? {});
  const rows = all.map(([name, schema]) => {
    const shown = disclosure(element("code", {}, name), () => [about(spec, schema), ...schemaView(spec, schema)].filter(Boolean), { className: "opener" });
    opened.set(`schema-${name}`, shown.open);
    return element("article", { id: `schema-${name}`, class: "schema" }, element("h3", {}, shown.button), shown.region);
  });
  return element("section", { class: "group schemas" }, element("h2", {}, "schemas"), rows);
}

function contents(groups) {
  return groups.map(({ tag, entries }) => element("section", {}, [
    element("h2", {}, element("a", { href: `#tag-${tag}` }, tag)),
    element("ul", {}, entries.map(({ id, method, operation }) => element(
      "li",
      { "data-operation": id },
      element("a", { href: `#${id}` }, element("span", {}, inline(operation.summary ?? id)), " ", element("span", { class: `method ${method}` }, method.toUpperCase())),
    ))),
  ]));
}

function filter(operations, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = operations.filter((entry) => words.every((word) => haystack(entry).includes(word)));
  const ids = new Set(found.map((entry) => entry.id));
  for (const article of document.querySelectorAll("article.operation")) article.hidden = !ids.has(article.id);
  for (const item of document.querySelectorAll("[data-operation]")) item.hidden = !ids.has(item.dataset.operation);
  for (const group of document.querySelectorAll(".group, nav section")) {
    const rows = group.querySelectorAll("article.operation, [data-operation]");
    group.hidden = rows.length > 0 ? [...rows].every((row) => row.hidden) : words.length > 0;
  }
  byId("docs-status").textContent = words.length ? `${found.length} of ${operations.length} operations` : `${operations.length} operations`;
}

function haystack({ id, method, path, operation, tag }) {
  return [id, method, path, operation.summary, operation.description, tag].join(" ").toLowerCase();
}

function focusSearch(event) {
  const typing = event.target.closest("input, textarea, select");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  byId("docs-search").focus();
}

function followLink() {
  const id = decodeURIComponent(location.hash.slice(1));
  if (!opened.has(id)) return;
  opened.get(id)();
  byId(id).hidden = false;
  byId(id).closest(".group").hidden = false;
  byId(id).scrollIntoView();
}

void start();
