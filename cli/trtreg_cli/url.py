"""`trtreg url`: where a plan's files can be fetched from by whoever has curl and sha256sum, and nothing of trtreg."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import click

from trtreg.core.sizes import parse_duration
from trtreg.errors import UsageError
from trtreg_cli.context import registry_of
from trtreg_cli.options import loudness_options, request_of, request_options

if TYPE_CHECKING:
    from trtreg.registry import FileUrl


@click.command()
@request_options
@click.option("--valid", default="1h", metavar="TIME", help="How long: 90s, 30m, 1h (unless given), 7d.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--curl", "as_script", is_flag=True, help="As a script for `sh`: curl, sha256sum --check.")
@loudness_options
@click.pass_context
def url(ctx: click.Context, /, valid: str, as_json: bool, as_script: bool, **asked: Any) -> None:
    """Print where the files of an engine in the store can be fetched from, with their sizes and SHA-256.

    A line for each file, the one to load last: SHA-256, bytes, URL, name. Whoever has the URL may read that file, for
    as long as it is valid. Nothing is fetched or built.
    """
    if as_json and as_script:
        raise UsageError("--json contradicts --curl")
    try:
        seconds = parse_duration(valid)
    except ValueError as error:
        raise UsageError(str(error)) from None
    request = request_of(**asked)
    with registry_of(ctx) as registry:
        files = registry.urls(request, seconds)
    if as_json:
        click.echo(json.dumps({"entry": files[-1].name, "files": [asdict(f) for f in files]}, indent=2))
    elif as_script:
        click.echo(_script(files))
    else:
        for file in files:
            click.echo(f"{file.sha256} {file.size} {file.url} {file.name}")


def _script(files: list[FileUrl]) -> str:
    lines = ["set -eu"]
    for file in files:
        final, draft = shlex.quote(f"./{file.name}"), shlex.quote(f"./{file.name}.part")
        if (folder := str(PurePosixPath(file.name).parent)) != ".":
            lines.append(f"mkdir -p {shlex.quote(f'./{folder}')}")
        lines += [
            f"curl --fail --silent --show-error --location --retry 5 --output {draft} {shlex.quote(file.url)}",
            # A name gets its file only once the bytes are right.
            f"printf '%s\\n' {shlex.quote(f'{file.sha256}  ./{file.name}.part')} | sha256sum --check --quiet",
            f"mv {draft} {final}",
        ]
    return "\n".join(lines)
