"""trtreg revoke: withdrawing engines in bulk, and what everyone is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.conftest import Console
from small_models import write_classifier


@pytest.fixture
def built(bare_console: Console, tmp_path: Path) -> str:
    """The key of the engine of `tiny`."""
    bare_console("model", "add", "tiny", write_classifier(tmp_path / "tiny.onnx"))
    assert bare_console("--quiet", "get", "tiny").code == 0
    return bare_console("build", "tiny").line


def test_a_dry_run_lists_and_withdraws_nothing(bare_console: Console, built: str) -> None:
    listed = bare_console("revoke", "--model", "tiny", "--dry-run")

    assert listed.line.startswith(f"{built[:12]}/")
    assert listed.err == "would withdraw 1 engines\n"
    assert bare_console("get", "tiny").code == 0


def test_who_asks_is_refused_with_the_reason_and_everything_tells_it(bare_console: Console, built: str) -> None:
    done = bare_console("revoke", built[:8], "--why", "bad\nRAM")

    assert (done.code, done.err) == (0, "withdrew 1 engines\n")
    for call in (["get", "tiny"], ["get", "tiny", "--offline"], ["get", "tiny", "--refresh"], ["gate", built]):
        assert r"was revoked: bad\nRAM" in bare_console(*call).refused(7)
    assert r"the very plan of tiny@1 again that was revoked: bad\nRAM" in bare_console(
        "--quiet", "get", "tiny", "--rebuild"
    ).refused(7)
    assert bare_console("ls", "--revoked").out.splitlines()[1].startswith(built[:12])
    assert r"state revoked, revoked: bad\nRAM" in bare_console("show", built).out
    explained = bare_console("explain", "tiny").out
    assert explained.startswith("revoked: ")
    assert "bad" in explained
    listed = bare_console("revoke", "--list").out.splitlines()[1]
    assert listed.split()[1] == "1"
    assert rf"key={built[:8]}  bad\nRAM" in listed
    assert bare_console("revoke", "--list", "--json").json[0]["engines"][0][0] == built


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--why", "x"], 2, "revoke which engines?"),
        (["--model", "tiny"], 2, "why are they revoked?"),
        (["--model", "tiny", "--why", " "], 2, "why are they revoked?"),
        (["--since", "yesterday", "--why", "x"], 2, "--since: "),
        (["--host", "nowhere", "--why", "x"], 3, "has host nowhere"),
        (["--tensorrt", "99", "--why", "x"], 3, "has runtime_version 99"),
        (["--list", "--model", "tiny"], 2, "--list takes nothing else"),
    ],
)
def test_what_makes_no_sense_is_refused(
    bare_console: Console, arguments: list[str], code: int, said: str, tmp_path: Path
) -> None:
    assert said in bare_console("revoke", *arguments).refused(code)


def test_who_can_not_sign_can_not_revoke_where_signatures_are_required(
    bare_console: Console, built: str, tmp_path: Path
) -> None:
    bare_console("key", "new")
    bare_console("key", "sign")
    (tmp_path / "trtreg-home" / "signing-key.pem").unlink()

    assert "no key to sign with" in bare_console("revoke", built, "--why", "x").refused(2)
    assert bare_console("--quiet", "get", "tiny").code == 0


def test_who_is_refused_what_others_have_revoked_is_told_what_helps(
    bare_console: Console, built: str, tmp_path: Path
) -> None:
    reader = ("--home", tmp_path / "reader", "--store", tmp_path / "trtreg-home" / "store")
    assert bare_console(*reader, "get", "tiny").code == 0
    assert bare_console("revoke", built, "--why", "bad RAM").code == 0
    refused = bare_console(*reader, "get", "tiny")
    assert refused.code == 7
    assert "another recipe, or the model's next version" in refused.err


def test_refresh_contradicts_offline(bare_console: Console) -> None:
    assert "--refresh contradicts --offline" in bare_console("get", "tiny", "--offline", "--refresh").refused(2)
