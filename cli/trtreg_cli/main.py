"""The `trtreg` command: which commands there are, and how failures become exit codes."""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
from typing import TYPE_CHECKING

import click

from trtreg import __version__
from trtreg.errors import EXIT_CODES, TrtregError, Unreachable, UsageError
from trtreg_cli.context import QUIET, VERBOSE, Invocation
from trtreg_cli.tables import on_one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

# Each command's module, its attribute and its line in --help; a command is imported only when it is called, so
# that a hit pays for nothing else.
_COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "get": ("get", "get", "Print the path of a validated engine; build it if there is none."),
    "build": ("build", "build", "Have engines in the store without fetching them; print their keys."),
    "url": ("url", "url", "Where an engine's files can be fetched from with curl alone."),
    "builds": ("farm", "builds", "What was asked of the farm, and what became of it."),
    "farm": ("farm", "farm", "The farm's queues and workers."),
    "worker": ("farm", "worker", "Build for the farm, on this machine."),
    "plan-upgrade": ("upgrade", "plan_upgrade", "What another version of a runtime makes useless, and its builds."),
    "explain": ("explain", "explain", "Hit or miss, and why."),
    "model": ("models", "model", "Models, their versions, aliases and samples."),
    "sample": ("samples", "sample", "Real inputs of a model: pictures with labels, or tensors."),
    "ls": ("engines", "ls", "List engines."),
    "show": ("engines", "show", "An engine's manifest, gate report and provenance."),
    "gate": ("engines", "gate", "Run the gate again over an engine, on this machine."),
    "bench": ("bench", "bench", "How fast engines are, beside ONNX Runtime on the original."),
    "detect": ("detect", "detect", "What an engine sees in pictures and videos, drawn into copies of them."),
    "eval": ("eval", "evaluate", "What engines are good for: accuracy, errors and times, as a table and a page."),
    "bisect": ("bisect", "bisect", "Which layer loses an engine's accuracy, and what to keep in fp32."),
    "revoke": ("revoke", "revoke", "Withdraw engines after they were published."),
    "inspect": ("inspect", "inspect", "What any model or plan file is, without loading it into a runtime."),
    "key": ("keys", "key", "Keys: whose records are read here, and what signs those that are written."),
    "store": ("store", "store", "The store, and the catalog that lists it."),
    "cache": ("cache", "cache", "This machine's copies of engines."),
    "db": ("db", "db", "The catalog's schema."),
    "doctor": ("doctor", "doctor", "Settings, this machine's target, and what is missing for each backend."),
}

_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:3}  {meaning}" for code, meaning in EXIT_CODES.items())


class _LateGroup(click.Group):
    # ruff: noqa: ARG002 - click's own signatures
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"trtreg_cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in _COMMANDS.items()])


@click.group(cls=_LateGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="trtreg")
@click.option("--home", metavar="DIR", help="Folder of catalog, store and cache, unless these are set.")
@click.option("--catalog", metavar="URL", help="Database of names and engines: sqlite:////path/catalog.db")
@click.option("--store", metavar="PLACE", help="Where models and plans are kept: a directory, or s3://BUCKET/PREFIX.")
@click.option("--cache", metavar="DIR", help="This machine's copies.")
@click.option("--cache-size", metavar="SIZE", help="How much they may take: 50G, 30% of the disk, unlimited.")
@click.option("--time-limit", metavar="SECONDS", help="For examining a model, or building and judging a plan.")
@click.option("--memory-limit", metavar="GIB", help="For the same.")
@click.option("-q", "--quiet", is_flag=True, help=QUIET)
@click.option("-v", "--verbose", is_flag=True, help=VERBOSE)
@click.pass_context
def cli(ctx: click.Context, /, quiet: bool, verbose: bool, **flags: str | None) -> None:
    """Engine-build cache and model registry.

    Ask for a model by name and get the engine that is right for this machine: built once, validated against ONNX
    Runtime, the same for everybody.

    \b
      trtreg model add yolov5s yolov5s.onnx
      trtreg get yolov5s --fp16
    """  # noqa: D301 - click wants the control character
    ctx.obj = Invocation(flags=flags, quiet=quiet, verbose=verbose)


def run() -> None:
    """Entry point of the console script."""
    _occupy_standard_streams()
    # As by Ctrl-C: what `timeout` and batch systems end should leave nothing behind, either.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(_exit_code())


def _occupy_standard_streams() -> None:
    """Whoever closed one of them must not find a file of ours under its number; paths go out as the bytes they are."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if sys.stdout is None:
        # Closed: an answer that nobody gets is a failure. What can only be read refuses to be written to.
        os.dup2(unwritable := os.open(os.devnull, os.O_RDONLY), 1)
        os.close(unwritable)
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "r", closefd=False), write_through=True)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")


def _exit_code() -> int:
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except TrtregError as error:
        click.echo(f"{click.style('error:', fg='red', bold=True)} {on_one_line(error.message)}", err=True)
        if error.hint:
            click.echo(f"{click.style('hint:', fg='cyan')} {on_one_line(error.hint)}", err=True)
        return error.exit_code
    except UnicodeEncodeError as error:
        # What was typed went as far as where it is kept, compared or hashed, which takes text.
        click.echo(f"{click.style('error:', fg='red', bold=True)} {error.object[:200]!a} is no UTF-8 text", err=True)
        return UsageError.exit_code
    except SystemExit:
        # Click's way to say that the reader of our output has gone, as `head` does. That is no failure.
        return 0
    except OSError as error:
        if error.filename is not None:
            raise
        # Only stdout has no name: all other files are the adapters' business.
        why = error.strerror or "stdout is closed"
        click.echo(f"{click.style('error:', fg='red', bold=True)} can't write the answer: {why}", err=True)
        return Unreachable.exit_code
    return 0


if __name__ == "__main__":
    run()
