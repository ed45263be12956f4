"""Pure values and their formats: ids, timestamps, text, names."""
