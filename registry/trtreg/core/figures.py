"""What `trtreg bench` has measured of an engine, as it is kept in the store: how fast, on which host, beside what."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from trtreg.core.benchmark import Copies, Latencies
from trtreg.core.key import Key
from trtreg.core.layout import figures_name
from trtreg.core.records import MalformedRecord, from_json

FIGURES_SCHEMA = 1
MOST_OF_A_HOST = 8
"""Records of one engine; the older ones go."""
_LONGEST_HOST = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One measurement of one plan.

    measured_at  UTC, ISO 8601
    processor    what ran it, in words: the CPU, or the GPU if it took one
    run          from array to array; `original` is ONNX Runtime's run of the original on the CPU, in turn with it
    resident     without the copies between host and device; None where they aren't told apart
    inputs       what was run, in words
    threads      that the CPU's sessions may use
    """

    key: Key
    plan_digest: str
    measured_at: str
    host: str
    processor: str
    run: Latencies
    original: Latencies
    copies: Copies
    resident: Latencies | None
    inputs: str
    rounds: int
    warm_up: int
    threads: int
    versions: Mapping[str, str]
    figures_schema: int = FIGURES_SCHEMA

    @property
    def speed(self) -> float:
        """How many times as fast as the original, by the medians."""
        return self.original.p50 / self.run.p50 if self.run.p50 else math.inf

    @property
    def record_name(self) -> str:
        """Where it lies in the store: sorted by time, the host at its end."""
        moment = re.sub(r"[^0-9T]", "", self.measured_at.partition("+")[0])
        return figures_name(self.key, self.plan_digest, moment, host_in_names(self.host))


def host_in_names(host: str) -> str:
    """As names of records have it: no two hosts share one, whatever they are called."""
    slug = re.sub(r"[^a-z0-9]+", "-", host.lower()).strip("-")[:_LONGEST_HOST]
    return f"{slug}-{hashlib.sha256(host.encode()).hexdigest()[:8]}"


def read_figures(content: bytes) -> Figures:
    """The figures in a record. Raises MalformedRecord."""
    figures = from_json(Figures, content)
    if figures.figures_schema != FIGURES_SCHEMA:
        raise MalformedRecord(f"figures schema {figures.figures_schema}, while this trtreg reads {FIGURES_SCHEMA}")
    return figures
