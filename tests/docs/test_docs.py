"""What the README and docs/ say of commands, options, files and headings is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click
import pytest

from trtreg_cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "registry" / "trtreg"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@every_page
def test_every_command_and_option_is_one_of_trtreg(page: Path) -> None:
    wrong = [line for line in _command_lines(page.read_text()) if not _is_known(shlex.split(line, comments=True))]
    assert not wrong


def test_a_command_or_an_option_that_isnt_there_is_noticed() -> None:
    lines = _command_lines("    you$ trtreg get x --fp17  # no\n`trtreg --home A stores ls` and `trtreg store du`")
    assert [_is_known(shlex.split(line, comments=True)) for line in lines] == [False, False, True]


def test_the_options_in_the_readmes_table_belong_to_its_commands() -> None:
    rows = [row for row in PAGES[0].read_text().splitlines() if row.startswith("| `trtreg ")]
    assert len(rows) > 20
    for row in rows:
        spoken = re.findall(r"`([^`]+)`", row)
        commands = {word.split()[0 if "trtreg" not in word else 1] for word in spoken if not word.startswith("-")}
        known = {option for name in commands if (c := cli.get_command(_CONTEXT, name)) for option in _options(c)}
        given = {option for word in spoken for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", word)}
        assert given <= known, row


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if heading:
            assert heading in _headings(file.read_text()), target


@every_page
def test_every_file_of_ours_that_is_named_is_there(page: Path) -> None:
    named = re.findall(r"`((?:[a-z_0-9]+/)+[a-z_0-9]+\.(?:py|sh|json|yaml))`", page.read_text())
    assert not [name for name in named if not (ROOT / name).exists() and not (PACKAGE / name).exists()]


def test_the_architecture_lists_every_room_and_module_once() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.partition("## Rooms")[2].partition("## The store")[0]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    listed = [name for cell in first_cells for name in re.findall(r"`([^`]+)`", cell) if name.count("/") < 2]
    there = [path.name + "/" if path.is_dir() else path.name for path in PACKAGE.iterdir()]
    assert sorted(listed) == sorted(n for n in there if not n.startswith("__") and n != "py.typed")


# --- reading -------------------------------------------------------------------------------------------------

_CONTEXT = click.Context(cli)


def _command_lines(text: str) -> Iterator[str]:
    """Calls of trtreg in blocks and in running text, each from its name on."""
    joined = text.replace("\\\n", " ")
    for line in joined.splitlines():
        if block := re.match(r"    (?:\S*\$ +)?(trtreg .*)", line):
            yield block[1].partition(" | ")[0]
        else:
            yield from re.findall(r"`(trtreg [^`]+)`", line)


def _is_known(words: list[str]) -> bool:
    """Whether the command is there, of `ls|rm` both, and has the options. Neither values are looked at, nor `…`."""
    command: click.Command = cli
    for before, word in pairwise(words):
        if word.startswith("-"):
            if word.partition("=")[0] not in _options(command, deep=False):
                return False
        elif isinstance(command, click.Group) and word[0].islower() and not before.startswith("-"):
            for name in word.split("|"):
                below = command.get_command(_CONTEXT, name)
                if below is None:
                    return False
                found = below
            command = found
    return True


def _options(command: click.Command, *, deep: bool = True) -> set[str]:
    found = {"-h", "--help"}
    for parameter in command.params:
        found |= {*parameter.opts, *parameter.secondary_opts}
    if deep and isinstance(command, click.Group):
        for name in command.list_commands(_CONTEXT):
            below = command.get_command(_CONTEXT, name)
            found |= _options(below) if below else set()
    return found


def _headings(text: str) -> set[str]:
    """As GitHub makes anchors of them."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
