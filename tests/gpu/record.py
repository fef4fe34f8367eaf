"""Record what NVML and `trtreg doctor --json` say on this machine:  record.py FILE.json

For tests/probing/recorded. Settings, folders and the processor's name are left out, and every UUID is altered.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

_PRIVATE = ("package", "cpu")
_CALLS = ("nvmlDeviceGetName", "nvmlDeviceGetUUID", "nvmlDeviceGetCudaComputeCapability", "nvmlDeviceGetNumGpuCores")


def gpus() -> dict[str, Any]:
    """NVML's own answers; `mig` and the like are the error's words where it refuses."""
    try:
        pynvml = import_module("pynvml")
        pynvml.nvmlInit()
    except Exception as error:  # noqa: BLE001 - a machine without a driver is worth a recording, too
        return {"error": str(error), "gpus": []}
    found = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        name, uuid, capability, cores = (getattr(pynvml, call)(handle) for call in _CALLS)
        found.append(
            {
                "name": name,
                "uuid": uuid,
                "capability": list(capability),
                "memory": pynvml.nvmlDeviceGetMemoryInfo(handle).total,
                "cores": cores,
                "mig": _answer(pynvml, "nvmlDeviceGetMigMode", handle),
            }
        )
    return {
        "driver": pynvml.nvmlSystemGetDriverVersion(),
        "cuda": pynvml.nvmlSystemGetCudaDriverVersion_v2(),
        "gpus": found,
    }


def _answer(pynvml: Any, call: str, handle: Any) -> Any:
    try:
        return getattr(pynvml, call)(handle)
    except pynvml.NVMLError as error:
        return str(error)


def doctor(visible: str | None) -> dict[str, Any]:
    """What doctor says with CUDA_VISIBLE_DEVICES set so, or not set at all."""
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    if visible is not None:
        environment["CUDA_VISIBLE_DEVICES"] = visible
    command = [sys.executable, "-m", "trtreg_cli.main", "doctor", "--json"]
    answer = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    for backend in answer["backends"].values():
        for fact in _PRIVATE if "onnxruntime" in backend["target"] else ():
            backend["facts"].pop(fact, None)
    return {"CUDA_VISIBLE_DEVICES": visible, "backends": answer["backends"]}


def altered(text: str) -> str:
    """Every UUID with its first part kept and the rest made up, so that one is still told from another."""
    return re.sub(r"(GPU|MIG)-([0-9a-f]{8})[-0-9a-f]{28}", r"\1-\2-0000-0000-0000-000000000000", text)


def main(file: str) -> None:
    seen = gpus()
    settings = [None, "", "0", "7", *(gpu["uuid"] for gpu in seen["gpus"])]
    recording = {"nvml": seen, "doctor": [doctor(visible) for visible in settings]}
    Path(file).write_text(altered(json.dumps(recording, indent=1, ensure_ascii=False)) + "\n")
    print(altered(json.dumps(recording, ensure_ascii=False)))


if __name__ == "__main__":
    main(*sys.argv[1:])
