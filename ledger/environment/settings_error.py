"""The error of a setting that cannot be used."""


class SettingsError(Exception):
    """A setting is invalid. The text is one line that names the variable and never shows its value."""
