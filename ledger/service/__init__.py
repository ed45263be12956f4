"""What a running process needs around the core: logging, metrics, tracing, health."""
