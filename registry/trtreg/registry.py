"""The story of trtreg: get an engine from the cache, from the store, or have it built. On the seams only.

A hit reads this file and little else: what only a miss needs comes in as callables and is made when it is needed.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from trtreg.core.builder_settings import BuilderSettings
from trtreg.core.names import parse_model_name
from trtreg.core.recipe import Precision, parse_shape
from trtreg.core.request import Asked, Chosen, Request, pose
from trtreg.errors import Miss, NotFound, Rejected, Revoked, TrtregError, Unproven, Untrusted, UsageError
from trtreg.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from trtreg.core.engine import CachedEngine, EngineRecord
    from trtreg.core.files import StoredFile
    from trtreg.core.key import Key
    from trtreg.core.lifecycle import EngineState
    from trtreg.core.manifest import Manifest
    from trtreg.core.trust import Trust
    from trtreg.core.verdict import GateReport
    from trtreg.interfaces import PlanCache, Progress, Session, Store
    from trtreg.leasing import Turns
    from trtreg.making import Made, Maker
    from trtreg.models import Models
    from trtreg.plugins import Plugins
    from trtreg.proving import Prover
    from trtreg.publishing import Publisher
    from trtreg.review import Explanation, Reviewer
    from trtreg.revocations import Revocations

_WORTH_SAYING = 5.0
"""Seconds of an expected build. Who waits for less needn't be told."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A validated engine on this machine.

    path     the plan's file to load; its neighbours lie beside it
    source   `cache`, `store` or `built`
    seconds  what each stage of this request took
    """

    key: Key
    path: Path
    source: str
    seconds: Mapping[str, float]
    manifest_json: str = field(repr=False)
    opener: Callable[[Manifest, Path], Session] = field(repr=False)

    @cached_property
    def manifest(self) -> Manifest:
        """The engine's record: its key's fields, its plan, its gate report, its provenance."""
        from trtreg.core.manifest import read_manifest

        return read_manifest(self.manifest_json)

    def load(self) -> Session:
        """The plan in its runtime: `session.run({"images": array})` gives the outputs by name."""
        return self.opener(self.manifest, self.path)


@dataclass(frozen=True, slots=True)
class FileUrl:
    """One file of a plan, and where it can be fetched from."""

    name: str
    size: int
    sha256: str
    url: str


class Registry:
    """Engines by model name. `trtreg.open_registry()` makes one from the settings.

    unproven     where plans from quarantine are kept on this machine, apart from those that are served
    work_folder  a context of an empty folder for one build, on the cache's file system
    prepare      makes ready what publishing needs
    turns        whose turn it is to build, among all machines
    choose       which backend this machine takes for a request
    opener       loads an engine's plan
    revocations  what was withdrawn after it had been published
    trust        whose records are believed, and what of this machine's cache was brought in under that
    """

    def __init__(
        self,
        *,
        models: Models,
        store: Store,
        cache: PlanCache,
        unproven: PlanCache,
        publisher: Callable[[], Publisher],
        maker: Callable[[], Maker],
        reviewer: Callable[[], Reviewer],
        prover: Callable[[], Prover],
        prepare: Callable[[], object],
        plugins: Callable[[], Plugins],
        work_folder: Callable[[], AbstractContextManager[Path]],
        turns: Turns,
        choose: Callable[[Request], Chosen],
        opener: Callable[[Manifest, Path], Session],
        trust: Trust,
        revocations: Revocations,
        progress: Progress,
    ) -> None:
        self.models, self.progress = models, progress
        self._store, self._cache, self._unproven = store, cache, unproven
        self._publisher, self._maker, self._reviewer = publisher, maker, reviewer
        self._prover, self._prepare, self._plugins = prover, prepare, plugins
        self._work_folder, self._turns, self._choose, self._opener = work_folder, turns, choose, opener
        self._trust, self._revocations = trust, revocations

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
        retry: bool = False,
        allow_unproven: bool = False,
    ) -> Engine:
        """The engine that answers `request`: from the cache, from the store, or built, judged and published.

        build           whether a miss may be built; if not, it raises Miss
        offline         answer from this machine alone, by what the name meant when it was last asked for
        refresh         ask the store what the name means now and what was revoked, however fresh its last answer is
        rebuild         build even if there is an engine, and serve the new one if it passes the gate
        retry           build even if that has failed a short while ago
        allow_unproven  serve a plan that no machine has run yet, if there is no proven one
        """
        _refuse_contradiction(build=build, offline=offline, refresh=refresh, rebuild=rebuild)
        watch = Stopwatch()
        asked = self._pose(request, watch, fresh=refresh or rebuild, offline=offline)
        if refresh:
            self._revocations.refresh()
        if not rebuild:
            with watch("cache"):
                cached = self._find_here(self._cache, asked, offline=offline)
            if cached:
                return self._engine(asked.key, cached, "cache", watch)
        if offline:
            return self._without_asking(asked, watch, allow_unproven=allow_unproven)
        if self._store.remote and not (refresh or rebuild):
            # The store is going to be asked, anyhow: what is fetched or built is what the name means now.
            asked = self._pose(request, watch, fresh=True)
        with self._sole_maker(asked.key):
            watch.lap("wait")
            while True:
                if not rebuild and (found := self._found(asked, watch, allow_unproven=allow_unproven)):
                    return found
                self._require_leave_to_build(asked, build)
                with self._turn(asked, rebuild=rebuild, retry=retry) as ours:
                    watch.lap("wait")
                    if ours:
                        return self._build_and_admit(asked, watch, rebuild=rebuild, allow_unproven=allow_unproven)

    def _require_leave_to_build(self, asked: Asked, build: bool) -> None:
        if not build:
            raise Miss(
                f"no engine of {asked}",
                hint="trtreg explain with the same options says why; without --no-build it is built",
            )

    def _without_asking(self, asked: Asked, watch: Stopwatch, *, allow_unproven: bool) -> Engine:
        """What is left to those who are offline and find no proven engine in the cache that was made for just this.
        Raises Miss, Untrusted."""
        for other in asked.substitutes():
            with suppress(Revoked):
                if cached := self._find_here(self._cache, other, offline=True):
                    return self._engine(other.key, cached, "cache", watch)
        if allow_unproven and (kept := self._find_here(self._unproven, asked, offline=True)):
            return self._engine(asked.key, kept, "cache", watch)
        if self._cache.find(asked.key) or (allow_unproven and self._unproven.find(asked.key)):
            raise Untrusted(
                f"{asked} is in this machine's cache, but was verified under other trusted keys, or none",
                hint="without --offline it is verified again, and not fetched again",
            )
        raise Miss(
            f"{asked} is not in this machine's cache",
            hint="without --offline it is fetched from the store or built",
        )

    def build(self, request: Request, *, rebuild: bool = False, retry: bool = False) -> Manifest:
        """The same without fetching: the manifest of the engine that is then in the store."""
        watch = Stopwatch()
        asked = self._pose(request, watch, fresh=True)
        with self._sole_maker(asked.key):
            while True:
                if not rebuild and (there := self._in_store(asked.key)):
                    return there
                with self._turn(asked, rebuild=rebuild, retry=retry) as ours:
                    if ours:
                        return self._build(asked, watch, rebuild=rebuild)

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

    def _turn(self, asked: Asked, *, rebuild: bool, retry: bool) -> AbstractContextManager[bool]:
        """The same among all machines: whether it is ours to build; if not, another has built it meanwhile."""

        def made() -> bool:
            return not rebuild and self._in_store(asked.key) is not None

        return self._turns.only(asked.key, made=made, retry=retry or rebuild)

    def _in_store(self, key: Key) -> Manifest | None:
        return self._publisher().find(key) or self._publisher().find_unproven(key)

    def _found(self, asked: Asked, watch: Stopwatch, *, allow_unproven: bool) -> Engine | None:
        """The engine, if it has been made. Raises Unproven for one from quarantine that isn't allowed."""
        if found := self._bring(asked, watch) or self._bring_substitute(asked, watch):
            return found
        if waiting := self._publisher().find_unproven(asked.key):
            return self._serve_unproven(asked, waiting, self._fetch_blob, "store", watch, allowed=allow_unproven)
        return None

    def _bring(self, asked: Asked, watch: Stopwatch) -> Engine | None:
        """The engine, if another process has brought it meanwhile, or if the store has it."""
        if cached := self._find_here(self._cache, asked):
            return self._engine(asked.key, cached, "cache", watch)
        with watch("fetch"):
            manifest = self._publisher().find(asked.key)
            if manifest is None:
                return None
            self.progress.stage("fetch", f"{manifest.plan.size / 1e6:.1f} MB")
            try:
                engine = self._cache.admit(manifest, self._fetch_blob)
            except NotFound:
                # It may have been pruned or rejected since its manifest was read: then it is a miss like any other.
                if self._publisher().find(asked.key) == manifest:
                    raise
                return None
            self._publisher().list_published(manifest)
        return self._engine(asked.key, engine, "store", watch)

    def _bring_unless_revoked(self, asked: Asked, watch: Stopwatch) -> Engine | None:
        try:
            return self._bring(asked, watch)
        except Revoked:
            return None

    def _bring_substitute(self, asked: Asked, watch: Stopwatch) -> Engine | None:
        """An engine that runs in more places than was asked for, and was proven on a machine like this one."""
        for other in asked.substitutes():
            if found := self._bring_unless_revoked(other, watch):
                self.progress.say(f"served by a compatible engine, which was proven here: {other.request.wish}")
                return found
        return None

    def _find_here(self, cache: PlanCache, asked: Asked, *, offline: bool = False) -> CachedEngine | None:
        """The engine, if this machine has it, verified it under the trust that is in force now, and knows of no
        revocation. Raises Revoked if nobody else is to be asked.

        One that came in under another trust is looked up in the store again, and verified; its files, if they are
        whole, aren't fetched once more. In the place of a revoked one the store may have another by now.
        """
        cached = cache.find(asked.key)
        if cached is None or not self._trust.accepts(cached.policy):
            return None
        why = self._revocations.why(asked.key, cached.plan_digest, offline=offline)
        if why and offline:
            from trtreg.publishing import revoked

            raise revoked(asked.key, cached.plan_digest, str(asked.version), why)
        return None if why else cached

    def _fetch_blob(self, file: StoredFile, destination: Path) -> None:
        self._store.fetch_blob(file, destination, self.progress)

    def _build(self, asked: Asked, watch: Stopwatch, *, rebuild: bool) -> Manifest:
        self._refuse_if_rejected_before(asked, rebuild=rebuild)
        with self._work_folder() as folder:
            made = self._make(asked, folder, watch, rebuild=rebuild)
            if rebuild:
                self._cache.forget(asked.key)
            return self._settle(made, replace=rebuild)

    def _make(self, asked: Asked, folder: Path, watch: Stopwatch, *, rebuild: bool) -> Made:
        with self._turns.on_gpu(asked.chosen.gpu):
            watch.lap("wait")
            return self._maker().make(asked.version, asked.chosen, asked.question, folder, watch, afresh=rebuild)

    def _build_and_admit(self, asked: Asked, watch: Stopwatch, *, rebuild: bool, allow_unproven: bool) -> Engine:
        self._refuse_if_rejected_before(asked, rebuild=rebuild)
        self.progress.say(f"building {asked} ({asked.chosen.why})")
        self._prepare_meanwhile(asked)
        with self._work_folder() as folder:
            made = self._make(asked, folder, watch, rebuild=rebuild)
            with watch("publish"):
                served = self._settle(made, replace=rebuild)
            if served.gate is None:
                if found := self._bring_unless_revoked(asked, watch):
                    self.progress.say("the new plan waits to be proven; the engine that there is goes on being served")
                    return found
                return self._serve_unproven(asked, served, made.hand_over, "built", watch, allowed=allow_unproven)
            with watch("admit"):
                ours = served.plan_digest == made.manifest.plan_digest
                engine = self._cache.admit(served, made.hand_over if ours else self._fetch_blob)
        return self._engine(served.key, engine, "built", watch)

    def _settle(self, made: Made, *, replace: bool) -> Manifest:
        """Publish what passed the gate, quarantine what nobody could run; the engine that is then in force."""
        manifest = made.manifest
        if manifest.gate is None:
            manifest = self._publisher().quarantine(manifest, made.folder, self.progress)
        if manifest.gate is None:
            return manifest
        return self._publisher().publish(manifest, made.folder, self.progress, replace=replace)

    def _prepare_meanwhile(self, asked: Asked) -> None:
        """Import what publishing needs while the child works: it takes a quarter of a second. It also knows how long
        like builds took."""
        from threading import Thread

        def prepare() -> None:
            # What is wrong will be said where it is needed.
            with suppress(TrtregError):
                self._prepare()
                expected = self._reviewer().expected_seconds(asked)
                if expected and expected > _WORTH_SAYING:
                    self.progress.say(f"by history it takes about {expected:.0f} s")

        Thread(target=prepare, daemon=True).start()

    def _serve_unproven(
        self,
        asked: Asked,
        manifest: Manifest,
        fetch: Callable[[StoredFile, Path], None],
        source: str,
        watch: Stopwatch,
        *,
        allowed: bool,
    ) -> Engine:
        """A plan from quarantine, for those who take the risk; it stays out of the cache that serves the others."""
        target = manifest.target
        needed = (
            f"a machine with {target.architecture.replace(',', ' or ')} and {target.runtime} {target.runtime_version}"
        )
        if not allowed:
            raise Unproven(
                f"{asked} is built, but not proven: it waits for {needed} that runs: trtreg gate {asked.key[:12]}",
                hint="--allow-unproven serves it all the same",
            )
        self.progress.say(f"warning: this engine is not proven: it has never run, and waits for {needed}")
        with watch("admit"):
            engine = self._unproven.admit(manifest, fetch)
        return self._engine(asked.key, engine, source, watch)

    def _refuse_if_rejected_before(self, asked: Asked, *, rebuild: bool) -> None:
        """A rejected plan is not built again for nothing: the same recipe would fail on the same numbers."""
        report = None if rebuild else self._reviewer().rejection(asked)
        if report is not None:
            raise Rejected(
                f"the gate has rejected {asked.version} ({asked.request.wish}) before: {report.reasons[0]}",
                hint=f"trtreg show {asked.key[:12]} has the report; --rebuild tries again",
            )

    def _engine(self, key: Key, cached: CachedEngine, source: str, watch: Stopwatch) -> Engine:
        return Engine(
            key=key,
            path=cached.path,
            source=source,
            seconds=watch.seconds(),
            manifest_json=cached.manifest_json,
            opener=self._opener,
        )

    def urls(self, request: Request, seconds: float) -> list[FileUrl]:
        """Where anybody can fetch the files of the engine that the store has, the one to load last. Raises Miss."""
        asked = self._pose(request, Stopwatch())
        manifest = self._publisher().find(asked.key)
        if manifest is None:
            raise Miss(f"the store has no engine of {asked}", hint="trtreg build with the same options makes it")
        plan = manifest.plan
        files = sorted(plan.files, key=lambda file: file.name == plan.entry)
        return [FileUrl(file.name, file.size, file.sha256, self._store.blob_url(file, seconds)) for file in files]

    # --- looking ---------------------------------------------------------------------------------------------

    def explain(self, request: Request) -> Explanation:
        """Whether `request` would hit or miss on this machine, and why. Builds and fetches nothing."""
        return self._reviewer().explain(self._pose(request, Stopwatch()))

    def engines(self, *, state: EngineState | None = None, model: str | None = None) -> list[EngineRecord]:
        """What the catalog lists, newest first; of one model, if its name is given."""
        return self._reviewer().engines(state=state, model=model)

    def engine(self, key_prefix: str) -> EngineRecord:
        """The engine whose key begins so. Raises NotFound, UsageError."""
        return self._reviewer().engine(key_prefix)

    def why_revoked(self, record: EngineRecord) -> str | None:
        """Why an engine was withdrawn; None if it wasn't."""
        return self._revocations.why(record.manifest.key, record.manifest.plan_digest)

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


def _refuse_contradiction(*, build: bool, offline: bool, refresh: bool, rebuild: bool) -> None:
    if rebuild and (offline or not build):
        raise UsageError("--rebuild contradicts --offline and --no-build")
    if refresh and offline:
        raise UsageError("--refresh contradicts --offline")
