"""What a command finds in its click context: the settings, the registry, and where to show progress."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtreg.errors import TrtregError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import click

    from trtreg.registry import Registry
    from trtreg.wiring.config import Settings
    from trtreg_cli.progress import ShownProgress


QUIET = "Nothing on stderr but errors."
VERBOSE = "Every stage on stderr, even without a terminal; after a failure, all that was printed."


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What was said before the command's name."""

    flags: Mapping[str, str | None]
    quiet: bool = False
    verbose: bool = False


def settings_of(ctx: click.Context) -> Settings:
    """The settings in force for this call."""
    from trtreg.wiring.wiring import settings

    return settings(ctx.obj.flags)


@contextmanager
def progress_of(ctx: click.Context) -> Iterator[ShownProgress]:
    """Progress on stderr: bars on a terminal, lines for what is worth one elsewhere; what failed, in its own words."""
    from trtreg_cli.progress import ShownProgress

    with ShownProgress(quiet=ctx.obj.quiet, verbose=ctx.obj.verbose) as progress:
        try:
            yield progress
        except TrtregError as error:
            progress.log(getattr(error, "__notes__", ()))
            raise


@contextmanager
def registry_of(ctx: click.Context) -> Iterator[Registry]:
    """The registry that the settings name, its progress shown."""
    from trtreg.wiring.wiring import open_registry

    with progress_of(ctx) as progress:
        yield open_registry(settings=settings_of(ctx), progress=progress)
