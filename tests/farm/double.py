"""A machine that is a double: python -m farm.double CACHE ROLE [ARCHITECTURE…]

builds    a worker that builds for these architectures, and can't run them
runs      a worker that runs what is made for that one, and builds nothing
asks      someone without the machine, who wants the engine that FARM_WISH describes, by way of the farm
wants     the same, who doesn't wait
makes     the same, who builds it without the farm

Without an architecture it has a release of TensorRT that there never was.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from registry.machines import elsewhere, machine, machine_with
from trtreg.core.records import from_json
from trtreg.core.request import Request
from trtreg.errors import TrtregError
from trtreg.probing import Chosen
from trtreg.storage.notes import Notes
from trtreg.wiring import wiring
from trtreg.wiring.workplace import Bench, open_farm, run_worker


def main() -> int:
    cache, role, *architectures = sys.argv[1:]
    settings = wiring.settings({"cache": cache})
    choose: Callable[..., Chosen] = (machine if role == "runs" else elsewhere)(*architectures)
    if not architectures:
        choose = machine_with("tensorrt")
    if role not in ("builds", "runs"):
        return _ask(settings, choose, role)
    target = choose("auto", notes=Notes(settings.cache)).target
    bench = Bench(builds=() if role == "runs" else (target,), runs=(target,) if role == "runs" else (), choose=choose)
    return run_worker(settings, log_level="INFO", bench=bench)


def _ask(settings: wiring.Settings, choose: Callable[..., Chosen], role: str) -> int:
    registry = wiring.open_registry(settings=settings, progress=_Told(), choose=choose)
    request = from_json(Request, os.environ["FARM_WISH"])
    try:
        if role != "makes":
            open_farm(settings, registry.progress).have_made(registry, request, wait=role == "asks")
        if role != "wants":
            print(registry.ask(request, build=role == "makes").path)
    except TrtregError as error:
        print(error.message, file=sys.stderr)
        return error.exit_code
    return 0


class _Told:
    def stage(self, name: str, detail: str = "") -> None: ...

    def advance(self, done: int, total: int) -> None: ...

    def say(self, line: str) -> None:
        print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
