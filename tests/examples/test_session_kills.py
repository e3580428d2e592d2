"""The script that kills a busy store, fifty times."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "sessions" / "kills.py"


def test_a_killed_store_has_all_that_it_acknowledged() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--kills", "50"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = re.search(r"50 kills, (\d+) inside a write .* (\d+) turns acknowledged, 0 lost, 0 half", done.stdout)
    assert told is not None and int(told[1]) >= 25 and int(told[2]) > 50, done.stdout
