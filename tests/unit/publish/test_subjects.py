"""Subjects name the topic and the account, with no character that has a meaning in NATS."""

from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from ledger.publish.destination import Outgoing
from ledger.publish.subjects import escape, subject_of, tokens_of_code
from ledger.values.account_codes import CODE_PATTERN
from ledger.values.ids import new_id

ACCOUNT = new_id()


def outgoing(topic: str, code: str | None, *, is_account: bool = True) -> Outgoing:
    return Outgoing(1, "id", topic, ACCOUNT, ACCOUNT if is_account else None, code, b"{}")


def test_an_account_event_ends_with_the_segments_of_its_code() -> None:
    event = outgoing("AccountCredited", "Assets:Bank:Main-1_x")
    assert "ledger.L.AccountCredited.assets.bank.main-1_x" == subject_of("ledger.L", event)


def test_a_dot_in_a_segment_does_not_make_two() -> None:
    assert "assets.bank%2Ede" == tokens_of_code("assets:bank.de")


def test_an_account_without_a_code_has_its_id() -> None:
    assert f"ledger.L.AccountDebited.{ACCOUNT}" == subject_of("ledger.L", outgoing("AccountDebited", None))


def test_an_event_of_another_stream_ends_with_its_topic() -> None:
    event = outgoing("MoneyTransferred", None, is_account=False)
    assert "ledger.L.MoneyTransferred" == subject_of("ledger.L", event)


@given(st.text(min_size=1))
def test_every_text_is_one_token_and_can_be_read_back(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:  # a surrogate, which no text of the ledger has
        return
    token = escape(text)
    assert text == unquote(token)
    assert not {*" .*>\t\r\n\0"} & {*token}


@given(st.from_regex(CODE_PATTERN, fullmatch=True), st.from_regex(CODE_PATTERN, fullmatch=True))
def test_two_codes_have_the_same_tokens_only_if_they_are_the_same(one: str, other: str) -> None:
    assert (one.lower() == other.lower()) == (tokens_of_code(one) == tokens_of_code(other))
