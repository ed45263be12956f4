"""The write path: commit groups, the committer and the expiry of holds."""
