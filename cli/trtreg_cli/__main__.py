"""Where the console script begins: an interruption is quiet from the first moment, while the rest is still imported."""

from __future__ import annotations

import os
import sys


def run() -> None:
    """Entry point of the console script, and of `python -m trtreg_cli`."""
    try:
        from trtreg_cli import main

        main.run()
    except KeyboardInterrupt:
        # `main` says so by itself once it is there. By the descriptor: of the streams nothing is known yet.
        os.write(2, b"interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    run()
