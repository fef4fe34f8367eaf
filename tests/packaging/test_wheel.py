"""What a user installs: the wheel, built from the source distribution, in an environment of its own, elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

REPOSITORY = Path(__file__).resolve().parents[2]
CONSTRAINTS = REPOSITORY / "constraints.txt"
# It was 66 MB on CPython 3.11; numpy alone would go beyond.
FETCH_ONLY_BYTES = 75_000_000

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]


@dataclass(frozen=True)
class Installation:
    """An environment with the wheel in it, and a folder to work in that is not the repository."""

    environment: Path
    folder: Path

    @property
    def size(self) -> int:
        """Bytes of all that was installed."""
        return sum(file.stat().st_size for file in (self.environment / "lib").rglob("*") if file.is_file())

    def trtreg(self, *arguments: str | Path) -> str:
        """What the command prints on stdout."""
        command = [self.environment / "bin" / "trtreg", *arguments]
        alone = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "TRTREG_HOME": str(self.folder / "registry")}
        done = subprocess.run(command, cwd=self.folder, env=alone, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.args} left with {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("built")
    python("-m", "hatchling", "build", "--target", "sdist", "--directory", built)
    [sources] = built.glob("*.tar.gz")
    python("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", built, sources)
    [wheel] = built.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path, *, extra: str = "") -> Installation:
    environment = folder / "environment"
    python("-m", "venv", "--without-pip", environment)
    python("-m", "pip", "--python", environment, "install", "--constraint", CONSTRAINTS, f"{wheel}{extra}")
    (folder / "elsewhere").mkdir()
    return Installation(environment=environment, folder=folder / "elsewhere")


def python(*arguments: str | Path) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.args} left with {done.returncode}\n{done.stdout}{done.stderr}"


def write_small_model(path: Path) -> None:
    """One convolution, its rectifier and a mean: enough for a precision rewrite, a build and a gate."""
    kernel = helper.make_tensor("kernel", TensorProto.FLOAT, [4, 3, 3, 3], [0.01 * n for n in range(108)])
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "kernel"], ["features"]),
            helper.make_node("Relu", ["features"], ["positive"]),
            helper.make_node("GlobalAveragePool", ["positive"], ["score"]),
        ],
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [1, 4, 1, 1])],
        [kernel],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def test_the_wheel_holds_the_migrations_the_types_marker_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert "trtreg/py.typed" in names
    assert "trtreg_migrations/env.py" in names
    assert any(name.startswith("trtreg_migrations/versions/") for name in names)
    assert {name.partition("/")[0] for name in names} == {
        "trtreg",
        "trtreg_cli",
        "trtreg_migrations",
        f"{'-'.join(wheel.name.split('-')[:2])}.dist-info",
    }


def test_an_install_without_extras_is_small_and_says_what_it_lacks(wheel: Path, tmp_path: Path) -> None:
    installation = install(wheel, tmp_path)

    assert "get" in installation.trtreg("--help")
    assert "onnxruntime" in installation.trtreg("doctor")
    assert installation.size < FETCH_ONLY_BYTES


def test_an_installed_trtreg_builds_once_in_a_folder_that_is_not_the_repository(wheel: Path, tmp_path: Path) -> None:
    installation = install(wheel, tmp_path, extra="[onnxruntime]")
    write_small_model(installation.folder / "small.onnx")

    installation.trtreg("model", "add", "small", "small.onnx")
    first = installation.trtreg("get", "small", "--fp16")
    again = json.loads(installation.trtreg("get", "small", "--fp16", "--json"))

    assert Path(first.rstrip("\n")).is_file()
    assert again["source"] == "cache"
