"""What a person does in the console, step by step: press a button, agree in its dialog, and read what is said."""

import json

from tests.support.console import Console


def button(text: str, within: str = "main") -> str:
    """Return an expression that finds a button by its text."""
    return f"[...document.querySelectorAll('{within} button')].find((each) => each.textContent === {json.dumps(text)})"


async def press(console: Console, text: str, within: str = "main") -> None:
    """Press a button as soon as it exists."""
    await console.until(button(text, within))
    await console.run(f"{button(text, within)}.click()")


async def confirm(console: Console, text: str, verb: str) -> None:
    """Press a button, and agree in its dialog."""
    await press(console, text)
    await press(console, verb, "dialog[open]")
    await console.until("!document.querySelector('dialog')")


async def says(console: Console, within: str, text: str) -> None:
    """Wait until a part of the view shows a text."""
    await console.until(f"document.querySelector('{within}')?.innerText.includes({json.dumps(text)})")
