"""Content negotiation (RFC 9110, section 12.5.1)."""

import pytest

from web.http.negotiation import choose_media, is_accepted, is_named

JSON, HTML = OFFERS = ("application/json", "text/html")
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", JSON),
        (BROWSER, HTML),
        (JSON, JSON),
        (HTML, HTML),
        (f"{JSON};q=0.5, {HTML};q=0.4", JSON),
        (f"{JSON};q=0.4,{HTML} ; Q=0.5", HTML),
        ("text/*", HTML),
        ("text/*, application/json;q=0.9", HTML),
        ("*/*, application/json;q=0", HTML),
        ("application/*;q=0, */*", HTML),
        ("TEXT/HTML", HTML),
        ("text/html;charset=utf-8;q=0.9, application/json;q=0.8", HTML),
        ("image/png", JSON),
        ("text/html;q=0", JSON),
        ("", JSON),
        (";q=1,,/", JSON),
        ("text/html;q=nonsense, application/json;q=0.9", HTML),
    ],
)
def test_the_offer_with_the_highest_weight_wins_and_the_first_breaks_ties(accept: str, expected: str) -> None:
    assert expected == choose_media(accept, OFFERS)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", True),
        ("application/*", True),
        ("application/json", True),
        ("application/json;q=0", False),
        ("*/*, application/json;q=0.000", False),
        ("application/json;q=0, application/json", True),
        ("text/html", False),
    ],
)
def test_a_media_type_is_accepted_unless_the_most_specific_range_says_otherwise(accept: str, expected: bool) -> None:
    assert expected == is_accepted(accept, JSON)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/json", True),
        ("text/html, Application/JSON;q=0.1", True),
        ("application/json;q=0", False),
        ("*/*", False),
        ("application/*", False),
    ],
)
def test_a_media_type_counts_as_named_only_without_wildcards(accept: str, expected: bool) -> None:
    assert expected == is_named(accept, JSON)
