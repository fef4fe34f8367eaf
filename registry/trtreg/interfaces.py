"""The seams of trtreg, on one page: what the registry's story stands on, and who stands behind each.

The store is the truth; the catalog is an index of it, which can be made again.

    seam        embedded default             elsewhere
    Catalog     catalog.sql over SQLite      the same over PostgreSQL
    Leases      catalog.leases over SQLite   the same over PostgreSQL
    Builds      -                            catalog.builds over PostgreSQL
    Bell        -                            farm.bell (Celery on RabbitMQ)
    Store       storage.directory            storage.s3
    PlanCache   storage.cache                -
    Notes       storage.notes                -
    Workshop    workshop (a child process)   farm
    Backend     backends.onnxruntime         backends.tensorrt
    Session     the same                     the same

All raise errors of `trtreg.errors`; absence is None or False, failure an exception.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trtreg.core.benchmark import BenchOrder, BenchReport
    from trtreg.core.bisection import Bisection
    from trtreg.core.build import BuildRecord, BuildState, Wish
    from trtreg.core.detection import DetectOrder, DetectReport
    from trtreg.core.engine import CachedEngine, EngineRecord
    from trtreg.core.evaluation import EvalOrder, Measured
    from trtreg.core.files import StoredBlob, StoredFile
    from trtreg.core.key import Key
    from trtreg.core.lease import Failure, Holder, Lease, Owner, Pulse
    from trtreg.core.lifecycle import EngineState
    from trtreg.core.manifest import Manifest
    from trtreg.core.model import Model, ModelFacts, ModelVersion
    from trtreg.core.outline import Outline
    from trtreg.core.preparation import Prepared, PrepareOrder
    from trtreg.core.recipe import Recipe
    from trtreg.core.signature import Signature
    from trtreg.core.target import Target
    from trtreg.core.verdict import GateReport
    from trtreg.core.work import Built, Packed, PackOrder, WorkOrder
    from trtreg.errors import TrtregError

    Tensor = NDArray[np.generic]


class Progress(Protocol):
    """Told what goes on; shows it or doesn't. Never raises."""

    def stage(self, name: str, detail: str = "") -> None:
        """A stage begins: `examine`, `begin`, `rewrite`, `build`, `refit`, `gate`, `publish`, `fetch`, `wait`,
        `detect`."""

    def advance(self, done: int, total: int) -> None:
        """`done` of `total` units (bytes, cases) of the current stage are through."""

    def say(self, line: str) -> None:
        """One line for a person, worth showing even without a terminal."""


# --- names and engines -------------------------------------------------------------------------------------


class Catalog(Protocol):
    """An index of what the store has, to list and to search: models with all that belongs to them, and engines."""

    def index_model(self, model: Model) -> None:
        """Let what is listed of this name be `model`, whatever it was."""
        ...

    def forget_model(self, name: str) -> None:
        """Absence is no error."""
        ...

    def revisions(self) -> Mapping[str, int]:
        """Which revision of each model is listed, by name; 0 is one that was never in a store."""
        ...

    def model(self, name: str) -> Model | None:
        """What is listed of that name."""
        ...

    def models(self, *, after: str = "", limit: int | None = None) -> list[Model]:
        """What is listed, by name: at most so many, of those whose names come after that one."""
        ...

    def versions(self, *, digest: str | None = None) -> list[ModelVersion]:
        """All versions of all models, by name and number; those of one content, if its digest is given."""
        ...

    def record_engine(self, manifest: Manifest, state: EngineState, *, bless: bool, lease: Lease | None = None) -> None:
        """Insert the engine (key and plan digest) or move it to `state`; with `bless`, make it the one of its key
        that is served. The manifest recorded last is kept: it has the newest report. Raises UsageError for a step that
        `core.lifecycle` forbids. With a `lease`, nothing is recorded unless it is held still: raises LeaseLost."""
        ...

    def restore_engine(self, manifest: Manifest, state: EngineState, *, bless: bool) -> None:
        """Let what is listed of the engine be this, whatever it was: the store says so."""
        ...

    def plans(self) -> list[tuple[Key, str]]:
        """Key and plan digest of every engine that is listed; those that `engines` doesn't show are among them."""
        ...

    def forget_engine(self, key: Key, plan_digest: str) -> None:
        """Absence is no error."""
        ...

    def engines(
        self,
        *,
        key_prefix: str = "",
        model_digests: Collection[str] | None = None,
        state: EngineState | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> list[EngineRecord]:
        """Engines, newest first: at most so many, of those that come after the one of that `number`. Whoever gives the
        last one's number gets the next page, whatever came and went in between."""
        ...


class Leases(Protocol):
    """Who makes what, across all machines that share a catalog, and why nobody does. By the database's clock."""

    def claim(self, subject: str, owner: Owner, *, seconds: float, retry: bool = False) -> Lease | Holder | Failure:
        """The lease of `subject` for so long, if it is free: never held, released, expired, or held from the owner's
        own `place`. Else who has it; or why it failed, as long as that is remembered: `retry` forgets it first."""
        ...

    def renew(self, lease: Lease, *, seconds: float, phase: str = "") -> Pulse:
        """A sign of life: the lease ends so many seconds from now. One that has expired comes back to life unless
        another owner has had it since."""
        ...

    def release(self, lease: Lease, error: TrtregError | None = None, *, allowed: float = 0.0) -> None:
        """Let others have it. An `error` is remembered for as long as `core.lease` says, with what it was `allowed`
        to take. Nothing happens to a lease that is lost."""
        ...

    def look(self, subject: str) -> Holder | Failure | None:
        """Who makes it now, else why it failed, else None."""
        ...

    def require(self, lease: Lease) -> None:
        """Raises LeaseLost if another owner has had it since."""
        ...

    def cancel(self, subject: str) -> bool:
        """Ask its holder to end the build; whether there is one. The next sign of life tells it."""
        ...

    def live(self) -> list[Holder]:
        """All leases that are held now, by subject: what they are about to publish isn't to be pruned."""
        ...


class Builds(Protocol):
    """What was asked of the farm, builds and proofs, and what became of it. Who may build is the lease's business."""

    def want(self, wish: Wish) -> tuple[BuildRecord, bool]:
        """The build or proof of that key, and whether it is new: one that is wanted or runs already is joined."""
        ...

    def build(self, number: str) -> BuildRecord | None: ...

    def builds(
        self, *, prefix: str = "", live: bool = False, key: Key | None = None, after: str = "", limit: int | None = None
    ) -> list[BuildRecord]:
        """Newest first: at most so many, of those whose ids begin so, and that come after the build of the id `after`;
        with `live`, those that haven't ended; those of one `key`, if it is given."""
        ...

    def begin(self, number: str, worker: str) -> bool:
        """A worker has its lease; whether the build is wanted still."""
        ...

    def tell(self, number: str, *, phase: str, line: str) -> None:
        """What it does now, and a line of its log, if there is one."""
        ...

    def end(self, number: str, state: BuildState, error: TrtregError | None = None, *, worker: str = "") -> bool:
        """What became of it, if nobody but this `worker` works on it; whether that counts. The first end does."""
        ...

    def due(self) -> list[BuildRecord]:
        """What nobody builds, though it is wanted: its message was sent long ago, or its worker's lease has expired.
        They count as sent now. What has cost too many workers their lives has failed."""
        ...


class Bell(Protocol):
    """Wakes the workers. A message that is lost, late or doubled does no harm."""

    def ring(self, build: BuildRecord) -> None:
        """Raises Unreachable."""
        ...

    def is_served(self, queue: str) -> bool:
        """Whether a worker takes what waits there, now or when it has a free hand. Raises Unreachable."""
        ...


# --- bytes -------------------------------------------------------------------------------------------------


class Store(Protocol):
    """Blobs by content and small records by name. `core.layout` makes the names.

    location    the place, as a person names it
    identities  the places that it consists of, without how they are asked: what mustn't be forgotten about a place is
                noted under these
    remote      whether asking costs a round trip over a network: then answers are worth remembering
    """

    location: str
    identities: tuple[str, ...]
    remote: bool

    @property
    def is_partial(self) -> bool:
        """Whether some of its places didn't answer when they were last asked: what is listed may lack something."""
        ...

    def has_blob(self, file: StoredFile) -> bool:
        """Whether the bytes are there, by name and size; nothing is hashed."""
        ...

    def put_blob(self, source: Path, file: StoredFile, progress: Progress, *, heal: bool = False) -> None:
        """Store the bytes of `source` under their digest unless they are there; with `heal`, what is there is
        hashed first, and replaced if it is damaged. Bytes that aren't `file`'s are Untrusted and leave nothing
        behind. After a return, they survive a crash.

        What is there since more than `core.files.REFRESHED_AFTER` is as good as new afterwards: whoever prunes spares
        new blobs, and this writer's record may come any moment."""
        ...

    def fetch_blob(self, file: StoredFile, destination: Path, progress: Progress) -> None:
        """Write the blob to `destination`, hashed while it streams; the name appears only once it is whole and
        right. Raises NotFound, Untrusted, Unreachable."""
        ...

    def remove_blob(self, sha256: str, *, untouched_since: float = math.inf) -> bool:
        """Remove it, unless it was put at that time or later (seconds since 1970); whether it is gone. Raises
        UsageError for what is no SHA-256."""
        ...

    def blobs(self) -> Iterator[StoredBlob]:
        """What is there, by SHA-256."""
        ...

    def blob_url(self, file: StoredFile, seconds: float) -> str:
        """Where anybody can fetch the bytes from for so long, without asking whether they are there."""
        ...

    def sweep(self, older_than_seconds: float) -> int:
        """Remove what crashed writers left, if nobody has written to it for so long. Returns how many there were."""
        ...

    def read_record(self, name: str) -> bytes | None: ...

    def insert_record(self, name: str, content: bytes) -> bool:
        """Write it unless the name is taken; the first writer wins. Returns whether it was this one."""
        ...

    def replace_record(self, name: str, content: bytes) -> None: ...

    def delete_record(self, name: str) -> None:
        """Absence is no error."""
        ...

    def record_stamp(self, name: str) -> str:
        """What is another as soon as the record is another, be it in a store that was made anew in this place. It costs
        no reading: empty for a record that isn't there, and where it would take a round trip over a network."""
        ...

    def record_names(self, prefix: str) -> Iterator[str]:
        """The names that begin with `prefix`, sorted."""
        ...


class PlanCache(Protocol):
    """This machine's copies of plans. What is in it was verified when it came in."""

    def find(self, key: Key) -> CachedEngine | None:
        """The engine, if all its files are there with their sizes; nothing is hashed."""
        ...

    def admit(self, manifest: Manifest, fetch: Callable[[StoredFile, Path], None]) -> CachedEngine:
        """Bring the plan's files in through `fetch`, verify them, and make them visible at once and whole."""
        ...

    def forget(self, key: Key) -> None: ...

    def lock(self, key: Key, on_wait: Callable[[str], None]) -> AbstractContextManager[None]:
        """Only one process of this machine at a time; `on_wait` is told who holds it, once, if it must wait.
        The lock goes with the process that held it, however that ends."""
        ...


class Notes(Protocol):
    """What this machine remembers in order not to ask again. A note may vanish or be foreign: never rely on one."""

    def recall(self, kind: str, subject: str) -> dict[str, object] | None:
        """What was remembered of `subject`; None where nothing is, or nothing readable."""
        ...

    def remember(self, kind: str, subject: str, value: Mapping[str, object]) -> None:
        """Replace what is remembered of `subject` by `value`, of which JSON can hold all. A note that can't be
        written is no error."""
        ...


# --- making engines ----------------------------------------------------------------------------------------


class Workshop(Protocol):
    """Reads models, builds plans and runs the gate: all that opens untrusted files or may crash."""

    def examine(self, model: Path, progress: Progress) -> ModelFacts:
        """Raises UnusableModel."""
        ...

    def count_cases(self, sample: Path, signature: Signature, progress: Progress) -> int:
        """How many runs the sample holds. Raises UsageError for inputs that the model doesn't take."""
        ...

    def pack(self, order: PackOrder, progress: Progress) -> Packed:
        """Make a sample of pictures. Raises NotFound, UsageError for what can't be read or doesn't fit the model."""
        ...

    def outline(self, model: Path, progress: Progress) -> Outline:
        """What its graph looks like. Raises NotFound, UsageError, UnusableModel."""
        ...

    def prepare(self, order: PrepareOrder, progress: Progress) -> Prepared:
        """Make a file ready to become a version. Raises NotFound, UsageError, UnusableModel."""
        ...

    def build(self, order: WorkOrder, progress: Progress) -> Built:
        """Rewrite, build and gate. A rejected plan is returned, its report says so. Raises BuildFailed."""
        ...

    def graph(self, order: WorkOrder, progress: Progress) -> str:
        """The digest of the rewritten model without its weights, which a fine-tune shares."""
        ...

    def gate(self, order: WorkOrder, plan: Path, progress: Progress) -> GateReport:
        """Judge a plan that is there already: `plan` is the file to load."""
        ...

    def bisect(self, order: WorkOrder, most_tests: int, progress: Progress) -> Bisection:
        """Search for the nodes that the order's recipe must keep in fp32, with at most so many tries. No plan is
        built."""
        ...

    def bench(self, order: BenchOrder, progress: Progress) -> BenchReport:
        """Measure how fast plans are beside ONNX Runtime's run of the original, in turn in one process."""
        ...

    def detect(self, order: DetectOrder, progress: Progress) -> DetectReport:
        """Have a plan look at pictures and videos, and write them with boxes."""
        ...

    def evaluate(self, order: EvalOrder, progress: Progress) -> Measured:
        """Measure on all of a sample what plans are good for, in the same way."""
        ...


class Session(Protocol):
    """A loaded plan."""

    signature: Signature

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by name. Raises UsageError for inputs that the plan doesn't take."""
        ...


@runtime_checkable
class ResidentSession(Protocol):
    """A Session that can also run without copies between host and device."""

    def resident(self, inputs: Mapping[str, Tensor]) -> Callable[[], None]:
        """A run on these inputs, which lie where the plan computes; so do its outputs. It returns when it is done,
        and is valid until the session's next `run`."""
        ...


class Backend(Protocol):
    """What turns ONNX into a plan and runs it. Used inside the workshop and by `Engine.load`."""

    name: str

    def build(self, model: Path, recipe: Recipe, target: Target, folder: Path) -> str:
        """Write the plan of the rewritten `model` into the empty `folder`; the name of the file to load.
        Raises BuildFailed, UnusableModel."""
        ...

    def refit(self, source: Path, model: Path, folder: Path, *, weights: Collection[str]) -> str:
        """Write the plan `source`, with the weights of the rewritten `model` in place of what it has, into the empty
        `folder`; the name of the file to load. The model must have the graph that the source was built from.

        weights  those of the model's that the source may have from another model: each must be replaced

        Raises BuildFailed, also where plans of this backend can't be refitted.
        """
        ...

    def load(self, plan: Path) -> Session:
        """Raises Untrusted for bytes that aren't a plan of this backend."""
        ...

    def versions(self) -> Mapping[str, str]:
        """Of what takes part in a build."""
        ...
