// Boots the console: finds out who has signed in, shows the frame and the views, and follows the log.

import * as api from "./api.js";
import { fill, h, loading, problemState, state } from "./dom.js";
import * as feed from "./feed.js";
import { useAssets } from "./format.js";
import { drawFrame, drawBand, markCurrent } from "./frame.js";
import { listenToKeys } from "./keys.js";
import * as router from "./router.js";
import * as session from "./session.js";
import * as time from "./time.js";
import { drawTimeBar } from "./timebar.js";
import { contextOf, prefetch } from "./view.js";
import { signInView } from "./views/signin.js";

const LOADING_MILLISECONDS = 100;
const PREFETCH_MILLISECONDS = 120;

const main = document.getElementById("main");
let showing = null; // the AbortController of the view
let path = null; // of the view

async function boot() {
  api.onSession({ renew: session.renew, lost: askToSignIn });
  time.onTime(changeTime);
  feed.onEvent((event) => { time.grow(event); drawTimeBar(); });
  listenToKeys();
  fill(main, loading());
  try {
    if (await session.resume()) await enter();
    else askToSignIn();
  } catch (error) {
    fill(main, problemState(error, () => location.reload()));
  }
}

/** Begin with the user who has signed in. */
async function enter() {
  document.body.classList.remove("signed-out");
  const mayReadLog = session.can("admin", "auditor");
  if (session.can("admin", "auditor", "customer")) useAssets(await api.get("/v1/assets"));
  if (mayReadLog) await time.usePositions();
  else time.useTimes(await firstTime());
  drawFrame({ onSignOut: leave });
  feed.follow(time.logEnd(), mayReadLog);
  path = null;
  if (showing === null) router.start(show);
  else show();
}

async function firstTime() {
  if (!session.can("customer")) return new Date();
  const accounts = await api.get("/v1/accounts");
  return accounts.map((account) => account.created_at).sort()[0] ?? new Date();
}

async function leave() {
  feed.stop();
  await session.signOut().catch(() => {});
  askToSignIn();
}

/** Ask to sign in, in the place of the view: its address stays, so that one comes back to it. */
function askToSignIn() {
  if (document.body.classList.contains("signed-out")) return;
  feed.stop();
  showing?.abort();
  showing ??= new AbortController();
  document.body.classList.add("signed-out");
  fill(document.getElementById("bar"));
  fill(document.getElementById("band"));
  document.title = "Sign in · Ledger";
  fill(main, signInView(() => { showing = started ? showing : null; started = true; return enter(); }));
  main.querySelector("input")?.focus();
}

let started = false; // the router

async function show({ keeps = false } = {}) {
  started = true;
  showing?.abort();
  const mine = new AbortController();
  showing = mine;
  const { view, params, query, path: next } = router.current();
  const isNew = next + query !== path;
  path = next + query;
  markCurrent(view);
  drawBand();
  drawTimeBar();
  if (!keeps) window.setTimeout(() => { if (showing === mine && main.dataset.path !== path) { main.dataset.path = path; fill(main, h("div", { class: "view" }, loading(6))); } }, LOADING_MILLISECONDS);
  await time.describe();
  if (mine.signal.aborted) return;
  const context = contextOf({ params, query, at: time.at(), signal: mine.signal });
  try {
    const module = view ? await view.load() : missing;
    const node = module.show ? await module.show(context) : module(context);
    if (mine.signal.aborted) return;
    await Promise.race([Promise.all([...node.querySelectorAll(".panel")].map((panel) => panel.ready)), pause(keeps ? 400 : LOADING_MILLISECONDS)]);
    if (mine.signal.aborted) return;
    place(node, isNew, typeof module.title === "function" ? module.title(context) : (module.title ?? "Not found"));
    setTimeout(() => { if (!mine.signal.aborted) void prefetch(context, neighbours()); }, PREFETCH_MILLISECONDS);
  } catch (error) {
    if (error.name === "AbortError" || mine.signal.aborted) return;
    fill(main, h("div", { class: "view" }, problemState(error instanceof api.Problem ? error : new api.Problem(0, { detail: error.message }), () => show())));
    if (!(error instanceof api.Problem)) throw error;
  }
}

function place(node, isNew, title) {
  const top = main.scrollTop;
  node.classList.add("view");
  main.dataset.path = path;
  fill(main, node);
  document.title = `${title} · Ledger`;
  if (!isNew) { main.scrollTop = top; return; }
  main.scrollTop = 0;
  if (document.activeElement === document.body) main.focus({ preventScroll: true });
}

function missing() {
  return h("div", {}, state("missing", "There is no such view", "The address may be misspelt.", h("a", { href: router.link("/") }, "Go to the overview")));
}

function pause(milliseconds) {
  return new Promise((resolve) => { setTimeout(resolve, milliseconds); });
}

/** Return the points in time before and after the one that is shown. */
function neighbours() {
  const { position } = time.at() ?? {};
  const { min, max } = time.bounds();
  return position === undefined ? [] : [position - 1, position + 1].filter((each) => each >= min && each < max).map((each) => ({ position: each }));
}

let shown = null; // the point in time of the view
let waiting = false;

/** Follow the time bar: one view at a time is made ready, and the newest point in time is the next. */
async function changeTime(point) {
  drawBand();
  drawTimeBar();
  router.keepTime();
  if (time.keyOf(point) === shown) return;
  shown = time.keyOf(point);
  if (waiting || !started) return;
  waiting = true;
  try {
    let last;
    do {
      last = shown;
      await show({ keeps: true });
    } while (last !== shown);
  } finally {
    waiting = false;
  }
  if (point && !point.time) void time.describe();
}

void boot();
