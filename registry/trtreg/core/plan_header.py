"""What the first bytes of a TensorRT or TensorRT-RTX plan say about it. Diagnostic only.

NVIDIA doesn't promise these bytes: they were read off plans of TensorRT-RTX 1.4 and 1.7 and off the place where
`trtexec` looks for a plan's version. They can tell a person what a file is; nothing may be served on their word.
A header doesn't see damage to the body either: only the plan digest does.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEADER_SIZE = 64
"""Bytes from the start of a plan that hold all that is read here."""

_FLAVOURS = {b"ftrt": "tensorrt", b"vtrt": "tensorrt-rtx"}
_VERSION_END = 28
_FUTURE = "future"

# The meaning of a bit moves between releases (bit 5 was `future` before SM 12.1 came), so a release that isn't
# listed gets no names.
_ARCHITECTURES: dict[tuple[int, int], tuple[str, ...]] = {
    (1, 4): ("sm_75", "sm_80", "sm_86", "sm_89", "sm_120", _FUTURE),
    (1, 7): ("sm_75", "sm_80", "sm_86", "sm_89", "sm_120", "sm_121", _FUTURE),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanHeader:
    """A plan's header. What only TensorRT-RTX writes is None, or empty, for TensorRT.

    flavour           `tensorrt` or `tensorrt-rtx`
    version           of the runtime that the plan is bound to, `1.7.1.116`
    file_size         bytes of the whole plan
    architecture_mask the set of architectures, one bit each
    architectures     the same by name, `sm_89`; `future` for those to come, `bit 9` for a bit without a known
                      name; empty where the release's table isn't known
    cuda              CUDA version, `12.9`; empty where the plan says none
    weight_bytes      bytes of weights in the plan
    """

    flavour: str
    version: str
    file_size: int | None = None
    architecture_mask: int | None = None
    architectures: tuple[str, ...] = ()
    cuda: str = ""
    weight_bytes: int | None = None

    def is_cut_off(self, actual_size: int) -> bool:
        """Whether a file of `actual_size` bytes isn't the whole plan; never, where the header gives no size."""
        return self.file_size is not None and self.file_size != actual_size


def is_plan(head: bytes) -> bool:
    """Whether a file that begins with `head` calls itself a plan: a known tag, and layout 0 after it."""
    return head[:4] in _FLAVOURS and head[4:8] == bytes(4)


def read_plan_header(head: bytes) -> PlanHeader:
    """The header of the plan that begins with `head`: `HEADER_SIZE` bytes, or more.

    Raises ValueError for bytes that are no plan, and for a plan that ends inside its header.
    """
    if not is_plan(head):
        raise ValueError(f"no TensorRT plan: it begins with {head[:8].hex(' ') or 'nothing'}")
    flavour = _FLAVOURS[head[:4]]
    needed = HEADER_SIZE if flavour == "tensorrt-rtx" else _VERSION_END
    if len(head) < needed:
        raise ValueError(f"a {flavour} plan that ends after {len(head)} of its header's {needed} bytes")
    release = head[24:_VERSION_END]
    version = ".".join(map(str, release))
    if flavour == "tensorrt":
        return PlanHeader(flavour=flavour, version=version)
    file_size, mask, cuda, weight_bytes = struct.unpack_from("<16xQ8xQ8xQQ", head)
    return PlanHeader(
        flavour=flavour,
        version=version,
        file_size=file_size,
        architecture_mask=mask,
        architectures=_architectures((release[0], release[1]), mask),
        cuda=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else "",
        weight_bytes=weight_bytes,
    )


def _architectures(release: tuple[int, int], mask: int) -> tuple[str, ...]:
    names = _ARCHITECTURES.get(release)
    if names is None:
        return ()
    bits = [bit for bit in range(mask.bit_length()) if mask >> bit & 1]
    return tuple(names[bit] if bit < len(names) else f"bit {bit}" for bit in bits)
