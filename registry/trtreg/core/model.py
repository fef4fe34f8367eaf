"""What the registry knows of a model: the facts read from its file, and all that is kept under its name.

A `Model` is a value: each change makes another one, and `trtreg.models.naming` writes it to the store as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from trtreg.core.files import FileSet
from trtreg.core.lineage import Lineage
from trtreg.core.names import LATEST, ModelName, require_alias, require_name
from trtreg.core.sample import Sample
from trtreg.core.signature import Signature
from trtreg.errors import NotFound, UsageError

MODEL_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What reading an ONNX file tells.

    digest      canonical: the same for every storage form of the same model
    source      the files as they were given: the ONNX file and its external data
    opset       version of the default operator set
    precision   what its arithmetic is already in: `fp32`, `fp16`, `bf16`, `int8` (QDQ), `mixed`
    operators   how many nodes of each operator type
    parameters  numbers in its initializers
    producer    what wrote the file, as it says itself
    """

    digest: str
    source: FileSet
    signature: Signature
    opset: int
    precision: str
    operators: Mapping[str, int]
    parameters: int
    producer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One version of a named model, with what its model adds to it. Versions count from 1 and are never used again.

    added_at      UTC, ISO 8601
    lineage       how its file came about; None for one that was given as it is
    tolerance     the model's own overrides of the gate's tolerances, by name; they belong to all its versions
    requirements  what its team requires of every engine, as `core/requirement.py` writes it; of all its versions
    """

    name: str
    version: int
    facts: ModelFacts
    added_at: str
    note: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()
    tolerance: Mapping[str, float] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()
    lineage: Lineage | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    def sample_to_run(self, name: str, likely: Sequence[Sample]) -> Sample | None:
        """The sample of that name; without one, the only one of the `likely`, None if there is none. Raises NotFound,
        and UsageError where several are likely."""
        if name:
            found = next((sample for sample in self.samples if sample.name == name), None)
            if found is None:
                raise NotFound(f"{self} has no sample {name!r}", hint=f"its samples: {_names(self.samples)}")
            return found
        if len(likely) > 1:
            hint = f"--sample names one: {_names(likely)}"
            raise UsageError(f"{self} has {len(likely)} samples to run on", hint=hint)
        return likely[0] if likely else None


def _names(samples: Sequence[Sample]) -> str:
    return ", ".join(sample.name for sample in samples) or "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version in its model's record. `added_at` is UTC, ISO 8601; the samples are sorted by name."""

    number: int
    facts: ModelFacts
    added_at: str
    note: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    lineage: Lineage | None = None

    def __post_init__(self) -> None:
        names = [sample.name for sample in self.samples]
        if names != sorted(set(names)):
            raise ValueError(f"the names of samples must be sorted and distinct: {names}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """All that is kept under one name. Its changes return another Model, or refuse and change nothing.

    revision      counts the records that the store has had of it; 0 for one that was never written
    last_version  the highest number that was ever given; a model stays when its last version is removed, so that
                  none is given twice
    versions      by number
    aliases       the number of the version that each selects
    tolerance     the model's own overrides of the gate's tolerances, by name
    requirements  what its team requires of every engine: canonical texts, sorted
    """

    name: str
    revision: int = 0
    last_version: int = 0
    versions: tuple[Version, ...] = ()
    aliases: Mapping[str, int] = field(default_factory=dict)
    tolerance: Mapping[str, float] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()
    model_schema: int = MODEL_SCHEMA

    def __post_init__(self) -> None:
        require_name(self.name, "model name")
        for alias in self.aliases:
            require_alias(alias)
        numbers = [v.number for v in self.versions]
        if numbers != sorted(set(numbers)) or not all(0 < n <= self.last_version for n in numbers):
            raise ValueError(f"version numbers must rise from 1 to {self.last_version} at most: {numbers}")
        if len({v.facts.digest for v in self.versions}) != len(numbers):
            raise ValueError("two versions have the same contents")
        if dangling := sorted(alias for alias, number in self.aliases.items() if number not in numbers):
            raise ValueError(f"no version for the alias {', '.join(dangling)}")
        if self.requirements and list(self.requirements) != _canonical(self.requirements):
            raise ValueError(f"requirements must be sorted and written the shortest way: {self.requirements}")

    # --- looking -------------------------------------------------------------------------------------------

    def select(self, name: ModelName) -> ModelVersion | None:
        """The version that `name` selects by number or alias; the newest for neither, and for `latest`."""
        number = name.version
        if number is None and name.alias not in (None, LATEST):
            number = self.aliases.get(name.alias or "")
            if number is None:
                return None
        if number is None:
            return self._whole(self.versions[-1]) if self.versions else None
        return next((self._whole(v) for v in self.versions if v.number == number), None)

    def with_digest(self, digest: str) -> ModelVersion | None:
        """The version whose contents have that digest."""
        return next((self._whole(v) for v in self.versions if v.facts.digest == digest), None)

    def all(self) -> list[ModelVersion]:
        """All versions, by number."""
        return [self._whole(v) for v in self.versions]

    def _whole(self, version: Version) -> ModelVersion:
        return ModelVersion(
            name=self.name,
            version=version.number,
            facts=version.facts,
            added_at=version.added_at,
            note=version.note,
            tags=version.tags,
            aliases=tuple(sorted(a for a, number in self.aliases.items() if number == version.number)),
            samples=version.samples,
            tolerance=self.tolerance,
            requirements=self.requirements,
            lineage=version.lineage,
        )

    # --- changing ------------------------------------------------------------------------------------------

    def add_version(
        self,
        facts: ModelFacts,
        *,
        added_at: str,
        note: str = "",
        tags: Mapping[str, str] | None = None,
        samples: Iterable[Sample] = (),
        aliases: Iterable[str] = (),
        tolerance: Mapping[str, float] | None = None,
        lineage: Lineage | None = None,
    ) -> Model:
        """With these contents as the newest version, unless there is one that has them: then tags, note and samples
        are added to that one, and the lineage if it has none. The aliases select it; `tolerance` is added to the
        model's own. Raises UsageError for another sample of a name that is taken."""
        there = next((v for v in self.versions if v.facts.digest == facts.digest), None)
        number = there.number if there else self.last_version + 1
        version = there or Version(number=number, facts=facts, added_at=added_at)
        version = replace(
            version,
            note=_merged(version.note, note),
            tags={**version.tags, **(tags or {})},
            lineage=version.lineage or lineage,
        )
        model = self._with(version)
        for sample in samples:
            model = model.add_sample(number, sample)
        return replace(
            model,
            aliases={**self.aliases, **dict.fromkeys(aliases, number)},
            tolerance={**self.tolerance, **(tolerance or {})},
        )

    def merge(self, other: Model) -> Model:
        """With what another model of this name has besides: into an empty one as it is, else its other versions as the
        newest, and the aliases, tolerances and requirements that this one lacks."""
        if not self.last_version:
            return replace(other, revision=self.revision)
        model = self
        for version in other.versions:
            names = {s.name for v in model.versions if v.facts.digest == version.facts.digest for s in v.samples}
            model = model.add_version(
                version.facts,
                added_at=version.added_at,
                note=version.note,
                tags=version.tags,
                samples=[s for s in version.samples if s.name not in names],
                lineage=version.lineage,
                aliases=[a for a, n in other.aliases.items() if n == version.number and a not in self.aliases],
            )
        if not model.versions:
            return replace(model, tolerance={}, requirements=())
        requirements = tuple(_canonical([*self.requirements, *other.requirements]))
        return replace(model, tolerance={**other.tolerance, **self.tolerance}, requirements=requirements)

    def add_sample(self, number: int, sample: Sample) -> Model:
        """With the sample at that version. Raises NotFound; UsageError if its name is that of another content."""
        version = self._numbered(number)
        there = next((s for s in version.samples if s.name == sample.name), None)
        if there is None:
            samples = sorted([*version.samples, sample], key=lambda s: s.name)
            return self._with(replace(version, samples=tuple(samples)))
        if (there.file.sha256, there.file.size) != (sample.file.sha256, sample.file.size):
            was, is_now = (f"{f.sha256[:12]} of {f.size} bytes" for f in (there.file, sample.file))
            raise UsageError(
                f"{self.name}@{number} has another sample {sample.name!r} already: {was}, not {is_now}",
                hint="give the new one another name",
            )
        return self

    def remove_sample(self, number: int, name: str) -> Model:
        """Without the sample of that version. Raises NotFound."""
        version = self._numbered(number)
        left = tuple(s for s in version.samples if s.name != name)
        if len(left) == len(version.samples):
            there = ", ".join(s.name for s in version.samples) or "none"
            raise NotFound(f"{self.name}@{number} has no sample {name!r}", hint=f"its samples: {there}")
        return self._with(replace(version, samples=left))

    def set_alias(self, alias: str, number: int) -> Model:
        """With NAME@ALIAS selecting that version. Raises NotFound."""
        return replace(self, aliases={**self.aliases, alias: self._numbered(number).number})

    def remove_alias(self, alias: str) -> Model:
        """Without the alias. Raises NotFound."""
        if alias not in self.aliases:
            raise NotFound(f"{self.name} has no alias {alias!r}", hint=f"trtreg model show {self.name} lists them")
        return replace(self, aliases={a: number for a, number in self.aliases.items() if a != alias})

    def remove_version(self, number: int) -> Model:
        """Without that version, whose number is never given again. Raises NotFound; UsageError while an alias
        needs it. With the last version go tolerances and requirements: what is later added under the name starts
        without them."""
        self._numbered(number)
        if needing := sorted(a for a, n in self.aliases.items() if n == number):
            raise UsageError(
                f"{self.name}@{number} is needed by {', '.join(f'{self.name}@{alias}' for alias in needing)}",
                hint=f"trtreg model unalias {self.name}@{needing[0]}, or let it name another version",
            )
        left = tuple(v for v in self.versions if v.number != number)
        if not left:
            return replace(self, versions=(), tolerance={}, requirements=())
        return replace(self, versions=left)

    def set_tolerance(self, tolerance: Mapping[str, float]) -> Model:
        """With these as the model's own tolerances, in place of those there were. Raises NotFound without versions."""
        if not self.versions:
            raise NotFound(f"no model {self.name!r}", hint="trtreg model ls shows what is there")
        return replace(self, tolerance=dict(tolerance))

    def set_requirements(self, requirements: Iterable[str]) -> Model:
        """With these as the model's requirements, in place of those there were. Raises ValueError for what is none,
        NotFound without versions."""
        if not self.versions:
            raise NotFound(f"no model {self.name!r}", hint="trtreg model ls shows what is there")
        return replace(self, requirements=tuple(_canonical(requirements)))

    def _numbered(self, number: int) -> Version:
        found = next((v for v in self.versions if v.number == number), None)
        if found is None:
            raise NotFound(f"no version {self.name}@{number}", hint="trtreg model ls shows what is there")
        return found

    def _with(self, version: Version) -> Model:
        others = [v for v in self.versions if v.number != version.number]
        return replace(
            self,
            versions=tuple(sorted([*others, version], key=lambda v: v.number)),
            last_version=max(self.last_version, version.number),
        )


def _canonical(requirements: Iterable[str]) -> list[str]:
    from trtreg.core.requirement import parse_requirement  # none of a hit's business

    return sorted({str(parse_requirement(text)) for text in requirements})


def _merged(old: str, new: str) -> str:
    """The note of a version that was added once more: the old lines, and of the new those that aren't there yet."""
    if not (old and new):
        return old or new
    lines = old.splitlines()
    return "\n".join([*lines, *(line for line in new.splitlines() if line not in lines)])
