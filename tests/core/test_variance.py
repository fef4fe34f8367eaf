from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from trtreg.core.records import from_json, to_json
from trtreg.core.variance import Attempt, Spread, Variance, best_of
from trtreg.core.verdict import Verdict

FAILED = Attempt(reason="the builder gave up")
attempts = st.one_of(
    st.just(FAILED),
    st.builds(
        Attempt,
        plan_digest=st.sampled_from(["aa", "bb", "cc", "dd"]),
        verdict=st.sampled_from(Verdict),
        strain=st.floats(min_value=0) | st.just(math.nan),
    ),
)


@given(st.lists(attempts, max_size=6), st.randoms())
def test_the_best_has_passed_with_the_least_strain_whatever_the_order(given_: list[Attempt], random: object) -> None:
    place = best_of(given_)
    judged = [a for a in given_ if a.verdict]
    if place is None:
        assert not judged
        return
    best = given_[place]
    passed = [a for a in judged if a.passed]
    assert best.passed == bool(passed)
    rivals = passed or judged
    assert all(not (a.strain < best.strain) for a in rivals)
    shuffled = sorted(given_, key=lambda a: (a.plan_digest, a.reason, str(a.strain)), reverse=True)
    again = best_of(shuffled)
    assert again is not None
    assert (shuffled[again].plan_digest, str(shuffled[again].strain)) == (best.plan_digest, str(best.strain))


def test_the_spread_is_of_those_that_were_judged() -> None:
    judged = [
        Attempt(plan_digest=d, verdict=v, strain=s, figures={"ap50": f})
        for d, v, s, f in (
            ("a", Verdict.PASSED, 0.5, 60.0),
            ("b", Verdict.REJECTED, 2.0, 40.0),
            ("a", Verdict.PASSED, 0.5, 61.0),
        )
    ]
    variance = Variance(attempts=(*judged, FAILED))
    assert (variance.plans, variance.passed) == (2, 2)
    assert variance.spreads() == {
        "strain": Spread(least=0.5, median=0.5, most=2.0),
        "ap50": Spread(least=40.0, median=60.0, most=61.0),
    }
    assert from_json(Variance, to_json(variance)) == variance


def test_a_figure_that_is_nan_is_not_hidden_by_the_others() -> None:
    both = [Attempt(plan_digest="a", verdict=Verdict.REJECTED, strain=s) for s in (1.5, math.nan)]
    assert math.isnan(Variance(attempts=tuple(both)).spreads()["strain"].median)
    assert best_of(both) == 0
