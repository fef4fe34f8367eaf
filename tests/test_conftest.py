"""The rules that tests/conftest.py sets for all other tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SKIPPED_IN_THREE_WAYS = """
    import pytest

    @pytest.mark.skip(reason="by mark")
    def test_by_mark(): ...

    def test_by_call():
        pytest.skip("by call")

    @pytest.fixture
    def absent():
        pytest.skip("by fixture")

    def test_by_fixture(absent): ...

    @pytest.mark.xfail(reason="known", strict=True)
    def test_known_to_fail():
        raise AssertionError
"""
SKIPPED_AS_A_WHOLE = 'import pytest; pytest.importorskip("no_such_package")'


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text(encoding="utf-8"))
    return pytester


@pytest.mark.parametrize("distribution", [[], ["-n", "1"]], ids=["here", "in a worker"])
def test_where_all_is_required_a_skip_fails_with_its_reason(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, distribution: list[str]
) -> None:
    monkeypatch.setenv("TRTREG_REQUIRE_ALL", "1")
    suite.makepyfile(test_skips=SKIPPED_IN_THREE_WAYS)

    result = suite.runpytest_subprocess(*distribution)

    result.assert_outcomes(failed=1, errors=2, xfailed=1)
    result.stdout.fnmatch_lines_random(["*skipped.*by mark*", "*skipped.*by call*", "*skipped.*by fixture*"])


def test_where_all_is_required_a_file_skipped_as_a_whole_fails(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRTREG_REQUIRE_ALL", "1")
    suite.makepyfile(test_absent=SKIPPED_AS_A_WHOLE)

    suite.runpytest_inprocess().assert_outcomes(errors=1)


def test_elsewhere_a_skip_is_a_skip(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRTREG_REQUIRE_ALL", raising=False)
    suite.makepyfile(test_skips=SKIPPED_IN_THREE_WAYS)

    suite.runpytest_inprocess().assert_outcomes(skipped=3, xfailed=1)


def test_no_setting_of_the_user_reaches_a_test(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTREG_STORE", "s3://somebody/elses")
    monkeypatch.setenv("TRTREG_HOME", "somebody/elses")
    suite.makepyfile(
        test_settings="""
            import os

            def test_settings(tmp_path):
                assert "TRTREG_STORE" not in os.environ
                assert os.environ["TRTREG_HOME"] == str(tmp_path / "trtreg-home")
        """
    )

    suite.runpytest_inprocess().assert_outcomes(passed=1)


def test_each_test_has_a_home_of_its_own(tmp_path: Path) -> None:
    assert Path(os.environ["TRTREG_HOME"]).parent == tmp_path
