"""The key of an engine: the name of the question that a plan answers.

A key is the SHA-256 of model digest × recipe × target, every field of them with its name and its length. Two
requests share a key only if nothing that may change the plan differs between them; docs/the-key.md tells what
is keyed and why.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import NewType

from trtreg.core.digest import digest_of
from trtreg.core.recipe import Recipe
from trtreg.core.target import Target

KEY_SCHEMA = 1
"""Raise it when the meaning of a keyed field changes; engines under an older schema are then misses."""

Key = NewType("Key", str)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for: this model, made this way, to run there."""

    model_digest: str
    recipe: Recipe
    target: Target

    @property
    def key(self) -> Key:
        """64 hexadecimal digits."""
        return Key(
            digest_of(
                "engine-key",
                {
                    "schema": KEY_SCHEMA,
                    "model_digest": self.model_digest,
                    "recipe": self.recipe,
                    "target": self.target,
                },
            )
        )

    def keyed_fields(self) -> dict[str, str]:
        """Each keyed field by its name, as a person reads it, in a fixed order."""
        shown = {"model_digest": self.model_digest}
        for part in (self.recipe, self.target):
            shown |= _flattened(type(part).__name__.lower(), part)
        return shown


def differences(asked: Question, found: Question) -> dict[str, tuple[str, str]]:
    """The keyed fields in which two questions differ: name → (asked for, found)."""
    theirs = found.keyed_fields()
    return {name: (mine, theirs[name]) for name, mine in asked.keyed_fields().items() if mine != theirs[name]}


def _flattened(prefix: str, part: object) -> dict[str, str]:
    if not is_dataclass(part) or isinstance(part, type):
        return {prefix: _shown(part)}
    named = ((f"{prefix}.{f.name}", getattr(part, f.name)) for f in fields(part))
    return {name: text for name, value in named for name, text in _flattened(name, value).items()}


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
