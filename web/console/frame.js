// What surrounds every view: the bar with search, time and navigation, and the band when the time is not now.

import { fill, h, svg } from "./dom.js";
import { lostSince } from "./feed.js";
import { clockText, count } from "./format.js";
import { link, VIEWS } from "./router.js";
import { searchBox } from "./search.js";
import { can, who } from "./session.js";
import { at, label, setAt } from "./time.js";
import { timeBar } from "./timebar.js";

const byId = (id) => document.getElementById(id);

/** Draw the bar for the user who has signed in. */
export function drawFrame({ onSignOut }) {
  const tabs = VIEWS.filter((view) => view.name && can(...view.roles)).map((view) => h("a", { href: link(view.path), "data-view": view.path }, view.name));
  fill(byId("bar"),
    h("div", { class: "bar-top" },
      h("a", { class: "brand", href: link("/"), "aria-label": "Ledger, overview" }, mark(), h("span", {}, "Ledger")),
      searchBox(),
      timeBar(),
      userMenu(onSignOut)),
    h("nav", { class: "tabs", "aria-label": "Views" }, tabs));
}

function mark() {
  return svg("svg", { viewBox: "0 0 32 32", width: 20, height: 20, "aria-hidden": "true", class: "mark-icon" },
    svg("path", { d: "M9 6v19h15" }), svg("path", { d: "M15 11h9M15 17h6", class: "second" }));
}

function userMenu(onSignOut) {
  const { id, username, roles } = who();
  const menu = h("details", { class: "menu" },
    h("summary", { "aria-label": `Signed in as ${username}` }, h("span", { class: "avatar", "aria-hidden": "true" }, [...username][0].toUpperCase()), h("span", { class: "menu-name" }, username)),
    h("div", { class: "menu-body" },
      h("p", { class: "muted" }, roles.join(", ")),
      h("a", { href: link(`/people/${id}`), "data-view": `/people/${id}` }, "You and your sessions"),
      h("button", { type: "button", onclick: () => dispatchEvent(new Event("ledger-scheme")) }, "Light or dark"),
      h("a", { href: "/docs", target: "_blank", rel: "noopener" }, "API documentation"),
      h("button", { type: "button", onclick: onSignOut }, "Sign out")));
  menu.addEventListener("keydown", (event) => { if (event.key === "Escape") { menu.open = false; menu.querySelector("summary").focus(); } });
  document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
  return menu;
}

/** Mark the view in the navigation, and let all links of the bar keep the point in time. */
export function markCurrent(view) {
  const root = view ? `/${view.path.split("/")[1]}` : null;
  for (const tab of document.querySelectorAll("[data-view]")) {
    tab.href = link(tab.dataset.view);
    if (tab.dataset.view === root) {
      tab.setAttribute("aria-current", "page");
      tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else tab.removeAttribute("aria-current");
  }
  const brand = document.querySelector(".brand");
  if (brand) brand.href = link("/");
}

/** Say in one unmistakable way that the ledger is shown as of another time than now, or that it cannot be asked. */
export function drawBand() {
  const point = at();
  const lost = point ? null : lostSince();
  document.body.classList.toggle("is-past", point !== null);
  document.body.classList.toggle("is-lost", lost !== null);
  if (!point) return fill(byId("band"), lost && h("span", {}, "The service does not respond. This is the ledger as of ", h("strong", {}, clockText(lost)), "."));
  const parts = [point.time && label(point), point.position !== undefined && `position ${count(point.position)}`].filter(Boolean);
  return fill(byId("band"),
    h("span", {}, "The ledger as of ", h("strong", {}, parts.join(" · "))),
    h("span", { class: "band-note" }, "nothing can be changed here"),
    h("button", { type: "button", onclick: () => setAt(null) }, "Back to now"));
}
