"""trtreg cache, and what ls, show and explain say of engines."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cli.conftest import Console


@pytest.fixture
def cached(console: Console, tmp_path: Path) -> Console:
    """Two engines in a cache of the test's own, one of them not used for ten days."""
    cache = tmp_path / "cache"
    for precision in ("fp16", "fp32"):
        assert console("--quiet", "--cache", cache, "get", "tiny", f"--{precision}").code == 0
    key = console("--cache", cache, "get", "tiny", "--fp16", "--json").json["key"]
    (record,) = (cache / "v1" / "keys").glob(key)
    long_ago = time.time() - 10 * 86400
    os.utime(record, (long_ago, long_ago))
    return lambda *arguments: console("--cache", cache, *arguments)


def _keys(console: Console) -> list[str]:
    return [line.split()[0] for line in console("cache", "ls").out.splitlines()[1:]]


def test_it_is_listed_the_last_used_first(cached: Console) -> None:
    head, first, second = cached("cache", "ls").out.splitlines()

    assert head.split() == ["KEY", "MODEL", "MB", "LAST", "USED", "(UTC)"]
    assert first.split()[1] == second.split()[1] == "tiny@1"
    assert first.split()[-2:] > second.split()[-2:]


def test_pruning_by_age_takes_what_was_not_used_lately(cached: Console) -> None:
    newest = _keys(cached)[0]

    assert cached("cache", "prune", "--older-than", "5").out.startswith("dropped 1 engines, 0.0")
    assert _keys(cached) == [newest]
    assert cached("get", "tiny", "--fp16", "--json").json["source"] == "store"


def test_pruning_by_size_spares_what_is_in_use(cached: Console) -> None:
    newest = _keys(cached)[0]

    pruned = cached("cache", "prune", "--max-size", "0")
    assert pruned.out.startswith("dropped 1 engines")
    assert pruned.err.startswith("1 engines, ")
    assert "stay: in use, or asked for in the last minute" in pruned.err
    assert _keys(cached) == [newest]


@pytest.mark.parametrize("arguments", [["--max-size", "1G"], ["--older-than", "20"], ["--max-size", "2.5mb"]])
def test_pruning_takes_no_more_than_it_must(cached: Console, arguments: list[str]) -> None:
    assert cached("cache", "prune", *arguments).out.startswith("dropped 0 engines")
    assert len(_keys(cached)) == 2


@pytest.mark.parametrize("days", ["-1", "nan", "inf", "soon"])
def test_an_age_that_is_none_is_refused(cached: Console, days: str) -> None:
    answer = cached("cache", "prune", "--older-than", days)

    assert (answer.code, answer.out) == (2, "")
    assert len(_keys(cached)) == 2


def test_verifying_sound_copies_finds_nothing(cached: Console) -> None:
    answer = cached("cache", "verify")

    assert (answer.code, answer.out, answer.err) == (0, "2 engines are sound\n", "")


def test_verifying_drops_what_is_damaged_and_get_fetches_it_again(cached: Console) -> None:
    plan = Path(cached("get", "tiny", "--fp16").line)
    content = plan.read_bytes()
    plan.chmod(0o644)
    plan.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    answer = cached("cache", "verify")

    assert answer.code == 7
    assert answer.out == "1 engines are sound\n"
    assert "SHA-256" in answer.err
    again = cached("get", "tiny", "--fp16", "--json").json
    assert (again["source"], Path(again["path"]).read_bytes()) == ("store", content)


def test_an_empty_cache_is_no_failure(console: Console, tmp_path: Path) -> None:
    for command in (["ls"], ["verify"], ["prune", "--max-size", "0"]):
        assert console("--cache", tmp_path / "none", "cache", *command).code == 0


# --- engines -----------------------------------------------------------------------------------------------


def test_engines_are_listed_and_shown_by_the_beginning_of_their_key(cached: Console) -> None:
    built = cached("get", "tiny", "--fp16", "--json").json
    key = built["key"]

    assert any(line.startswith(key[:12]) and "published" in line for line in cached("ls").out.splitlines())
    assert cached("ls", "vanishing").out.splitlines()[1:] == []
    shown = cached("show", key[:12]).out
    for words in (key, built["manifest"]["plan"]["files"][0]["sha256"], "gate: passed", "seed", "built from tiny@1"):
        assert words in shown
    assert cached("show", key, "--json").json["manifest"] == built["manifest"]


def test_a_beginning_that_several_keys_share_is_refused(cached: Console) -> None:
    assert "begins " in cached("show", "").refused(2)


def test_the_gate_can_be_run_again(cached: Console) -> None:
    key = cached("get", "tiny", "--fp16", "--json").json["key"]

    assert cached("--quiet", "gate", key[:12]).out.startswith("gate: passed")
    assert cached("--quiet", "gate", key, "--json").json["verdict"] == "passed"


def test_a_miss_is_explained_by_the_nearest_engine_and_what_a_build_would_cost(cached: Console) -> None:
    missing = ["explain", "tiny", "--fp16", "--keep-fp32", "Conv"]
    explained = cached(*missing, "--json").json

    assert explained["answer"] == "miss"
    nearest = explained["nearest"][0]
    assert nearest["differences"] == {"recipe.keep_fp32": ["Conv", ""]} or "recipe.keep_fp32" in nearest["differences"]
    assert explained["expected_seconds"] > 0
    text = cached(*missing).out
    assert text.startswith("miss: no such engine")
    assert nearest["key"][:12] in text
    assert "recipe.keep_fp32" in text
    assert "by history a build takes about" in text
    assert cached("get", "tiny", "--fp16", "--keep-fp32", "Conv", "--no-build").code == 3


def test_a_hit_is_explained_by_where_it_is(cached: Console, console: Console, tmp_path: Path) -> None:
    assert cached("explain", "tiny", "--json").json["answer"] == "cache"
    assert console("--cache", tmp_path / "other", "explain", "tiny", "--json").json["answer"] == "store"
