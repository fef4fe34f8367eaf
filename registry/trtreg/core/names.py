"""How a person names a model: NAME, NAME@VERSION, NAME@ALIAS."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
LATEST = "latest"


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model's name and what selects its version: a number, an alias, or neither for the newest.

    `latest` is every model's own alias for the newest.
    """

    name: str
    version: int | None = None
    alias: str | None = None

    @property
    def is_bare(self) -> bool:
        """Whether it is the name alone."""
        return self.version is None and self.alias is None

    def __str__(self) -> str:
        selector = self.version if self.version is not None else self.alias
        return self.name if selector is None else f"{self.name}@{selector}"


def parse_model_name(text: str) -> ModelName:
    """Read NAME, NAME@VERSION or NAME@ALIAS; `@latest` is the newest version. Raises ValueError."""
    name, at, selector = text.partition("@")
    require_name(name, "model name")
    if not at:
        return ModelName(name)
    if selector.isascii() and selector.isdigit():
        return ModelName(name, version=int(selector))
    if selector != LATEST:
        require_alias(selector)
    return ModelName(name, alias=selector)


def require_name(text: str, what: str) -> None:
    """Raise ValueError unless `text` can name a model, an alias, a sample or a tag."""
    if not _NAME.match(text):
        raise ValueError(
            f"{text!r} is no {what}: it takes 1 to 100 letters, digits, '.', '_' and '-', the first a letter or digit"
        )


def require_alias(text: str) -> None:
    """Raise ValueError unless `text` can be an alias: a name that isn't a number and isn't `latest`."""
    require_name(text, "alias")
    if text.isdigit() or text == LATEST:
        raise ValueError(f"{text!r} can't be an alias: numbers and {LATEST!r} select versions by themselves")
