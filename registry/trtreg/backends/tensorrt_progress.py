"""TensorRT's progress monitor: tells the phase, and stops the build when asked to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from trtreg.interfaces import Progress


@dataclass(slots=True)
class Watch:
    """What goes on in one build.

    phase    the outermost phase that is under way, in TensorRT's words
    stopped  why the build was asked to stop: an exception of the caller's own, or None
    """

    progress: Progress | None
    cancelled: Callable[[], bool]
    phase: str = ""
    stopped: BaseException | None = field(default=None)

    def start(self, name: str, parent: str | None) -> None:
        if parent is None:
            self.phase = name
        if self.progress is not None:
            self.progress.stage("build", name)

    def go_on(self) -> bool:
        if self.stopped is None and self.cancelled():
            self.stopped = BuildCancelled()
        return self.stopped is None


class BuildCancelled(Exception):
    """The build was cancelled through its watch."""


def monitor_of(trt: Any, watch: Watch) -> Any:
    """A progress monitor that reports to `watch`; keep a reference to it for as long as the build lasts."""
    return _monitor_type(trt)(watch)


@cache
def _monitor_type(trt: Any) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self, watch: Watch) -> None:
            trt.IProgressMonitor.__init__(self)
            self._watch = watch

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:  # noqa: ARG002
            self._guarded(lambda: self._watch.start(phase_name, parent_phase))

        def step_complete(self, phase_name: str, step: int) -> bool:  # noqa: ARG002
            return self._guarded(self._watch.go_on) is True

        def phase_finish(self, phase_name: str) -> None:
            """Nothing is told of a phase's end: the next one's start says it."""

        def _guarded(self, call: Callable[[], Any]) -> Any:
            # TensorRT prints and swallows what is raised in here, Ctrl-C included, so it is kept for the caller.
            try:
                return call()
            except BaseException as error:  # noqa: BLE001
                self._watch.stopped = error
                return None

    return Monitor
