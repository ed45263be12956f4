// Moves money with a client that was generated from the service's own description.

import { randomUUID } from "node:crypto";
import { env } from "node:process";
import createClient from "openapi-fetch";
import type { components, paths } from "./ledger.js";

type Problem = components["schemas"]["Problem"];
type CreateTransfer = components["schemas"]["CreateTransferRequest"];

// Returns the data of a response, or stops with the problem that came instead.
function expectData<T>(response: { data?: T; error?: unknown }): T {
  if (response.data === undefined) {
    throw new Error(`unexpected response: ${JSON.stringify(response.error)}`);
  }
  return response.data;
}

const { LEDGER_URL: baseUrl = "http://127.0.0.1:8080", LEDGER_USERNAME: username, LEDGER_PASSWORD: password } = env;
const client = createClient<paths>({ baseUrl });

const credentials = { username: username ?? "", password: password ?? "" };
const tokens = expectData(await client.POST("/v1/auth/login", { body: credentials }));
client.use({
  onRequest({ request }) {
    request.headers.set("Authorization", `Bearer ${tokens.access_token}`);
  },
});

const run = randomUUID().slice(0, 8); // user names are unique, so each run of this program has its own

async function createUser(name: string) {
  const email = `${name}-${run}@example.com`;
  const body = { username: `${name}-${run}`, email, password: "correct horse battery", roles: "customer" };
  return expectData(await client.POST("/v1/users", { body }));
}

async function openAccount(user_id: string, balance_cents: number) {
  return expectData(await client.POST("/v1/accounts", { body: { user_id, balance_cents, currency: "USD" } }));
}

const alice = await createUser("alice");
const bob = await createUser("bob");
const source = await openAccount(alice.id, 10_000);
const destination = await openAccount(bob.id, 5_000);

// With an Idempotency-Key, a request can be repeated after a time-out: the money moves once.
const between = { source_account_id: source.id, destination_account_id: destination.id };
const payment: CreateTransfer = { ...between, amount_cents: 2_500, description: "rent, May" };
const params = { header: { "Idempotency-Key": `rent-${run}` } };
const first = expectData(await client.POST("/v1/transactions/transfer", { body: payment, params }));
const second = expectData(await client.POST("/v1/transactions/transfer", { body: payment, params }));
console.log(`transferred ${first.amount_cents} ${first.currency}, ${second.id === first.id ? "once" : "twice"}`);

// A transaction is one of several types, which its kind tells apart.
const transaction = expectData(
  await client.GET("/v1/transactions/{id}", { params: { path: { id: first.id } } }),
);
if (transaction.kind === "transfer") {
  console.log(`read a ${transaction.kind}: ${transaction.description}`);
}

const balances: number[] = [];
for (const user of [alice, bob]) {
  const accounts = expectData(await client.GET("/v1/accounts", { params: { query: { user_id: user.id } } }));
  balances.push(...accounts.map((account) => account.balance_cents));
}
console.log("balances:", balances.join(" "));

const query = { account_id: source.id, kind: "transfer", limit: 10 } as const;
const transfers = expectData(await client.GET("/v1/transactions", { params: { query } }));
console.log("transfers of the account:", transfers.length);

// An error is a problem (RFC 9457), whose codes are stable.
const tooMuch: CreateTransfer = { ...between, amount_cents: 1_000_000 };
const { error } = await client.POST("/v1/transactions/transfer", { body: tooMuch });
const problem: Problem | undefined = error;
console.log("refused:", problem?.errors.map((reason) => reason.code).join(" "));
