// Accounts as a tree of their codes, with the sums of exactly the accounts that are shown.

const UNCODED = "\uffff1"; // groups that sort behind all codes
const WORLD = "\uffff2";
const NAMES = new Map([[UNCODED, "without a code"], [WORLD, "the ledger's own"]]);
const PART_OF_ID = 6; // characters: shorter words would be in too many ids
const order = new Intl.Collator("en", { numeric: true });

/** Return whether an account has all words of a search and fits the filters; `text` is what the words are looked up in. */
export function matches(account, { q = "", type = "", status = "", world = "" }, text) {
  if (account.user_id === null && world !== "on") return false;
  if (type && account.type !== type) return false;
  if (status && account.status !== status) return false;
  return q.toLowerCase().split(/\s+/).every((word) => text.includes(word) || (word.length >= PART_OF_ID && account.id.includes(word)));
}

/** Return the tree of these accounts: { code, label, groups, accounts, count, sums }; `sums` has { cents, count } by currency. */
export function buildTree(accounts) {
  const root = groupOf("", "");
  for (const account of accounts) place(root, account);
  arrange(root);
  return root;
}

function groupOf(code, label) {
  return { code, label, groups: [], byLabel: new Map(), accounts: [], count: 0, sums: new Map() };
}

function place(root, account) {
  const parts = account.code === undefined ? [account.user_id === null ? WORLD : UNCODED] : account.code.split(":").slice(0, -1);
  let group = root;
  add(group, account);
  for (const part of parts) {
    if (!group.byLabel.has(part)) {
      const below = groupOf(group.code ? `${group.code}:${part}` : part, NAMES.get(part) ?? part);
      group.byLabel.set(part, below);
      group.groups.push(below);
    }
    group = group.byLabel.get(part);
    add(group, account);
  }
  group.accounts.push(account);
}

function add(group, account) {
  group.count += 1;
  const { cents, count } = group.sums.get(account.currency) ?? { cents: 0n, count: 0 };
  group.sums.set(account.currency, { cents: cents + BigInt(account.balance_cents), count: count + 1 });
}

function arrange(group) {
  group.groups.sort((one, other) => order.compare(one.code, other.code));
  group.accounts.sort((one, other) => order.compare(nameOf(one), nameOf(other)));
  for (const below of group.groups) arrange(below);
}

function nameOf(account) {
  return account.code ?? account.name ?? account.id;
}

/** Return the groups to open at first: as many levels as fit into a number of rows. */
export function openAtFirst(tree, most) {
  const open = new Set();
  let level = tree.groups;
  let rows = level.length + tree.accounts.length;
  while (level.length > 0) {
    rows += level.reduce((sum, group) => sum + group.groups.length + group.accounts.length, 0);
    if (rows > most) return open;
    for (const group of level) open.add(group.code);
    level = level.flatMap((group) => group.groups);
  }
  return open;
}

/** Return the name of a group without a code, as the service calls it, or the code. */
export function nameOfGroup(code) {
  return { [UNCODED]: "uncoded", [WORLD]: "world" }[code] ?? code;
}

/** Return the rows of the tree; `open` names the groups whose content is shown, and null stands for all. */
export function rowsOf(tree, open) {
  const rows = [];
  const walk = (group, level) => {
    for (const below of group.groups) {
      const isOpen = open === null || open.has(below.code);
      rows.push({ code: below.code, label: below.label, level, count: below.count, sums: below.sums, isOpen });
      if (isOpen) walk(below, level + 1);
    }
    for (const account of group.accounts) rows.push({ account, label: labelOf(account), level });
  };
  walk(tree, 0);
  return rows;
}

function labelOf(account) {
  return account.code?.split(":").at(-1) ?? account.name ?? null;
}
