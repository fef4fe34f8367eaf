"""What is opened for a command: a registry and the doers beside it, each from the settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from trtreg.core.trust import Signatures
from trtreg.errors import UsageError
from trtreg.registry import Registry
from trtreg.silence import SILENT
from trtreg.storage.cache import Cache
from trtreg.storage.notes import Notes
from trtreg.wiring.config import Settings, load_settings
from trtreg.wiring.parts import Parts, work_root
from trtreg.wiring.stores import require_writable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trtreg.core.request import Chosen
    from trtreg.finding import Engine
    from trtreg.interfaces import Progress, Workshop
    from trtreg.measuring.benching import Bencher
    from trtreg.measuring.bisecting import Bisector
    from trtreg.measuring.detecting import Viewer
    from trtreg.measuring.evaluating import Evaluator
    from trtreg.models.intake import Intake
    from trtreg.models.sampling import Sampler
    from trtreg.onnx_models.inspection import Inspection
    from trtreg.trust.revoking import Revoker
    from trtreg.upkeep.rebuilding import Rebuilt
    from trtreg.wiring.diagnosis import Diagnosis


def settings(flags: Mapping[str, str | None] | None = None) -> Settings:
    """The settings in force for this process: flags, environment, `trtreg.toml`, defaults."""
    return load_settings(environment=os.environ, folder=_here(), flags=flags or {}, physical_memory=_physical_memory())


def open_registry(
    *,
    settings: Settings,
    progress: Progress = SILENT,
    choose: Callable[..., Chosen] | None = None,
    workshop: Workshop | None = None,
) -> Registry:
    """The registry that these settings name. Nothing is opened before it is needed.

    choose    stands in for `probing.choose` where the machine is not to be asked
    workshop  stands in for child processes
    """
    parts = Parts(settings, progress, choose)
    if workshop is not None:
        parts.workshop = workshop
    return _registry(parts, progress)


def _registry(parts: Parts, progress: Progress) -> Registry:
    return Registry(
        models=parts.models,
        store=parts.store,
        cache=parts.cache,
        finder=parts.finder,
        producer=lambda: parts.producer,
        reviewer=lambda: parts.reviewer,
        prover=lambda: parts.prover,
        plugins=lambda: parts.plugins,
        choose=parts.choose_for,
        measurements=lambda: parts.measurements,
        revocations=parts.revocations,
        progress=progress,
    )


def open_bencher(
    settings: Settings, progress: Progress = SILENT, choose: Callable[..., Chosen] | None = None
) -> Bencher:
    """What measures how fast engines are on this machine; `choose` as in `open_registry`."""
    import socket
    from datetime import UTC, datetime
    from functools import partial

    from trtreg.measuring.benching import Bencher
    from trtreg.probing.machine import cpu_identity

    def processor() -> str:
        identity = cpu_identity()
        return identity.get("model name") or identity["machine"]

    parts = Parts(settings, progress, choose)
    return Bencher(
        models=parts.models,
        reviewer=parts.reviewer,
        maker=parts.maker,
        workshop=parts.workshop,
        plugins=parts.plugins.paths,
        work_folder=parts.work_folder,
        choose=parts.choose,
        measurements=parts.measurements,
        authorise=partial(require_writable, parts.store),
        now=lambda: datetime.now(UTC).isoformat(),
        host=socket.gethostname(),
        processor=processor,
        progress=progress,
    )


def open_viewer(settings: Settings, progress: Progress = SILENT) -> Viewer:
    """What shows what an engine sees."""
    from trtreg.measuring.detecting import Viewer

    parts = Parts(settings, progress, None)
    registry = _registry(parts, progress)
    return Viewer(
        pose=registry.pose,
        get=registry.ask,
        maker=parts.maker,
        workshop=parts.workshop,
        plugins=parts.plugins.paths,
        work_folder=parts.work_folder,
        progress=progress,
    )


def open_evaluator(
    settings: Settings, progress: Progress = SILENT, choose: Callable[..., Chosen] | None = None
) -> Evaluator:
    """What measures what engines are good for on this machine; `choose` as in `open_registry`."""
    from trtreg.measuring.evaluating import Evaluator

    parts = Parts(settings, progress, choose)
    return Evaluator(
        registry=_registry(parts, progress),
        publisher=parts.publisher,
        reviewer=parts.reviewer,
        store=parts.store,
        maker=parts.maker,
        workshop=parts.workshop,
        plugins=parts.plugins.paths,
        work_folder=parts.work_folder,
        choose=parts.choose,
        progress=progress,
    )


def open_intake(settings: Settings, progress: Progress = SILENT) -> Intake:
    """What makes files ready on their way in, and shows what came of them."""
    from trtreg.models.intake import Intake

    parts = Parts(settings, progress, None)
    return Intake(
        models=parts.models,
        store=parts.store,
        workshop=parts.workshop,
        work_folder=parts.work_folder,
        progress=progress,
    )


def open_sampler(settings: Settings, progress: Progress = SILENT) -> Sampler:
    """What adds samples to models."""
    from trtreg.models.sampling import Sampler

    parts = Parts(settings, progress, None)
    return Sampler(
        models=parts.models,
        store=parts.store,
        workshop=parts.workshop,
        work_folder=parts.work_folder,
        progress=progress,
    )


def open_revoker(settings: Settings, progress: Progress) -> Revoker:
    """What withdraws engines. Raises UsageError where signatures are required and there is no key to sign with."""
    parts = Parts(settings, progress, None)
    return parts.revoker


def open_bisector(settings: Settings, progress: Progress = SILENT) -> Bisector:
    """What searches for the nodes that lose an engine's accuracy."""
    from trtreg.measuring.bisecting import Bisector

    parts = Parts(settings, progress, None)
    return Bisector(
        models=parts.models,
        reviewer=parts.reviewer,
        maker=parts.maker,
        workshop=parts.workshop,
        work_folder=parts.work_folder,
        progress=progress,
    )


def rebuild_catalog(*, settings: Settings, progress: Progress = SILENT, adopt: bool | None = None) -> Rebuilt:
    """Make the catalog again from the store.

    adopt  whether models that only the catalog knows are written into the store, or forgotten. None: the first where
           signatures are off; else they are left as they are
    """
    from trtreg.upkeep.rebuilding import Rebuilder

    parts = Parts(settings, progress, None)
    return Rebuilder(
        store=parts.store,
        names=parts.names,
        catalog=parts.catalog,
        is_revoked=lambda key, plan_digest: parts.revocations.why(key, plan_digest) is not None,
        adopt=True if adopt is None and parts.trust.mode is Signatures.OFF else adopt,
        progress=progress,
    ).rebuild()


def open_cache(settings: Settings) -> Cache:
    """The cache alone."""
    return Cache(settings.cache, bound=lambda: settings.cache_size)


def clear_work(settings: Settings) -> None:
    """Remove the folders of builds that were killed, which the next build would remove, too."""
    from trtreg.workshop.folder import remove_abandoned

    remove_abandoned(work_root(settings))


def deliver(engine: Engine, destination: str) -> Path:
    """Copy an engine's plan out of the cache; the path of the file to load."""
    from trtreg.storage.delivery import deliver
    from trtreg.storage.use import in_use

    plan = engine.manifest.plan
    folder = plan.folder_of(engine.path)
    with in_use(folder):
        return deliver(plan, folder, destination)


def inspect_file(path: Path, *, settings: Settings, progress: Progress = SILENT) -> Inspection:
    """What any model or plan file is, from its bytes, read within the limits that a model's reading has."""
    from trtreg.workshop.supervisor import ChildWorkshop

    return ChildWorkshop(settings.limits).inspect(path, progress)


def diagnose(settings: Settings) -> Diagnosis:
    """What works here and what doesn't."""
    from trtreg.wiring.diagnosis import diagnose

    return diagnose(settings, Notes(settings.cache))


def _here() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("the current folder has been removed", hint="change to another one") from None


def _physical_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
