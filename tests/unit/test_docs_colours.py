"""The colours of /docs have enough contrast (WCAG 2.2), computed without a browser."""

import re
from itertools import product

import pytest

from web.handlers.docs import FOLDER

STYLE = (FOLDER / "style.css").read_text()
READABLE = 4.5  # section 1.4.3, for text of any size
VISIBLE = 3.0  # section 1.4.11, for the outlines of controls and of the focused element
LIGHT, DARK = (
    dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", block))
    for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
)
SCHEMES = {"light": LIGHT, "dark": DARK}


def luminance(colour: str) -> float:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def pairs(scheme: str, front: str, back: str) -> list[tuple[str, str, float]]:
    colours = SCHEMES[scheme]
    fronts, backs = ([name for name in colours if name.startswith(prefix)] for prefix in (front, back))
    assert fronts
    assert backs
    return [(one, other, contrast(colours[one], colours[other])) for one, other in product(fronts, backs)]


def test_contrast_is_computed_as_the_standard_says() -> None:
    assert 21.0 == round(contrast("#000000", "#ffffff"), 2)
    assert 4.54 == round(contrast("#767676", "#ffffff"), 2)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_ink_is_readable_on_every_surface(scheme: str) -> None:
    assert [] == [pair for pair in pairs(scheme, "--ink", "--bg-") if pair[2] < READABLE]
    assert [] == [pair for pair in pairs(scheme, "--on-fill", "--fill") if pair[2] < READABLE]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_controls_and_the_focus_are_visible_on_every_surface(scheme: str) -> None:
    outlines = [*pairs(scheme, "--line-", "--bg-"), *pairs(scheme, "--fill", "--bg-")]
    assert [] == [pair for pair in outlines if pair[2] < VISIBLE]


def test_both_schemes_define_every_colour() -> None:
    assert LIGHT.keys() == DARK.keys()


def test_colours_are_used_as_their_names_say() -> None:
    """So no other pairs of colours can occur."""
    rules = re.sub(r":root \{.*?\}", "", STYLE, flags=re.DOTALL)
    declared = re.findall(r"[{;]\s*([\w-]+): ([^;}]+)", rules)
    texts = {value for name, value in declared if name == "color"}
    surfaces = {value for name, value in declared if name.startswith("background")}

    assert set() == {value for value in texts if not re.fullmatch(r"var\((--ink[\w-]*|--on-fill)\)", value)}
    assert set() == {value for value in surfaces if not re.fullmatch(r"none|var\((--bg-\w+|--fill)\)", value)}
    assert [] == re.findall(r"#[0-9a-f]{3,8}\b(?![^{]*\{)|\b(?:rgb|hsl|oklch|color-mix)\(", rules)
    assert {"1"} == {value for name, value in declared if name == "opacity"}
