"""Text in cells of CSV files that a spreadsheet must not run as a formula.

A spreadsheet runs a cell that begins with one of a few characters, so text from strangers can call programs or send
data away. An apostrophe in front keeps it text. A text that begins with an apostrophe gets a second one, so the
original can be restored.
"""

_RUNS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"  # the last four are full-width, which some spreadsheets run too
_MARK = "'"
_PROTECTED = (*_RUNS, _MARK)


def protect_cell(text: str) -> str:
    """Return a text as a cell that no spreadsheet runs."""
    return _MARK + text if text.startswith(_PROTECTED) else text


def restore_cell(cell: str) -> str:
    """Return the text from which `protect_cell` made a cell."""
    return cell[1:] if cell.startswith(_MARK) and cell[1:].startswith(_PROTECTED) else cell
