"""The key of an engine: the name of the question that a plan answers.

A key is the SHA-256 of model digest × recipe × target, every field of them with its name and its length. Two
requests share a key only if nothing that may change the plan differs between them; docs/the-key.md tells what
is keyed and why.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
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
        for part, value in (("recipe", self.recipe), ("target", self.target)):
            for f in fields(value):
                shown[f"{part}.{f.name}"] = _shown(getattr(value, f.name))
        return shown


def differences(asked: Question, found: Question) -> dict[str, tuple[str, str]]:
    """The keyed fields in which two questions differ: name → (asked for, found)."""
    theirs = found.keyed_fields()
    return {name: (mine, theirs[name]) for name, mine in asked.keyed_fields().items() if mine != theirs[name]}


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
