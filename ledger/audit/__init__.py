"""What auditors ask: who did what, and whether the books are right."""
