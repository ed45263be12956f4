"""Long operations that a request starts and does not wait for: rebuilds of projections, and verifications.

Each runs in a process of its own, so that requests do not wait for it. The process is a child of the worker that
started it, and ends with it. What it reports is kept in Valkey, where all workers read it, and a lease there lets one
operation of a kind run at a time. An operation on which nothing can be reported is not started.
"""
