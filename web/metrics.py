"""Metrics: what each request adds to them, and how those of all workers are rendered for Prometheus."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cache, partial
from http import HTTPStatus
from typing import Any, NamedTuple

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from ledger import __version__
from ledger.errors import Refusal
from ledger.events.operations import RebuildEnded, VerificationEnded
from ledger.followers.follower import STATES
from ledger.projections.holds import Holds
from ledger.projections.schedules import Schedules
from ledger.publish.webhooks.states import WebhookStates
from ledger.runtime import Runtime
from ledger.service import metrics, sampling
from ledger.service.health import Health
from ledger.service.metrics import MICROSECONDS, SECONDS, CommitGroups, Family, Layout, Meter
from ledger.service.operations.ended import Ended
from web.http.catalogue import CATALOGUE

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
UNMATCHED = ("", "")  # the method and path of requests that match no route

_HTTP_STATUSES = [status.value for status in HTTPStatus]


class RouteMetrics:
    """Counts the requests of one route. It costs three additions a request, and looks up no series."""

    __slots__ = ("_buckets", "_cells", "_statuses", "_sum")

    def __init__(self, cells: "memoryview[int]", statuses: dict[int, int], seconds: int) -> None:
        self._cells = cells
        self._statuses = statuses
        self._buckets = seconds
        self._sum = seconds + len(SECONDS) + 1

    def count(self, status: int, seconds: float) -> None:
        """Count a request that was answered with this status after this time."""
        cells = self._cells
        microseconds = int(seconds * MICROSECONDS)
        cells[self._statuses[status]] += 1
        cells[self._buckets + bisect_left(SECONDS, microseconds)] += 1
        cells[self._sum] += microseconds


@cache  # both are large, and the same for every application of a process
def _families(routes: tuple[tuple[str, str], ...]) -> tuple[Family, Family, Family]:
    """Return the families of requests, of their durations and of refusals."""
    keys = [*routes, UNMATCHED]
    labels = ("method", "route")
    requests = Family(
        "ledger_http_requests",
        "Answered requests.",
        "counter",
        (*labels, "status"),
        [(*key, str(status)) for key in keys for status in _HTTP_STATUSES],
    )
    seconds = Family(
        "ledger_http_request_seconds",
        "Time to answer requests.",
        "histogram",
        labels,
        keys,
        SECONDS,
        MICROSECONDS,
    )
    refusals = Family("ledger_refusals", "Refusals by code.", "counter", ("code",), [(code,) for code in CATALOGUE])
    return requests, seconds, refusals


@cache
def _layout(routes: tuple[tuple[str, str], ...]) -> Layout:
    return Layout((*metrics.FAMILIES, *_families(routes)))


@cache
def _cells(routes: tuple[tuple[str, str], ...]) -> dict[tuple[str, str], tuple[dict[int, int], int]]:
    """Return, for each route, the cells that count its responses by status, and the first cell of its durations."""
    first, (requests, seconds, _) = _layout(routes).first_cell, _families(routes)
    return {
        key: ({status: first(requests, *key, str(status)) for status in _HTTP_STATUSES}, first(seconds, *key))
        for key in (*routes, UNMATCHED)
    }


class Counts(NamedTuple):
    """What the database has counted for one scrape."""

    holds: Holds
    schedules: Schedules
    ended: Ended
    webhooks: WebhookStates


class Metrics:
    """The metrics of this worker, for each route (a method and a path) and for the rest; it can read all workers'."""

    def __init__(self, routes: Iterable[tuple[str, str]], file: int | None = None, slot: int = 0) -> None:
        listed = tuple(routes)
        *_, self._refusals = _families(listed)
        self._cells = _cells(listed)
        self.meter = Meter(_layout(listed), file, slot)
        self.commit_groups = CommitGroups(self.meter)
        self.unmatched = self.make_route_metrics(*UNMATCHED)

    def make_route_metrics(self, method: str, path: str) -> RouteMetrics:
        """Return the counter of a route's requests."""
        return RouteMetrics(self.meter.cells, *self._cells[method, path])

    def count_refusals(self, refusals: Iterable[Refusal]) -> None:
        """Count refusals."""
        for refusal in refusals:
            self.meter.add(self._refusals, refusal.code)

    def count_unparsed(self, status: int, refusals: Iterable[Refusal]) -> None:
        """Count a request that reached no route because it was not valid HTTP."""
        self.unmatched.count(status, 0)
        self.count_refusals(refusals)

    def sample(self, runtime: Runtime) -> None:
        """Set this worker's gauges, and count the tokens that came before their time and the swapped passwords."""
        sampling.sample(self.meter, runtime)
        for _ in range(runtime.signer.take_early()):
            self.meter.add(metrics.EARLY_TOKENS)
        for _ in range(runtime.passwords.take_swapped()):
            self.meter.add(metrics.SWAPPED_PASSWORDS)

    def render(self, health: Health | None, counts: Counts | None) -> bytes:
        """Return the metrics of all workers in Prometheus' text format, without the database's if it is unreachable."""
        return generate_latest(_MeterCollector(self.meter, health, counts))


def _describe_counts(counts: Counts) -> Iterator[Metric]:
    pending, overdue = counts.holds
    yield GaugeMetricFamily("ledger_holds_pending", "Holds that are neither captured nor void.", value=pending)
    yield GaugeMetricFamily("ledger_holds_overdue_seconds", "How late holds expire.", value=overdue)
    waiting, late = counts.schedules
    yield GaugeMetricFamily("ledger_schedules_waiting", "Transactions that are scheduled.", value=waiting)
    yield GaugeMetricFamily("ledger_schedules_overdue_seconds", "How late they are executed.", value=late)
    states = GaugeMetricFamily("ledger_webhooks", "Webhooks by state.", labels=["state"])
    for state in ("delivering", "failing", "disabled"):
        states.add_metric([state], getattr(counts.webhooks, state))
    text = "Age of the oldest event that an enabled webhook has yet to send or to pass over."
    yield from (states, GaugeMetricFamily("ledger_webhooks_behind_seconds", text, value=counts.webhooks.behind_seconds))


class _MeterCollector(Collector):
    """Adapts the metrics to prometheus_client."""

    def __init__(self, meter: Meter, health: Health | None, counts: Counts | None) -> None:
        self._meter = meter
        self._health = health
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        yield InfoMetricFamily("ledger", "The running version.", {"version": __version__})
        for family in self._meter.layout.families:
            yield self._gauge(family) if family.kind == "gauge" else self._sum(family)
        yield from self._database()
        if self._counts is not None:
            yield from _describe_counts(self._counts)
            yield from _describe_operations(self._counts.ended)
        yield from self._processes()

    def _sum(self, family: Family) -> Metric:
        if family.kind == "counter":
            counter = CounterMetricFamily(family.name, family.text, labels=family.labels)
            for labels, cells in self._meter.sum_series(family):
                counter.add_metric(labels, cells[0] / family.scale)
            return counter
        histogram = HistogramMetricFamily(family.name, family.text, labels=family.labels)
        for labels, cells in self._meter.sum_series(family):
            histogram.add_metric(labels, *metrics.cumulate_buckets(family, cells))
        return histogram

    def _gauge(self, family: Family) -> Metric:
        gauge = GaugeMetricFamily(family.name, family.text, labels=("worker", *family.labels))
        for number, cells in self._meter.workers():
            for labels in family.series:
                gauge.add_metric(
                    (str(number), *labels), cells[self._meter.layout.first_cell(family, *labels)] / family.scale
                )
        return gauge

    def _database(self) -> Iterator[Metric]:
        health = self._health
        yield GaugeMetricFamily("ledger_database_up", "Whether PostgreSQL answers.", value=float(health is not None))
        if health is None:
            return
        yield GaugeMetricFamily("ledger_log_position", "The last position of the log.", value=health.last_position)
        events = GaugeMetricFamily(
            "ledger_follower_lag_events", "The most positions that a follower can be behind.", labels=["follower"]
        )
        seconds = GaugeMetricFamily(
            "ledger_follower_lag_seconds",
            "Age of the oldest event that a follower lacks.",
            labels=["follower"],
        )
        states = GaugeMetricFamily(
            "ledger_follower_state", "The state of a follower: the one that is 1.", labels=["follower", "state"]
        )
        for follower in health.followers:
            events.add_metric([follower.name], health.last_position - follower.position)
            seconds.add_metric([follower.name], follower.lag_seconds)
            for state in STATES:
                states.add_metric([follower.name, state], float(state == follower.state))
        yield from (events, seconds, states)

    def _processes(self) -> Iterator[Metric]:
        """Yield the process metrics of each worker."""
        joined: dict[str, Metric] = {}
        for number, cells in self._meter.workers():
            pid = cells[self._meter.layout.first_cell(metrics.PID)]
            for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                family = type(metric)(metric.name, metric.documentation, labels=["worker"])  # type: ignore[call-arg]
                into: Any = joined.setdefault(metric.name, family)
                for sample in metric.samples:
                    into.add_metric([str(number)], sample.value)
        yield from joined.values()


def _describe_operations(ended: Ended) -> Iterator[Metric]:
    """Yield how the last rebuild of each projection and the last verification of each extent ended."""
    rebuilds = [(name, one, one.differing) for name, one in ended.rebuilds.items()]
    wrong = GaugeMetricFamily(
        "ledger_rebuild_differing_rows", "Rows that were wrong in the last rebuild.", labels=["projection"]
    )
    yield from _describe_ends("ledger_rebuild", "projection", wrong, rebuilds)
    verifications = [(one.extent, one, one.findings) for one in ended.verifications]
    findings = GaugeMetricFamily(
        "ledger_verification_findings", "Findings of the last verification.", labels=["extent"]
    )
    yield from _describe_ends("ledger_verification", "extent", findings, verifications)
    waiting, oldest = ended.backlog
    yield GaugeMetricFamily("ledger_outbox_events", "Events that wait to be recorded.", value=waiting)
    yield GaugeMetricFamily("ledger_outbox_oldest_seconds", "Age of the oldest event that waits.", value=oldest)


def _describe_ends(
    prefix: str,
    label: str,
    counts: GaugeMetricFamily,
    ends: Iterable[tuple[str, RebuildEnded | VerificationEnded, int | None]],
) -> Iterator[Metric]:
    """Yield whether each failed, when it ended, and its count, if it has one."""
    failed = GaugeMetricFamily(f"{prefix}_failed", "Whether the last one failed.", labels=[label])
    times = GaugeMetricFamily(f"{prefix}_ended_timestamp_seconds", "When the last one ended.", labels=[label])
    for name, one, count in ends:
        failed.add_metric([name], float(one.outcome == "failed"))
        times.add_metric([name], one.ended_at.timestamp())
        if count is not None:
            counts.add_metric([name], count)
    yield from (failed, times, counts)
