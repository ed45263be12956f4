"""Environment variables and log levels, as the settings read them."""
