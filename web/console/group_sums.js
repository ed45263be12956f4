// The sums of groups of accounts, as the service adds them up: of the groups in sight, which are below open ones.

import { get } from "./api.js";
import { atQuery } from "./time.js";

/**
 * Return the sums at the context's point in time: `of(code)` has the `count` and the `sums` of a group, as in the tree,
 * or is undefined; "uncoded" and "world" stand for the groups without a code. `want(codes)` reads those of the groups
 * below each of these codes; the empty one is the top. `changed` is called when there are new ones.
 */
export function groupSums(context, changed) {
  const known = new Map(); // by code
  const wanted = new Set();
  const mayRead = context.can("admin", "auditor");
  let reading = Promise.resolve();

  /** Read one after the other: each looks at all accounts below its code. */
  function read(codes) {
    reading = reading.then(async () => {
      for (const code of codes) {
        const query = { depth: 1, prefix: code && `${code}:`, ...atQuery(context.at) };
        const { balances } = await get("/v1/ledger/balances", { query, signal: context.signal });
        for (const [name, group] of groupsOf(balances)) known.set(name, group);
        changed();
      }
    }).catch(() => {}); // what is not known is added up here
    return reading;
  }
  if (mayRead) context.follow(() => read([...wanted]));
  return {
    of: (code) => known.get(code),
    want(codes) {
      const fresh = codes.filter((code) => mayRead && !wanted.has(code));
      for (const code of fresh) wanted.add(code);
      void read(fresh);
    },
  };
}

/** Return the groups of a response by their names. One with an account of its own code stands for more than the tree's group. */
function groupsOf(balances) {
  const groups = new Map();
  const mixed = new Set();
  for (const { group: kind, code: name = kind, accounts, accounts_below: below, currency, sum_cents_text: sum } of balances) {
    const group = groups.get(name) ?? { count: 0, sums: new Map() };
    groups.set(name, group);
    group.count += accounts;
    group.sums.set(currency, { cents: BigInt(sum), count: accounts });
    if (kind === "coded" && accounts !== below) mixed.add(name);
  }
  for (const name of mixed) groups.set(name, undefined);
  return groups;
}
