"""`trtreg show KEY --log`: what the builder said, on stdout."""

from __future__ import annotations

from cli.conftest import Console
from rtx_builds import needs_rtx


@needs_rtx
def test_the_log_of_a_build_is_printed(console: Console) -> None:
    console("get", "tiny", "--target", "sm_89", "--allow-unproven")
    (engine,) = console("ls", "--unproven", "--json").json
    key = engine["manifest"]["key"]

    printed = console("show", key, "--log")

    assert printed.code == 0
    assert all(line.startswith("[") for line in printed.out.splitlines())
    size = engine["manifest"]["provenance"]["log"]["size"]
    assert len(printed.out.encode()) == size
    assert f"log of {size} bytes (--log)" in console("show", key).out


def test_a_builder_without_a_log_says_so(console: Console) -> None:
    console("get", "tiny", "--backend", "onnxruntime")
    engines = console("ls", "--state", "published", "--json").json

    said = console("show", engines[0]["manifest"]["key"], "--log").refused(3)

    assert "has no build log" in said


def test_the_log_is_no_json(console: Console) -> None:
    assert "--log is text" in console("show", "ab", "--log", "--json").refused(2)
