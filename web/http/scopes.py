"""The scopes that the tokens of machine clients can have (RFC 6749, section 3.3), as the routes name them."""

SCOPES = {
    "accounts:read": "Read accounts, their entries, events and receipts",
    "accounts:write": "Open, change and close accounts",
    "audit:read": "Read the commands of users, clients, sessions and tokens",
    "events:read": "Read the event log, and follow its feed",
    "ledger:read": "Read sums, reports and closed periods",
    "ledger:write": "Close and reopen periods",
    "operations:read": "Read the states of projections and verifications",
    "operations:write": "Rebuild projections, and verify the ledger",
    "metrics:read": "Read the metrics of the service",
    "transactions:read": "Read transactions and their receipts",
    "transactions:write": "Move, hold, capture and reverse money",
    "webhooks:read": "Read the client's own webhooks, and what they delivered",
    "webhooks:write": "Create, change and delete the client's own webhooks",
    "users:read": "Read users",
    "users:write": "Create, change and delete users, admins among them",
}
