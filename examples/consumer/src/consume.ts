// Keeps the balance of each account from the webhook of a ledger. Start it again to resume: no event counts twice.
import { existsSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import { Webhook } from "standardwebhooks";

type CloudEvent = { id: string; type: string; subject: string; data: { amount_cents: number } };
type Line = { id: string; account?: string; cents?: number };

const MAX_BYTES = 1 << 20;
const SIGNS: Record<string, number> = { "ledger.AccountCredited.v1": 1, "ledger.AccountDebited.v1": -1 };
const { JOURNAL = "journal.jsonl", PORT = "9000", WEBHOOK_SECRET = "" } = process.env;
const webhook = new Webhook(WEBHOOK_SECRET);
const seen = new Set<string>();
const balances = new Map<string, number>();

function count({ id, account, cents = 0 }: Line): void {
  seen.add(id);
  if (account !== undefined) balances.set(account, (balances.get(account) ?? 0) + cents);
}

// The journal has a line for each event. A line that a crash cut short was never acknowledged, so it comes again.
const stored = existsSync(JOURNAL) ? readFileSync(JOURNAL, "utf8") : "";
const whole = stored.slice(0, stored.lastIndexOf("\n") + 1);
for (const line of whole.split("\n").filter(Boolean)) count(JSON.parse(line) as Line);
const journal = openSync(JOURNAL, "a");
ftruncateSync(journal, Buffer.byteLength(whole));

function consume({ id, type, subject, data }: CloudEvent): void {
  if (seen.has(id)) return;
  const sign = SIGNS[type];
  const line: Line = sign === undefined ? { id } : { id, account: subject, cents: sign * data.amount_cents };
  writeSync(journal, `${JSON.stringify(line)}\n`);
  fsyncSync(journal); // before the ledger gets an answer
  count(line);
}

async function read(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) {
    chunks.push(chunk as Buffer);
    if (chunks.reduce((sum, { length }) => sum + length, 0) > MAX_BYTES) return undefined;
  }
  return Buffer.concat(chunks).toString("utf8");
}

const server = createServer(async (request, response) => {
  if (request.method === "GET") return response.end(JSON.stringify(Object.fromEntries(balances)));
  const body = await read(request);
  if (body === undefined) return response.writeHead(413, { Connection: "close" }).end();
  try {
    webhook.verify(body, request.headers as Record<string, string>);
  } catch {
    return response.writeHead(401).end();
  }
  consume(JSON.parse(body) as CloudEvent);
  return response.writeHead(204).end();
});
server.listen(Number(PORT), "127.0.0.1");
