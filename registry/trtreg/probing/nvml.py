"""The NVIDIA GPUs that a CUDA program started here would see, through NVML: no CUDA context, no TensorRT.

NVML counts GPUs in the order of the PCI bus and knows nothing of CUDA_VISIBLE_DEVICES; CUDA counts the fastest
first unless CUDA_DEVICE_ORDER says PCI_BUS_ID. Names that mean the same to both are UUIDs.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trtreg.probing.finding import Missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CORES_PER_MULTIPROCESSOR = {75: 64, 80: 64, 86: 128, 87: 128, 89: 128, 90: 128, 100: 128, 103: 128, 120: 128, 121: 128}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU, or one MIG instance of a GPU.

    name             the product's; a MIG instance's ends in its profile, `NVIDIA A100-SXM4-40GB MIG 1g.5gb`
    uuid             `GPU-…` or `MIG-…`, as CUDA_VISIBLE_DEVICES takes it
    capability       compute capability times ten
    multiprocessors  how many; None where NVML doesn't tell
    memory           bytes
    """

    name: str
    uuid: str
    capability: int
    multiprocessors: int | None
    memory: int

    @property
    def is_mig(self) -> bool:
        """Whether it is a slice of a GPU."""
        return self.uuid.startswith("MIG-")

    def __str__(self) -> str:
        count = "" if self.multiprocessors is None else f", {self.multiprocessors} multiprocessors"
        return f"{self.name} (sm_{self.capability}{count}, {self.memory / 2**30:.0f} GiB, {self.uuid})"


@dataclass(frozen=True, slots=True)
class Gpus:
    """The GPUs that CUDA would see, in its order; the driver's version, and the newest CUDA that it serves."""

    visible: tuple[Gpu, ...]
    driver: str
    cuda: str

    def serve(self, cuda: str) -> bool:
        """Whether the driver runs what was built for this CUDA: `12`, `12.8`, or empty where that isn't known."""
        return not cuda or int(self.cuda.partition(".")[0]) >= int(cuda.partition(".")[0])


def read_gpus(nvml: Any, environment: Mapping[str, str]) -> Gpus | Missing:
    """`nvml` is the module `pynvml`; `environment` that of the process that will use the GPUs."""
    try:
        with _session(nvml):
            groups = [_devices(nvml, nvml.nvmlDeviceGetHandleByIndex(i)) for i in range(nvml.nvmlDeviceGetCount())]
            driver = nvml.nvmlSystemGetDriverVersion()
            number = nvml.nvmlSystemGetCudaDriverVersion_v2()
    except nvml.NVMLError as error:
        return Missing(f"NVIDIA's driver doesn't answer: {error}", "install NVIDIA's driver, or reboot after an update")
    visible = _visible(groups, environment)
    if isinstance(visible, Missing):
        return visible
    return Gpus(visible, driver, f"{number // 1000}.{number % 1000 // 10}")


def choose_gpu(gpus: Gpus, device: str) -> Gpu | Missing:
    """The GPU that `device` names: an index into the visible ones, or a UUID or its beginning; the first if empty."""
    there = "; ".join(f"{index}: {gpu}" for index, gpu in enumerate(gpus.visible))
    if not gpus.visible:
        return Missing("no NVIDIA GPU is visible", "look at CUDA_VISIBLE_DEVICES, and at nvidia-smi -L")
    if device.isascii() and (device.isdigit() or not device):
        index = int(device or 0)
        chosen = list(gpus.visible[index : index + 1])
    else:
        chosen = [gpu for gpu in gpus.visible if gpu.uuid.startswith(device)]
    if len(chosen) != 1:
        return Missing(f"--device {device} names {len(chosen)} of the GPUs here", f"there are {there}")
    return chosen[0]


@contextmanager
def _session(nvml: Any) -> Iterator[None]:
    nvml.nvmlInit()
    try:
        yield
    finally:
        nvml.nvmlShutdown()


def _devices(nvml: Any, handle: Any) -> list[Gpu]:
    """The GPU itself, or its MIG instances where it is divided: CUDA then sees only those."""
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    capability = 10 * major + minor
    if not _is_divided(nvml, handle):
        cores = _optional(nvml, nvml.nvmlDeviceGetNumGpuCores, handle)
        each = _CORES_PER_MULTIPROCESSOR.get(capability)
        return [_gpu(nvml, handle, capability, cores // each if cores and each else None)]
    instances = []
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        instance = _optional(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, index)
        if instance is not None:
            attributes = _optional(nvml, nvml.nvmlDeviceGetAttributes_v2, instance)
            count = attributes.multiprocessorCount if attributes is not None else None
            instances.append(_gpu(nvml, instance, capability, count))
    return instances


def _gpu(nvml: Any, handle: Any, capability: int, multiprocessors: int | None) -> Gpu:
    return Gpu(
        name=nvml.nvmlDeviceGetName(handle),
        uuid=nvml.nvmlDeviceGetUUID(handle),
        capability=capability,
        multiprocessors=multiprocessors,
        memory=nvml.nvmlDeviceGetMemoryInfo(handle).total,
    )


def _is_divided(nvml: Any, handle: Any) -> bool:
    mode = _optional(nvml, nvml.nvmlDeviceGetMigMode, handle)
    return mode is not None and mode[0] == nvml.NVML_DEVICE_MIG_ENABLE


def _optional(nvml: Any, call: Any, *arguments: Any) -> Any:
    """What the call gives; None where this GPU or driver doesn't know it, or has no such instance."""
    try:
        return call(*arguments)
    except nvml.NVMLError as error:
        if error.value in (
            nvml.NVML_ERROR_NOT_SUPPORTED,
            nvml.NVML_ERROR_NOT_FOUND,
            nvml.NVML_ERROR_FUNCTION_NOT_FOUND,
            nvml.NVML_ERROR_INVALID_ARGUMENT,
        ):
            return None
        raise


def _visible(groups: list[list[Gpu]], environment: Mapping[str, str]) -> tuple[Gpu, ...] | Missing:
    """What CUDA_VISIBLE_DEVICES leaves, in its order. Like CUDA, it stops at the first entry that names nothing."""
    devices = [gpu for group in groups for gpu in group]
    wanted = environment.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return tuple(devices)
    chosen: list[Gpu] = []
    for entry in map(str.strip, wanted.split(",")):
        if entry.isascii() and entry.isdigit():
            if _order_is_open(devices, environment):
                return Missing(
                    f"CUDA_VISIBLE_DEVICES={wanted} counts different GPUs in an order that only CUDA knows",
                    "set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name the GPUs by UUID (nvidia-smi -L)",
                )
            # A divided GPU counts as one, and a CUDA program sees its first instance only.
            found = groups[int(entry)][:1] if int(entry) < len(groups) else []
        else:
            found = [gpu for gpu in devices if entry and gpu.uuid.startswith(entry)]
        if len(found) != 1 or found[0] in chosen:
            break
        chosen += found
    return tuple(chosen)


def _order_is_open(devices: list[Gpu], environment: Mapping[str, str]) -> bool:
    kinds = {gpu.name.partition(" MIG ")[0] for gpu in devices}
    return len(kinds) > 1 and environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID"
