"""What may happen next: commands, and the pure decisions they end in."""
