"""What only a GPU can show:  TRTREG_GPU=1 pytest tests/gpu

Collected only then, so that no other run counts these as skipped.
"""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("TRTREG_GPU") == "1" else ["test_*.py"]
