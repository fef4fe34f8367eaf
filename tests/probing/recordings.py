"""Recordings of NVML: of an H100, and of machines made up from its form."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

H100 = {
    "name": "NVIDIA H100 80GB HBM3",
    "uuid": "GPU-40bf263c-f260-c5d4-a182-0d7bf03462b2",
    "capability": (9, 0),
    "memory": 85520809984,
    "cores": 16896,
}
"""As read from NVML under driver 580.159.04."""
RTX_4090 = {
    "name": "NVIDIA GeForce RTX 4090",
    "uuid": "GPU-11111111-aaaa-bbbb-cccc-000000000001",
    "capability": (8, 9),
    "memory": 25757220864,
    "cores": 16384,
}
RTX_3060 = {
    "name": "NVIDIA GeForce RTX 3060",
    "uuid": "GPU-22222222-aaaa-bbbb-cccc-000000000002",
    "capability": (8, 6),
    "memory": 12884901888,
    "cores": 3584,
}
A100_IN_TWO = {
    "name": "NVIDIA A100-SXM4-40GB",
    "uuid": "GPU-33333333-aaaa-bbbb-cccc-000000000003",
    "capability": (8, 0),
    "memory": 42949672960,
    "cores": 6912,
    "instances": [
        {
            "name": "NVIDIA A100-SXM4-40GB MIG 3g.20gb",
            "uuid": "MIG-aaaaaaaa-0000-0000-0000-000000000000",
            "memory": 20937965568,
            "multiprocessors": 42,
        },
        None,
        {
            "name": "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
            "uuid": "MIG-bbbbbbbb-0000-0000-0000-000000000000",
            "memory": 5100273664,
            "multiprocessors": 14,
        },
    ],
}


class RecordedError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


class RecordedNvml:
    """Answers the calls of NVML that probing makes, from a recording."""

    NVMLError = RecordedError
    NVML_DEVICE_MIG_ENABLE = 1
    NVML_ERROR_INVALID_ARGUMENT, NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_NOT_FOUND = 2, 3, 6
    NVML_ERROR_FUNCTION_NOT_FOUND = 13

    def __init__(self, *gpus: dict[str, Any], cuda: int = 13000, driver: str = "580.159.04") -> None:
        self._gpus, self._cuda, self._driver, self.open = gpus, cuda, driver, 0

    def nvmlInit(self) -> None:  # noqa: N802
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def __getattr__(self, name: str) -> Any:
        answers = {
            "nvmlDeviceGetCount": lambda: len(self._gpus),
            "nvmlDeviceGetHandleByIndex": lambda index: self._gpus[index],
            "nvmlSystemGetDriverVersion": lambda: self._driver,
            "nvmlSystemGetCudaDriverVersion_v2": lambda: self._cuda,
            "nvmlDeviceGetName": lambda gpu: gpu["name"],
            "nvmlDeviceGetUUID": lambda gpu: gpu["uuid"],
            "nvmlDeviceGetCudaComputeCapability": lambda gpu: gpu["capability"],
            "nvmlDeviceGetMemoryInfo": lambda gpu: SimpleNamespace(total=gpu["memory"]),
            "nvmlDeviceGetNumGpuCores": lambda gpu: gpu["cores"],
            "nvmlDeviceGetMigMode": self._mig_mode,
            "nvmlDeviceGetMaxMigDeviceCount": lambda gpu: len(gpu["instances"]),
            "nvmlDeviceGetMigDeviceHandleByIndex": self._instance,
            "nvmlDeviceGetAttributes_v2": lambda gpu: SimpleNamespace(multiprocessorCount=gpu["multiprocessors"]),
        }
        if name not in answers:
            raise AttributeError(name)
        assert self.open == 1, f"{name} outside a session"
        return answers[name]

    def _mig_mode(self, gpu: dict[str, Any]) -> list[int]:
        if gpu["capability"][0] < 8 or "GeForce" in gpu["name"]:
            raise RecordedError(self.NVML_ERROR_NOT_SUPPORTED)
        return [1, 1] if "instances" in gpu else [0, 0]

    def _instance(self, gpu: dict[str, Any], index: int) -> dict[str, Any]:
        if gpu["instances"][index] is None:
            raise RecordedError(self.NVML_ERROR_NOT_FOUND)
        instance: dict[str, Any] = gpu["instances"][index]
        return instance


class NoDriver(RecordedNvml):
    def nvmlInit(self) -> None:  # noqa: N802
        raise RecordedError(12)
