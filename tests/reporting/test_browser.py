"""The page in a real browser: it shows what it should, and nothing in it runs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reporting.examples import HOSTILE, evaluation
from trtreg.reporting.page import page

OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-extensions --disable-dev-shm-usage --hide-scrollbars"
)


class Browser:
    """Chromium, with a profile of its own."""

    def __init__(self, program: str, profile: Path) -> None:
        self._command = [program, *OPTIONS.split(), f"--user-data-dir={profile}"]

    def __call__(self, *arguments: str | Path) -> str:
        done = subprocess.run([*self._command, *map(str, arguments)], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def screenshot(self, file: Path, picture: Path, size: str = "1200,2600", *more: str) -> np.ndarray:
        self(f"--window-size={size}", f"--screenshot={picture}", *more, file)
        return np.asarray(Image.open(picture).convert("RGB"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    return Browser(program, tmp_path_factory.mktemp("profile"))


def written(folder: Path, text: str) -> Path:
    file = folder / "report.html"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.xdist_group("browser")
def test_the_plots_and_the_pictures_are_to_be_seen(browser: Browser, tmp_path: Path) -> None:
    file = written(tmp_path, page(*evaluation()))
    seen = browser.screenshot(file, tmp_path / "seen.png")
    for colour in ((0x1A, 0x5F, 0xB4), (0xB3, 0x26, 0x1E)):  # the first engine's mark, and what isn't served
        assert (np.abs(seen.astype(int) - colour).max(axis=2) < 12).sum() > 20
    # The field below the houses, once for each panel.
    grass = (np.abs(seen.astype(int) - (110, 140, 90)).max(axis=2) < 12).sum()
    assert grass > 6 * 1500


@pytest.mark.xdist_group("browser")
def test_no_script_runs_and_no_style_is_refused_whatever_names_hold(browser: Browser, tmp_path: Path) -> None:
    file = written(tmp_path, page(*evaluation(named=lambda name: HOSTILE + name)))
    shown = browser("--dump-dom", file)
    assert "<title>ran</title>" not in shown
    assert "&lt;script&gt;" in shown
    assert "<script" not in shown


@pytest.mark.xdist_group("browser")
def test_the_policy_stops_a_script_that_is_there_all_the_same(browser: Browser, tmp_path: Path) -> None:
    script = "<script>document.title = 'ran'</script>"
    bare = "<!doctype html><html><head><title>quiet</title></head><body></body></html>"
    assert "<title>ran</title>" in browser("--dump-dom", written(tmp_path, bare.replace("</body>", f"{script}</body>")))
    ours = page(*evaluation()).replace("</body>", f"{script}</body>")
    assert "<title>ran</title>" not in browser("--dump-dom", written(tmp_path, ours))
