// All accounts at a point in time: read page by page, kept for the next view, and changed as events name them.

import { get, page } from "./api.js";
import { learn } from "./names.js";
import { atQuery, keyOf } from "./time.js";

const FIRST = 200; // accounts, so that a view has something to show at once
const PAGE = 1000;
const MOST = 50_000; // accounts in memory
const FEW = 25; // changed accounts that are read one by one
const CHANGE_MILLISECONDS = 500;
const ALL_MILLISECONDS = 15_000; // between two readings of the whole list

let kept = null;

/** Return the list at the context's point in time, as soon as its first page is there. Raises `Problem`. */
export async function accountsAt(context) {
  const key = `${context.me.id} ${keyOf(context.at)}`;
  if (kept?.key !== key) {
    const list = new AccountList(key, { limit: FIRST, world: context.can("admin", "auditor") ? "true" : null, ...atQuery(context.at) });
    await list.read(context.signal);
    kept = list;
  } else if (context.isNow) {
    void kept.read(null).catch(() => {});
  }
  kept.follow(context);
  return kept;
}

class AccountList {
  accounts = [];
  isComplete = false;
  isCut = false; // there are more than fit into memory
  #query;
  #listeners = new Set();
  #texts = new WeakMap();
  #reading = false;
  #readAt = 0;

  constructor(key, query) {
    this.key = key;
    this.#query = query;
  }

  /** Call a function when the list has changed; return a function that ends this. */
  onChange(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Return the text of an account in which a search looks for words. */
  textOf(account) {
    let text = this.#texts.get(account);
    if (text === undefined) {
      const { code, name, currency, metadata = {} } = account;
      text = [code, name, currency, ...Object.entries(metadata).flat()].join(" ").toLowerCase();
      this.#texts.set(account, text);
    }
    return text;
  }

  /** Read the list, at first page by page, later as a whole. Return after the first page, and read on. */
  async read(signal) {
    if (this.#reading) return;
    this.#reading = true;
    this.#readAt = Date.now();
    const isFirst = !this.isComplete;
    const all = [];
    const one = async (address, options = {}) => {
      const { items, next } = await page(address, options);
      learn("account", items);
      all.push(...items);
      const more = all.length < MOST ? next : null;
      this.isCut = more !== next;
      if (isFirst || more === null) this.#take([...all], more === null);
      return more;
    };
    const rest = async (address) => { for (let more = address; more;) more = await one(more.replace(/([?&]limit=)\d+/, `$1${PAGE}`)); };
    try {
      const more = await one("/v1/accounts", { query: this.#query, signal });
      void rest(more).catch(() => { this.#readAt = 0; }).finally(() => { this.#reading = false; });
    } catch (error) {
      this.#reading = false;
      throw error;
    }
  }

  /** Read the accounts that new events name, or open, while a view is shown. */
  follow(context) {
    const changed = new Set();
    const opened = new Set();
    let timer = 0;
    context.onEvent((event) => {
      for (const id of event ? idsIn(event) : []) changed.add(id);
      if (event?.topic === "AccountOpened") opened.add(event.stream_id);
      if (!event) this.#readAt = 0;
      timer ||= setTimeout(() => { timer = 0; void this.#renew(changed, opened).catch(() => {}); }, CHANGE_MILLISECONDS);
    });
    context.onLeave(() => clearTimeout(timer));
  }

  async #renew(changed, opened) {
    const known = new Set(this.accounts.map(({ id }) => id));
    const named = [...changed].filter((id) => known.has(id) || opened.has(id));
    changed.clear();
    opened.clear();
    if (named.length === 0 || named.length > FEW) {
      if (Date.now() - this.#readAt > ALL_MILLISECONDS) await this.read(null);
      return;
    }
    const fresh = await Promise.all(named.map((id) => get(`/v1/accounts/${id}`)));
    learn("account", fresh);
    const all = new Map(fresh.filter(({ id }) => !known.has(id)).concat(this.accounts).map((account) => [account.id, account]));
    for (const account of fresh) all.set(account.id, account);
    this.#take([...all.values()], this.isComplete);
  }

  #take(accounts, isComplete) {
    this.accounts = accounts;
    this.isComplete = isComplete;
    for (const listener of [...this.#listeners]) listener();
  }
}

/** Return the ids of an event that may be those of accounts: its stream, and what its state names. */
function idsIn({ stream_id: stream, state }) {
  return [stream, ...Object.values(state).filter((value) => typeof value === "string")];
}
