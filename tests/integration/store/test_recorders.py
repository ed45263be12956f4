"""The tests that the `eventsourcing` library has for its own recorders pass on the ledger's tables."""

import asyncio
import unittest

import pytest
from eventsourcing.persistence import ApplicationRecorder, InfrastructureFactory, TrackingRecorder
from eventsourcing.tests.persistence import ApplicationRecorderTestCase, NonInterleavingNotificationIDsBaseCase
from eventsourcing.utils import Environment

from ledger.settings import Settings
from ledger.store.library import LedgerApplication, environment


class OnTheLedger(unittest.TestCase):
    """A test of the library, on the tables of the ledger with these settings."""

    __test__ = False  # as a class: each of its tests is a case below
    settings: Settings

    def create_recorder(self) -> ApplicationRecorder:
        """Return a recorder that writes to the ledger's log."""
        # It leaves the tables that exist as they are, and adds the types that it appends with.
        variables = {**LedgerApplication.env, **environment(self.settings), "CREATE_TABLE": "y"}
        factory = InfrastructureFactory[TrackingRecorder].construct(Environment(LedgerApplication.name, variables))
        self.addCleanup(factory.close)
        return factory.application_recorder()


class Recorder(OnTheLedger, ApplicationRecorderTestCase[ApplicationRecorder]):
    """Inserts and selects, alone and beside each other."""


class Positions(OnTheLedger, NonInterleavingNotificationIDsBaseCase):
    """The positions of one insert are consecutive, whatever else is inserted."""


CASES = [(case, name) for case in (Recorder, Positions) for name in unittest.TestLoader().getTestCaseNames(case)]


@pytest.mark.parametrize(("case", "name"), CASES, ids=[f"{case.__name__}-{name}" for case, name in CASES])
async def test_the_library_s_own_test_passes(case: type[OnTheLedger], name: str, settings: Settings) -> None:
    test, result = case(name), unittest.TestResult()
    test.settings = settings

    await asyncio.to_thread(test.run, result)

    assert ([], [], []) == (result.errors, result.failures, result.skipped)
    assert 1 == result.testsRun


def test_all_five_are_there() -> None:
    assert 5 == len(CASES)
