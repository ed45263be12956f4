// Parses the service's description of its events with AsyncAPI's own parser, and says what it found.

import { Parser } from "@asyncapi/parser";

const ERROR_OR_WARNING = 1; // severities begin with 0 for an error
const response = await fetch(`${process.env.LEDGER_URL}/asyncapi.json`);
const { document, diagnostics } = await new Parser().parse(await response.text());
const problems = diagnostics.filter(({ severity }) => severity <= ERROR_OR_WARNING);
for (const { code, message, path } of problems) console.log(code, path.join("."), message);
if (!document || problems.length) process.exit(1);

console.log(`AsyncAPI ${document.version()}`);
for (const channel of document.channels()) console.log(`${channel.id()}: ${channel.messages().length} messages`);
