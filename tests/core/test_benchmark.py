from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtreg.core.benchmark import BenchReport, Copies, Timed, latencies, percentile
from trtreg.core.records import from_json, to_json

times = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=50)


def test_percentiles_lie_on_straight_lines_between_the_runs() -> None:
    ordered = [1.0, 2.0, 3.0, 4.0]
    assert [percentile(ordered, p) for p in (0, 50, 90, 100)] == pytest.approx([1, 2.5, 3.7, 4])
    assert percentile([7.0], 99) == 7


@given(times)
def test_the_middle_is_the_median_and_the_order_of_runs_does_not_matter(milliseconds: list[float]) -> None:
    summary = latencies(milliseconds)
    assert summary == latencies(sorted(milliseconds, reverse=True))
    assert summary.p50 == pytest.approx(statistics.median(milliseconds))
    assert summary.least <= summary.p50 <= summary.p90 <= summary.p99 <= max(milliseconds)
    assert summary.per_second == pytest.approx(1000 / summary.mean)


def test_speed_is_that_of_the_medians_and_a_report_survives_json() -> None:
    rows = [
        Timed(name=name, key="", run=latencies([ms]), copies=Copies.NONE)
        for name, ms in (("original", 8.0), ("a", 2.0))
    ]
    report = BenchReport(rows=tuple(rows), inputs="", rounds=1, warm_up=0, threads=2, versions={})
    assert [report.speed(row) for row in report.rows] == [1, 4]
    assert from_json(BenchReport, to_json(report)) == report
