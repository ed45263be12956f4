// The program of examples/typescript, with the client of another generator.

import { randomUUID } from "node:crypto";
import { env } from "node:process";
import { client } from "./ledger/client.gen.js";
import {
  createTransfer,
  createUser,
  getTransaction,
  listAccounts,
  listTransactions,
  logIn,
  openAccount,
} from "./ledger/index.js";
import type { CreateTransferRequest, Problem } from "./ledger/index.js";

function expectData<T>(response: { data: T; error?: unknown }): NonNullable<T> {
  if (response.data === undefined || response.data === null) {
    throw new Error(`unexpected response: ${JSON.stringify(response.error)}`);
  }
  return response.data;
}

const { LEDGER_URL: baseUrl = "", LEDGER_USERNAME: username = "", LEDGER_PASSWORD: password = "" } = env;
client.setConfig({ baseUrl });
const tokens = expectData(await logIn({ body: { username, password } }));
client.setConfig({ baseUrl, auth: () => tokens.access_token });

const run = randomUUID().slice(0, 8);

async function newUser(name: string) {
  const email = `${name}-${run}@example.com`;
  return expectData(
    await createUser({ body: { username: `${name}-${run}`, email, password: "correct horse battery", roles: "customer" } }),
  );
}

async function newAccount(user_id: string, balance_cents: number) {
  return expectData(await openAccount({ body: { user_id, balance_cents, currency: "USD" } }));
}

const alice = await newUser("alice");
const bob = await newUser("bob");
const source = await newAccount(alice.id, 10_000);
const destination = await newAccount(bob.id, 5_000);

const between = { source_account_id: source.id, destination_account_id: destination.id };
const body: CreateTransferRequest = { ...between, amount_cents: 2_500, description: "rent, May" };
const headers = { "Idempotency-Key": `rent-${run}` };
const first = expectData(await createTransfer({ body, headers }));
const second = expectData(await createTransfer({ body, headers }));
console.log(`transferred ${first.amount_cents} ${first.currency}, ${second.id === first.id ? "once" : "twice"}`);

const transaction = expectData(await getTransaction({ path: { id: first.id } }));
if (transaction.kind === "transfer") {
  console.log(`read a ${transaction.kind}: ${transaction.description}`);
}

const balances: number[] = [];
for (const user of [alice, bob]) {
  const accounts = expectData(await listAccounts({ query: { user_id: user.id } }));
  balances.push(...accounts.map((account) => account.balance_cents));
}
console.log("balances:", balances.join(" "));

const query = { account_id: source.id, kind: "transfer", limit: 10 } as const;
console.log("transfers of the account:", expectData(await listTransactions({ query })).length);

const { error } = await createTransfer({ body: { ...between, amount_cents: 1_000_000 } });
const problem: Problem | undefined = error;
console.log("refused:", problem?.errors.map((reason) => reason.code).join(" "));
