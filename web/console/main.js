// Boots the console: finds out who has signed in, shows the frame and the views, and follows the log.

import * as api from "./api.js";
import { fill, h, loading, problemState, refill, state } from "./dom.js";
import * as feed from "./feed.js";
import { useAssets } from "./format.js";
import { drawBand, drawFrame, markCurrent } from "./frame.js";
import { listenToKeys } from "./keys.js";
import { learn } from "./names.js";
import * as router from "./router.js";
import * as session from "./session.js";
import * as time from "./time.js";
import { drawTimeBar } from "./timebar.js";
import { contextOf, prefetch } from "./view.js";
import { signInView } from "./views/signin.js";

const READY_MILLISECONDS = 100; // a view is shown after this, even if it is still loading
const SCRUB_MILLISECONDS = 400; // while the time changes, the view before stays for longer
const PREFETCH_MILLISECONDS = 120;

const main = document.getElementById("main");
let hasStarted = false; // the router
let showing = null; // the AbortController of the view
let shownPath = null;
let shownTime = null; // by the frame
let drawnTime = null; // by the view
let isScrubbing = false;
let isModuleLost = false; // some browsers remember that a module could not be loaded until the page is loaded again

async function boot() {
  api.onSession({ renew: session.renew, lost: askToSignIn });
  time.onTime(changeTime);
  feed.onEvent((event) => { time.grow(event); drawTimeBar(); });
  feed.onLost(followService);
  listenToKeys();
  fill(main, loading());
  try {
    if (await session.resume()) await enter();
    else askToSignIn();
  } catch (error) {
    fill(main, problemState(problemOf(error), () => location.reload()));
  }
}

/** Say that the service does not respond, or try again once it does. */
function followService() {
  drawBand();
  if (feed.lostSince() === null && main.querySelector(".state.error")) again({ keeps: true });
}

/** Try once more to show a view that could not be shown. */
function again(options) {
  if (isModuleLost) location.reload();
  else void show(options);
}

/** Begin with the user who has signed in. */
async function enter() {
  const mayReadLog = session.can("admin", "auditor");
  if (session.can("admin", "auditor", "customer")) useAssets(await api.get("/v1/assets"));
  if (mayReadLog) await time.usePositions();
  else time.useTimes(await firstTime());
  document.body.classList.remove("signed-out");
  drawFrame({ onSignOut: leave });
  feed.follow(time.logEnd(), mayReadLog);
  shownPath = null;
  if (hasStarted) void show();
  else router.start(show);
  hasStarted = true;
  dispatchEvent(new Event("ledger-signed-in"));
}

async function firstTime() {
  if (!session.can("customer")) return new Date();
  const accounts = await api.get("/v1/accounts");
  learn("account", accounts);
  return accounts.map((account) => account.created_at).sort()[0] ?? new Date();
}

async function leave() {
  feed.stop();
  showing?.abort(); // so that nothing asks without a session
  await session.signOut().catch(() => {});
  askToSignIn();
}

/** Ask to sign in, in the place of the view: its address stays, so that one comes back to it. The problem says why. */
function askToSignIn(problem = null) {
  if (document.body.classList.contains("signed-out")) return;
  feed.stop();
  showing?.abort();
  document.body.classList.add("signed-out");
  fill(document.getElementById("bar"));
  fill(document.getElementById("band"));
  document.title = "Sign in · Ledger";
  dispatchEvent(new Event("ledger-signed-out"));
  main.inert = false;
  fill(main, signInView(enter, problem));
  main.querySelector("input").focus();
}

/** Show the view of the address. `keeps` leaves the view before in its place until the new one is ready. */
async function show({ keeps = false } = {}) {
  if (document.body.classList.contains("signed-out") || !session.who()) return; // signing out takes a moment
  showing?.abort();
  const mine = new AbortController();
  showing = mine;
  const { view, params, query, path } = router.current();
  const isNew = `${path}?${query}` !== shownPath;
  shownPath = `${path}?${query}`;
  markCurrent(view);
  if (!keeps && isNew) setTimeout(() => { if (showing === mine && !mine.signal.aborted) fill(main, h("div", { class: "view unready" }, loading(6))); }, READY_MILLISECONDS);
  try {
    if (await time.settle()) router.keepTime();
    takeTime();
    const context = contextOf({ params, query, at: time.at(), signal: mine.signal });
    const { show: draw, title } = await moduleOf(view);
    const node = await draw(context);
    await ready(node, keeps ? SCRUB_MILLISECONDS : READY_MILLISECONDS);
    if (mine.signal.aborted) return;
    place(node, isNew, typeof title === "function" ? title(context) : title);
    showing = keepFor(mine);
    setTimeout(() => { if (!mine.signal.aborted) void prefetch(context).catch(() => {}); }, PREFETCH_MILLISECONDS);
  } catch (error) {
    if (error.name === "AbortError" || mine.signal.aborted) return;
    showing = keepFor(mine);
    main.inert = false;
    fill(main, h("div", { class: "view" }, h("h1", { class: "unseen" }, "This view cannot be shown"), problemState(problemOf(error), () => again())));
    if (!(error instanceof api.Problem)) throw error;
  }
}

/** Return what shows a view, or says that there is none, or none for the user's roles. */
function moduleOf(view) {
  if (!view) return NOWHERE;
  if (!time.isReadable(time.at())) return NEVER;
  if (!view.roles || session.can(...view.roles)) return view.load().catch(unreachable);
  return { title: view.name, show: () => h("div", {}, h("h1", { class: "unseen" }, view.name), problemState({ status: 403 })) };
}

/** Raise the problem that the service does not respond, if a module could not be loaded. */
function unreachable(error) {
  isModuleLost = error instanceof TypeError;
  throw isModuleLost ? new api.Problem(0) : error;
}

/** Return the controller of a view that has been shown: another object, so that its loading state never comes. */
function keepFor(mine) {
  return { abort: () => mine.abort() };
}

function ready(node, milliseconds) {
  const panels = [...node.querySelectorAll(".panel")].map((panel) => panel.ready);
  return Promise.race([Promise.all(panels), new Promise((resolve) => { setTimeout(resolve, milliseconds); })]);
}

function place(node, isNew, title) {
  const top = main.scrollTop;
  node.classList.add("view");
  drawnTime = shownTime;
  main.inert = false;
  refill(main, node);
  document.title = `${title} · Ledger`;
  main.scrollTop = isNew ? 0 : top;
  if (isNew && document.activeElement === document.body) main.focus({ preventScroll: true });
}

const NOWHERE = {
  title: "Not found",
  show: () => h("div", {}, h("h1", { class: "unseen" }, "Not found"), state("missing", "There is no such view", "The address may be misspelt.", h("a", { href: router.link("/") }, "Go to the overview"))),
};

const NEVER = {
  title: "No such time",
  show: () => h("div", {}, h("h1", { class: "unseen" }, "No such time"), state("missing", "There is no such point in time", "It is a position of the log, a date, or a time with its date.", h("button", { type: "button", onclick: () => time.setAt(null) }, "Go to now"))),
};

function problemOf(error) {
  return error instanceof api.Problem ? error : new api.Problem(0, { detail: error.message });
}

/** Let the frame say which point in time is shown. A view of another one stays in sight, but nothing of it can be used. */
function takeTime() {
  shownTime = time.keyOf(time.at());
  main.inert = drawnTime !== shownTime && main.querySelector(".view:not(.unready)") !== null;
  drawBand();
  drawTimeBar();
}

/** Follow the time bar: one view at a time is made ready, and the newest point in time is the next. */
async function changeTime() {
  if (time.keyOf(time.at()) === shownTime) return;
  takeTime();
  router.keepTime();
  if (isScrubbing || !hasStarted) return;
  isScrubbing = true;
  try {
    let last;
    do {
      last = shownTime;
      await show({ keeps: true });
    } while (last !== shownTime);
  } finally {
    isScrubbing = false;
  }
}

void boot();
