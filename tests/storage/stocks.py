"""A store with models and engines in it, for what prunes, verifies and copies. Also used by child processes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from storage.samples import stored
from trtreg.core.benchmark import Copies, Latencies
from trtreg.core.figures import Figures
from trtreg.core.files import file_set
from trtreg.core.key import Question
from trtreg.core.layout import RECORD_LIMIT
from trtreg.core.lifecycle import EngineState
from trtreg.core.manifest import Manifest, Provenance
from trtreg.core.model import ModelFacts
from trtreg.core.recipe import Recipe
from trtreg.core.signature import Signature
from trtreg.core.target import Target
from trtreg.interfaces import Store
from trtreg.models.naming import Names
from trtreg.publishing import Publisher
from trtreg.storage.directory import DirectoryStore
from trtreg.testing import MemoryCatalog, SilentProgress

DAY = 86400.0
NOW = 1_900_000_000.0


def manifest_of(
    content: bytes, *, model_digest: str = "ab" * 32, device: str = "", days: float = 100.0, log: bytes = b""
) -> Manifest:
    """An engine whose plan is `content`, built so many days ago."""
    target = Target(
        runtime="onnxruntime", runtime_version="1.22.0", architecture="x86_64", platform="linux-x86_64", device=device
    )
    question = Question(model_digest, Recipe(), target)
    built_at = datetime.fromtimestamp(NOW - days * DAY, UTC).isoformat()
    return Manifest(
        key=question.key,
        model_digest=question.model_digest,
        recipe=question.recipe,
        target=question.target,
        rewritten_digest="cd" * 32,
        plan=file_set([stored("plan", content)], "plan"),
        gate=None,
        provenance=Provenance(
            model="tiny@1",
            built_at=built_at,
            host="here",
            seconds={},
            versions={},
            log=stored("build.log", log) if log else None,
        ),
    )


def publisher(store: Store) -> Publisher:
    return Publisher(store=store, catalog=MemoryCatalog, forget=lambda _: None)


def put(store: Store, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "blob")
        path.write_bytes(content)
        store.put_blob(path, stored("blob", content), SilentProgress())


def publish(
    store: Store, content: bytes, *, replace: bool = False, state: EngineState = EngineState.PUBLISHED, **more: object
) -> Manifest:
    """An engine in the store, in that state."""
    manifest = manifest_of(content, **more)  # type: ignore[arg-type]
    if more.get("log"):
        put(store, more["log"])  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "plan").write_bytes(content)
        if state is EngineState.REJECTED:
            publisher(store).reject(manifest, Path(folder), SilentProgress())
        elif state is EngineState.UNPROVEN:
            publisher(store).quarantine(manifest, Path(folder), SilentProgress())
        else:
            publisher(store).publish(manifest, Path(folder), SilentProgress(), replace=replace)
    return manifest


def add_model(store: Store, name: str, source: bytes, *, digest: str = "ab" * 32, alias: str = "") -> None:
    """A version of a model whose file is `source`."""
    put(store, source)
    facts = ModelFacts(
        digest=digest,
        source=file_set([stored("model.onnx", source)], "model.onnx"),
        signature=Signature((), ()),
        opset=17,
        precision="fp32",
        operators={},
        parameters=0,
    )
    add: Callable[..., object] = lambda model: model.add_version(  # noqa: E731
        facts, added_at="2030-01-01T00:00:00+00:00", aliases=[alias] if alias else []
    )
    Names(store).change(name, add)  # type: ignore[arg-type]


def measured(manifest: Manifest, *, host: str = "builder", minute: int = 0) -> Figures:
    """How fast it was once."""
    run = Latencies(p50=2.0, p90=3.0, p99=4.0, least=1.0, mean=2.0, per_second=500.0)
    return Figures(
        key=manifest.key,
        plan_digest=manifest.plan_digest,
        measured_at=datetime(2030, 1, 1, 0, minute, 0, 1, UTC).isoformat(),
        host=host,
        processor="a fast one",
        run=run,
        original=replace(run, p50=8.0),
        copies=Copies.NONE,
        resident=None,
        inputs="drawn",
        rounds=1,
        warm_up=0,
        threads=2,
        versions={"onnxruntime": "1.32.0"},
    )


def other_host(manifest: Manifest) -> Manifest:
    return replace(manifest, provenance=replace(manifest.provenance, host="there"))


def with_something_too_large(folder: Path) -> DirectoryStore:
    """A store with a model, its engine, and a file among the manifests that is larger than any record."""
    store = DirectoryStore(folder / "store")
    add_model(store, "tiny", b"source", alias="prod")
    publish(store, b"plan")
    large = folder / "store" / "manifests" / ("0" * 64) / f"{'1' * 64}.json"
    large.parent.mkdir()
    with large.open("wb") as file:
        file.truncate(RECORD_LIMIT + 1)
    return store
