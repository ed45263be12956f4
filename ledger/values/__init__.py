"""Pure values and their formats: ids, timestamps, text and names."""
