"""Whether the libraries of a runtime load, with runtimes that are made to fail as real ones do."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from trtreg.probing import libraries
from trtreg.probing.libraries import has_cuda_bindings, load_failures
from trtreg.probing.nvidia import differing_parts


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is first on the import path, here and in child processes."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def runtime(site: Path) -> Callable[[str], None]:
    """Installs a `tensorrt` of this source."""

    def install(source: str) -> None:
        (site / "tensorrt").mkdir()
        (site / "tensorrt" / "__init__.py").write_text(source)

    return install


def test_a_library_that_is_not_found_is_named(runtime: Callable[[str], None]) -> None:
    runtime("import ctypes; ctypes.CDLL('libnvinfer.so.10')")
    failure = load_failures(["tensorrt"])["tensorrt"]
    assert failure == "libnvinfer.so.10: cannot open shared object file: No such file or directory"


def test_libraries_that_load_leave_nothing_to_say(
    runtime: Callable[[str], None], capfd: pytest.CaptureFixture[str]
) -> None:
    runtime("print('hello')")
    assert load_failures(["tensorrt"]) == {"tensorrt": ""}
    assert capfd.readouterr() == ("", "")


def test_a_crash_is_told_by_its_signal(runtime: Callable[[str], None]) -> None:
    runtime("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert load_failures(["tensorrt"])["tensorrt"] == "loading them ends the process with signal 11"


def test_what_hangs_is_given_up(runtime: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "_LONGEST", 0.2)
    runtime("import time; time.sleep(60)")
    assert load_failures(["tensorrt"])["tensorrt"] == "not loaded within 0.2 s"


def test_a_file_in_the_current_folder_is_no_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.py").touch()
    monkeypatch.chdir(tmp_path)
    assert "tensorrt" in load_failures(["tensorrt"])["tensorrt"]


def test_no_process_at_all_is_a_failure_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(subprocess, "Popen", no_memory)
    assert "Cannot allocate memory" in load_failures(["tensorrt"])["tensorrt"]


def test_cuda_s_bindings_are_found_without_importing_them(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [str(site)])
    assert not has_cuda_bindings()
    (site / "cuda" / "bindings").mkdir(parents=True)
    assert has_cuda_bindings()


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (["tensorrt_cu12-10.13.3.9", "tensorrt_cu12_libs-10.13.3.9.post1", "tensorrt_rtx_cu12-1.7.1.116"], ""),
        (
            ["tensorrt_cu12-10.13.3.9", "tensorrt_cu12_libs-10.16.1.11"],
            "tensorrt-cu12 10.13.3.9, tensorrt-cu12-libs 10.16.1.11",
        ),
    ],
)
def test_parts_of_different_versions_are_named(
    folders: list[str], said: str, site: Path, runtime: Callable[[str], None]
) -> None:
    runtime("")
    for folder in folders:
        (site / f"{folder}.dist-info").mkdir()
    assert differing_parts("tensorrt") == said
