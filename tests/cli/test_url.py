"""trtreg url and examples/fetch.sh, with real curl and sha256sum, from a folder and from a bucket."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import Answer, Console
from conftest import Bucket

FETCH = Path(__file__).parents[2] / "examples" / "fetch.sh"
Url = Callable[..., Answer]


@pytest.fixture(params=["folder", "bucket"])
def url(request: pytest.FixtureRequest, tmp_path: Path, bare_console: Console, model: Path) -> Url:
    """`trtreg url tiny` where the engine is in a store of its own."""
    place = str(tmp_path / "store")
    if request.param == "bucket":
        bucket: Bucket = request.getfixturevalue("bucket")
        place = bucket.place(f"url/{os.urandom(6).hex()}")
    settings = ("--home", tmp_path / "home", "--store", place)
    assert bare_console(*settings, "model", "add", "tiny", model).code == 0
    assert bare_console(*settings, "build", "tiny").code == 0
    return lambda *arguments: bare_console(*settings, "url", *arguments)


def fetch(urls: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder.parent / "engine.urls").write_text(urls)
    return subprocess.run(
        [FETCH, folder.parent / "engine.urls", folder], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_files_come_by_fetch_sh_and_by_the_script_for_sh(url: Url, tmp_path: Path) -> None:
    told = url("tiny", "--json").json
    done = fetch(url("tiny").out, tmp_path / "engine")
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()) == tmp_path / "engine" / told["entry"]

    (tmp_path / "other").mkdir()
    script = url("tiny", "--curl").out
    subprocess.run(["sh"], input=script, cwd=tmp_path / "other", text=True, check=True, timeout=60)
    for file in told["files"]:
        for folder in ("engine", "other"):
            content = (tmp_path / folder / file["name"]).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (file["size"], file["sha256"])
    assert not list(tmp_path.rglob("*.part"))


def test_wrong_bytes_never_get_their_name(url: Url, tmp_path: Path) -> None:
    done = fetch("0" * 64 + url("tiny").out[64:], tmp_path / "engine")
    assert done.returncode == 7
    assert "not what it should be" in done.stderr
    script = url("tiny", "--curl").out
    digest = url("tiny", "--json").json["files"][0]["sha256"]
    ended = subprocess.run(
        ["sh"], input=script.replace(digest, "0" * 64), cwd=tmp_path, text=True, check=False, capture_output=True
    )
    assert ended.returncode != 0
    for file in url("tiny", "--json").json["files"]:
        assert not (tmp_path / file["name"]).exists()
        assert not (tmp_path / "engine" / file["name"]).exists()


def test_what_is_not_in_the_store_has_no_url(url: Url) -> None:
    assert "no engine of" in url("tiny", "--fp16").refused(3)


@pytest.mark.parametrize("arguments", [["--valid", "soon"], ["--json", "--curl"]])
def test_contradictions_and_nonsense_are_refused(url: Url, arguments: list[str]) -> None:
    url("tiny", *arguments).refused(2)
