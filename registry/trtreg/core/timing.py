"""What TensorRT's timing caches are called: in the store, and in the folder that passes them to a build and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtreg.core.digest import digest_of
from trtreg.core.layout import TIMINGS

if TYPE_CHECKING:
    from trtreg.core.target import Target

LENT_SUFFIX = ".lent"
MEASURED = "measured"
COMBINED = "combined"
"""Names what is in `MEASURED` beside the build's own: the lent caches that TensorRT took, a digest a line."""


def timing_prefix(target: Target) -> str:
    """Where the store keeps the caches of this exact version, CUDA and device.

    A recipe that isn't bound to a type of device has targets that don't name one; TensorRT itself still tells such
    timings apart.
    """
    kind = (target.runtime, target.runtime_version, target.platform, target.cuda, target.architecture, target.device)
    return f"{TIMINGS}{digest_of('timing-cache', kind)}/"
