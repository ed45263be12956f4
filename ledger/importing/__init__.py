"""Files to import: from bytes to text, to rows, to checked lines with an identity. Nothing here talks to a service."""
