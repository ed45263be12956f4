"""Keep the balance of each account from the webhook of a ledger. Start it again to resume: no event counts twice."""

import json
import os
import sqlite3
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

MAX_BYTES = 1 << 20
SIGNS = {"ledger.AccountCredited.v1": 1, "ledger.AccountDebited.v1": -1}
TABLES = """
CREATE TABLE IF NOT EXISTS seen (event_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS balances (account_id TEXT PRIMARY KEY, cents INTEGER NOT NULL) WITHOUT ROWID;
"""
ADD = "INSERT INTO balances VALUES (?, ?) ON CONFLICT DO UPDATE SET cents = cents + excluded.cents"

database = sqlite3.connect(os.environ.get("DATABASE", "consumer.db"))
database.executescript(TABLES)
webhook = Webhook(os.environ["WEBHOOK_SECRET"])


def consume(event: dict[str, Any]) -> None:
    """Count an event once: its id and its effect are committed together, before the ledger gets an answer."""
    sign = SIGNS.get(event["type"])
    with database:
        is_new = database.execute("INSERT OR IGNORE INTO seen VALUES (?)", [event["id"]]).rowcount
        if is_new and sign is not None:
            database.execute(ADD, [event["subject"], sign * event["data"]["amount_cents"]])


class Receiver(BaseHTTPRequestHandler):
    """Receives the deliveries, and shows the balances."""

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", MAX_BYTES + 1))
        if length > MAX_BYTES:
            return self.answer(413)
        try:
            event = webhook.verify(self.rfile.read(length), dict(self.headers))
        except WebhookVerificationError:
            return self.answer(401)
        consume(event)
        return self.answer(204)

    def do_GET(self) -> None:
        self.answer(200, json.dumps(dict(database.execute("SELECT * FROM balances"))).encode())

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)


HTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9000"))), Receiver).serve_forever()
