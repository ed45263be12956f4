"""Publishes the events of the log to brokers: each once and in order, and none before it is durable."""
