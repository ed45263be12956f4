"""Commands, origins and outcomes are the same on both ends of the socket between workers and writer."""

from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import errors
from ledger.commands import COMMANDS
from ledger.commands.batch import ItemResult
from ledger.commands.caller import Caller
from ledger.commands.command import Command
from ledger.errors import LedgerError, OutcomeUnknownError, Refusal, Refused
from ledger.events.account_labels import Labels
from ledger.values.ids import new_id
from ledger.write.frames import (
    LENGTH_BYTES,
    FrameSplitter,
    Status,
    TooLargeError,
    WriterFaultError,
    decode_command,
    decode_origin,
    decode_response,
    encode_command,
    encode_response,
)
from ledger.write.group import Origin, Outcome

times = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
optional_ids = st.none() | st.uuids()
callers = st.builds(Caller, st.uuids(), st.frozensets(st.text()), st.uuids(), st.uuids(), st.booleans())
origins = st.builds(
    Origin,
    st.uuids(),
    optional_ids,
    optional_ids,
    optional_ids,
    st.none() | st.text(),
    st.none() | st.binary(),
    st.none() | callers,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
outcomes = st.builds(
    Outcome, st.dictionaries(st.text(), json_values), times, st.none() | st.integers(0, 2**60), st.booleans()
)
refusals = st.builds(
    Refusal,
    st.text(),
    st.text(),
    st.none() | st.text(),
    st.none() | st.dictionaries(st.text(), st.text()),
    st.none() | st.text(),
)
st.register_type_strategy(datetime, times)
st.register_type_strategy(int, st.integers(-(2**63), 2**63 - 1))
st.register_type_strategy(  # otherwise the placeholder of the empty default would be drawn as well
    Labels,
    st.builds(
        Labels, *[st.none() | st.text()] * 2, st.sampled_from([None, "asset"]), st.dictionaries(st.text(), st.text())
    ),
)
LEDGER_ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LedgerError)]


@pytest.mark.parametrize("kind", COMMANDS)
@given(data=st.data(), origin=origins, number=st.integers(0, 2**40), resent=st.booleans())
def test_a_command_arrives_as_it_was_sent(
    kind: type[Command], data: st.DataObject, origin: Origin, number: int, resent: bool
) -> None:
    command = data.draw(st.from_type(kind))
    sent = encode_command(number, command, origin, weight=3, deadline=12.5, resent=resent)
    received = decode_command(sent)
    assert (number, 3, 12.5, resent) == (received.number, received.weight, received.deadline, received.resent)
    assert (kind, command) == (type(received.command), received.command)
    assert origin == decode_origin(received)


@given(outcome=outcomes, number=st.integers(0, 2**40), revoked=st.booleans())
def test_an_outcome_arrives_as_it_was_sent(outcome: Outcome, number: int, revoked: bool) -> None:
    received = decode_response(encode_response(number, outcome, revoked=revoked))
    assert not isinstance(received, Status)
    assert (number, revoked, outcome) == (received.number, received.revoked, received.to_outcome())


@given(items=st.lists(st.builds(ItemResult, st.none() | st.uuids(), st.none() | st.text(), st.tuples(refusals))))
def test_the_results_of_a_batch_arrive(items: list[ItemResult]) -> None:
    outcome = Outcome({"results": items}, datetime(2026, 1, 1, tzinfo=UTC))
    received = decode_response(encode_response(1, outcome, revoked=False))
    assert not isinstance(received, Status)
    arrived = received.to_outcome()
    assert isinstance(arrived, Outcome)
    assert items == msgspec.convert(arrived.result["results"], list[ItemResult])


@given(given_refusals=st.lists(refusals, min_size=1, max_size=3), replayed=st.booleans())
def test_refusals_arrive(given_refusals: list[Refusal], replayed: bool) -> None:
    received = decode_response(encode_response(1, Refused(*given_refusals, replayed=replayed), revoked=False))
    assert not isinstance(received, Status)
    refused = received.to_outcome()
    assert isinstance(refused, Refused)
    assert (tuple(given_refusals), replayed) == (refused.refusals, refused.replayed)


@pytest.mark.parametrize("kind", LEDGER_ERRORS)
def test_every_error_arrives(kind: type[LedgerError]) -> None:
    resource_id = new_id()
    error = OutcomeUnknownError(resource_id) if kind is OutcomeUnknownError else kind("a reason")
    received = decode_response(encode_response(1, error, revoked=True))
    assert not isinstance(received, Status)
    arrived = received.to_outcome()
    assert (kind, str(error), True) == (type(arrived), str(arrived), received.revoked)
    assert not isinstance(arrived, OutcomeUnknownError) or resource_id == arrived.resource_id


def test_a_fault_of_the_writer_arrives_as_one() -> None:
    received = decode_response(encode_response(1, LookupError("a bug"), revoked=False))
    assert not isinstance(received, Status)
    fault = received.to_outcome()
    assert (WriterFaultError, "LookupError: a bug") == (type(fault), str(fault))


@given(payloads=st.lists(st.binary(max_size=300), max_size=8), data=st.data())
def test_frames_are_the_same_however_the_stream_is_cut(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(len(payload).to_bytes(LENGTH_BYTES) + payload for payload in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    splitter = FrameSplitter(300)
    pieces = [stream[start:end] for start, end in pairwise([0, *cuts, len(stream)])]
    assert payloads == [bytes(payload) for piece in pieces for payload in splitter.split(piece)]


def test_a_frame_over_the_bound_is_refused() -> None:
    with pytest.raises(TooLargeError):
        list(FrameSplitter(300).split((301).to_bytes(LENGTH_BYTES)))
