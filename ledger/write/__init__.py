"""The write path: the committer, commit groups and the expiry of holds."""
