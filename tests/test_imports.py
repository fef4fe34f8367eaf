"""`import trtreg` and the command line stay light: a cached engine must be there at once (DESIGN: the hit path)."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "PIL",
    "alembic",
    "boto3",
    "celery",
    "kombu",
    "cryptography",
    "numpy",
    "onnx",
    "onnxruntime",
    "rich",
    "sqlalchemy",
    "tensorflow",
    "tensorrt",
    "tensorrt_rtx",
    "torch",
    "trtreg_migrations",
}


@pytest.mark.parametrize("package", ["trtreg", "trtreg_cli.main"])
def test_importing_loads_nothing_heavy(package: str) -> None:
    script = f"import sys, {package}; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    loaded = {module.partition(".")[0] for module in printed.split()}

    assert not loaded & HEAVY
