"""Parse environment variables and log levels for the settings."""
