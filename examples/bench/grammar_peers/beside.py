"""Makes the measuring loop of `espalier bench grammar` importable in a peer's environment."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "gateway" / "bench"))
