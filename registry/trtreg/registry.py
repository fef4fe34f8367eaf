"""The story of trtreg: get an engine from the cache, from the store, or have it built. On the seams only.

A hit reads this file and `finding`, and little else: what only a miss needs comes in as callables and is made when it
is needed. `producing` is what follows a miss.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtreg.core.builder_settings import BuilderSettings
from trtreg.core.names import parse_model_name
from trtreg.core.recipe import Precision, parse_shape
from trtreg.core.request import Asked, Chosen, Request, pose
from trtreg.errors import Miss, NotFound, TrtregError, UsageError
from trtreg.finding import lacking
from trtreg.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from trtreg.core.engine import EngineRecord
    from trtreg.core.figures import Figures
    from trtreg.core.key import Key
    from trtreg.core.lifecycle import EngineState
    from trtreg.core.manifest import Manifest
    from trtreg.core.target import Target
    from trtreg.core.verdict import GateReport
    from trtreg.finding import Engine, Finder
    from trtreg.interfaces import PlanCache, Progress, Store
    from trtreg.making.plugins import Plugins
    from trtreg.making.producing import Producer
    from trtreg.measurements import Measurements
    from trtreg.models.models import Models
    from trtreg.proving import Prover
    from trtreg.review import Explanation, Reviewer
    from trtreg.trust.revocations import Revocations


@dataclass(frozen=True, slots=True)
class FileUrl:
    """One file of a plan, and where it can be fetched from."""

    name: str
    size: int
    sha256: str
    url: str


class Registry:
    """Engines by model name. `trtreg.open_registry()` makes one from the settings.

    finder       finds engines that have been made
    producer     has them made
    choose       which backend this machine takes for a request
    revocations  what was withdrawn after it had been published
    """

    def __init__(
        self,
        *,
        models: Models,
        store: Store,
        cache: PlanCache,
        finder: Finder,
        producer: Callable[[], Producer],
        reviewer: Callable[[], Reviewer],
        prover: Callable[[], Prover],
        plugins: Callable[[], Plugins],
        choose: Callable[[Request], Chosen],
        measurements: Callable[[], Measurements],
        revocations: Revocations,
        progress: Progress,
    ) -> None:
        self.models, self.progress = models, progress
        self._store, self._cache, self._finder, self._producer = store, cache, finder, producer
        self._reviewer, self._prover, self._plugins = reviewer, prover, plugins
        self._choose, self._measurements, self._revocations = choose, measurements, revocations

    # --- get and build -------------------------------------------------------------------------------------

    def get(
        self,
        name: str,
        *,
        precision: str = "fp32",
        backend: str = "auto",
        shapes: Mapping[str, str] | None = None,
        keep_fp32: Iterable[str] = (),
        keep_io_types: bool = True,
        calibration: str = "",
        builder: BuilderSettings | None = None,
        plugins: Iterable[str | Path] = (),
        target: str = "",
        device: str = "",
        build: bool = True,
        offline: bool = False,
        refresh: bool = False,
        rebuild: bool = False,
        repeat: int = 1,
        retry: bool = False,
        allow_unproven: bool = False,
    ) -> Engine:
        """The engine of a model by name, in the command line's words: `get("yolov5s@prod", precision="fp16")`.

        shapes   by input: `{"images": "1x3x640x640"}` or `MIN:OPT:MAX`
        plugins  files of TensorRT plugin libraries, in the folder that the settings allow
        """
        try:
            request = Request(
                model=parse_model_name(name),
                precision=Precision(precision),
                backend=backend,
                shapes=tuple(parse_shape(f"{tensor}={shape}") for tensor, shape in (shapes or {}).items()),
                keep_fp32=tuple(keep_fp32),
                keep_io_types=keep_io_types,
                calibration=calibration,
                builder=builder or BuilderSettings(),
                plugins=tuple(map(str, plugins)),
                target=target,
                device=device,
            )
        except ValueError as error:
            raise UsageError(str(error)) from None
        engine = self.ask(
            request,
            build=build,
            offline=offline,
            rebuild=rebuild,
            repeat=repeat,
            retry=retry,
            allow_unproven=allow_unproven,
            refresh=refresh,
        )
        if allow_unproven and engine.manifest.gate is None:
            warnings.warn(f"{engine.path} is not proven: it has never run", stacklevel=2)
        return engine

    def ask(
        self,
        request: Request,
        *,
        build: bool = True,
        offline: bool = False,
        refresh: bool = False,
        rebuild: bool = False,
        repeat: int = 1,
        retry: bool = False,
        allow_unproven: bool = False,
    ) -> Engine:
        """The engine that answers `request`: from the cache, from the store, or built, judged and published.

        build           whether a miss may be built; if not, it raises Miss
        offline         answer from this machine alone, by what the name meant when it was last asked for
        refresh         ask the store what the name means now and what was revoked, however fresh its last answer is
        rebuild         build even if there is an engine, and serve the new one if it passes the gate
        repeat          how many times a rebuild builds; the best one that passes the gate is served
        retry           build even if that has failed a short while ago
        allow_unproven  serve a plan that no machine has run yet, if there is no proven one
        """
        _refuse_contradiction(build=build, offline=offline, refresh=refresh, rebuild=rebuild)
        _require_repeatable(repeat, rebuild=rebuild)
        watch = Stopwatch()
        asked = self._pose(request, watch, fresh=refresh or rebuild, offline=offline)
        if refresh:
            self._revocations.refresh()
        if not rebuild and (cached := self._finder.here(asked, watch, offline=offline)):
            return cached
        if offline:
            return self._finder.without_asking(asked, watch, allow_unproven=allow_unproven)
        if self._store.remote and not (refresh or rebuild):
            # The store is going to be asked, anyhow: what is fetched or built is what the name means now.
            asked = self._pose(request, watch, fresh=True)
        with self._sole_maker(asked.key):
            watch.lap("wait")
            while True:
                if not rebuild and (found := self._finder.made(asked, watch, allow_unproven=allow_unproven)):
                    return found
                self._require_leave_to_build(asked, build)
                with self._producer().turn(asked, rebuild=rebuild, retry=retry) as ours:
                    watch.lap("wait")
                    if ours:
                        return self._producer().build_and_serve(
                            asked, watch, rebuild=rebuild, allow_unproven=allow_unproven, repeat=repeat
                        )

    def _require_leave_to_build(self, asked: Asked, build: bool) -> None:
        if not build:
            raise Miss(
                f"no engine of {asked}",
                hint="trtreg explain with the same options says why; without --no-build it is built",
            )

    def build(self, request: Request, *, rebuild: bool = False, repeat: int = 1, retry: bool = False) -> Manifest:
        """The same without fetching: the manifest of the engine that is then in the store."""
        _require_repeatable(repeat, rebuild=rebuild)
        watch = Stopwatch()
        asked = self._pose(request, watch, fresh=True)
        with self._sole_maker(asked.key):
            while True:
                if not rebuild and (there := self._finder.in_store(asked.key)):
                    return there
                with self._producer().turn(asked, rebuild=rebuild, retry=retry) as ours:
                    if ours:
                        return self._producer().build(asked, watch, rebuild=rebuild, repeat=repeat)

    def pose(self, request: Request) -> Asked:
        """What the request comes to on this machine: version, backend, question. Raises NotFound, UsageError."""
        return self._pose(request, Stopwatch())

    def standing(self, asked: Asked) -> Manifest | None:
        """The engine that the store has, published or in quarantine. Raises Revoked, Unreachable, Untrusted."""
        return self._finder.in_store(asked.key)

    def _pose(self, request: Request, watch: Stopwatch, *, fresh: bool = False, offline: bool = False) -> Asked:
        with watch("resolve"):
            version = self.models.find(request.model, fresh=fresh, offline=offline)
        with watch("probe"):
            chosen = self._choose(request)
        if request.plugins:
            request = self._plugins().settle(request, chosen.target.runtime)
        try:
            return Asked(request, version, chosen, pose(request, version, chosen.target))
        except (NotFound, UsageError):
            if fresh or offline or not self._store.remote:
                raise
        # It may have been given the sample meanwhile.
        return self._pose(request, watch, fresh=True)

    def _sole_maker(self, key: Key) -> AbstractContextManager[None]:
        """One process of this machine at a time fetches or builds a key; the others find its work done."""

        def waiting(holder: str) -> None:
            self.progress.say(f"another process is making this engine ({holder}); waiting for it")

        return self._cache.lock(key, waiting)

    def urls(self, request: Request, seconds: float) -> list[FileUrl]:
        """Where anybody can fetch the files of the engine that the store has, the one to load last. Raises Miss, and
        NotFound where the files are lost."""
        asked = self._pose(request, Stopwatch())
        manifest = self._finder.published(asked.key)
        if manifest is None:
            raise Miss(f"the store has no engine of {asked}", hint="trtreg build with the same options makes it")
        plan = manifest.plan
        if gone := [file for file in plan.files if not self._store.has_blob(file)]:
            raise lacking(asked, f"there is no {gone[0].name} ({gone[0].sha256})")
        files = sorted(plan.files, key=lambda file: file.name == plan.entry)
        return [FileUrl(file.name, file.size, file.sha256, self._store.blob_url(file, seconds)) for file in files]

    # --- looking ---------------------------------------------------------------------------------------------

    def explain(self, request: Request) -> Explanation:
        """Whether `request` would hit or miss on this machine, and why. Builds and fetches nothing."""
        return self._reviewer().explain(self._pose(request, Stopwatch()))

    def engines(
        self,
        *,
        state: EngineState | None = None,
        model: str | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> Iterator[EngineRecord]:
        """What the catalog lists, newest first, read page by page; of one model, if its name is given: at most so many,
        of those that come after the one of that number."""
        return self._reviewer().engines(state=state, model=model, after=after, limit=limit)

    def engine(self, key_prefix: str) -> EngineRecord:
        """The engine whose key begins so. Raises NotFound, UsageError."""
        return self._reviewer().engine(key_prefix)

    def why_revoked(self, record: EngineRecord) -> str | None:
        """Why an engine was withdrawn; None if it wasn't."""
        return self._revocations.why(record.manifest.key, record.manifest.plan_digest)

    def figures(self, record: EngineRecord) -> list[Figures]:
        """What was measured of an engine's speed, the newest first. Raises Unreachable."""
        return self._measurements().of(record.manifest.key, record.manifest.plan_digest)

    def build_log(self, key_prefix: str) -> str:
        """What the builder said while it made that engine. Raises NotFound, UsageError."""
        return self._reviewer().build_log(key_prefix)

    def judge_again(self, key_prefix: str, *, device: str = "") -> tuple[EngineRecord, GateReport]:
        """Run the gate again over an engine, on this machine, and let its state follow the verdict."""
        record = self.engine(key_prefix)
        report = self._prover().judge(record, device=device)
        return self.engine(record.manifest.key), report

    def judge_waiting(self, *, device: str = "") -> Iterator[tuple[EngineRecord, GateReport | TrtregError]]:
        """Run the gate over every engine in quarantine that this machine can run; publish those that pass."""
        return self._prover().judge_waiting(device=device)

    # --- for the farm ----------------------------------------------------------------------------------------

    def prove(self, key: Key, *, retry: bool = False) -> GateReport | None:
        """Run the gate over the plan in quarantine for `key`, under its lease; None if another has meanwhile."""
        return self._prover().prove(key, retry=retry)

    def lacking(self, key: Key) -> Target | None:
        """The machine that the plan in quarantine for `key` waits for; None if nothing waits."""
        return self._prover().lacking(key)

    def waiting(self) -> Iterator[Manifest]:
        """What waits in quarantine and this machine could prove."""
        return self._prover().waiting()


def _require_repeatable(repeat: int, *, rebuild: bool) -> None:
    if repeat < 1:
        raise UsageError(f"it can't be built {repeat} times")
    if repeat > 1 and not rebuild:
        raise UsageError("--repeat is for --rebuild: what is there already is built again to see how far builds differ")


def _refuse_contradiction(*, build: bool, offline: bool, refresh: bool, rebuild: bool) -> None:
    if rebuild and (offline or not build):
        raise UsageError("--rebuild contradicts --offline and --no-build")
    if refresh and offline:
        raise UsageError("--refresh contradicts --offline")
