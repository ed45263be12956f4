"""Answers for auditors: who did what, what the books said at a point in time, and whether they are right."""
