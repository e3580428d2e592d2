"""What attention state depends on, as one digest: state of another checkpoint, dtype, rope or layout is never read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from espalier.engine.config import ModelConfig
from espalier.engine.tier_file import VERSION

WHOLE_BYTES = 256 * 2**20
PART_BYTES, NUM_PARTS = 2**20, 32


def fingerprint(folder: Path, config: ModelConfig, *, kv_dtype: str, weights: str, exact: bool) -> str:
    """A digest of weights and settings. Of large files of weights it reads parts, spread over each."""
    found = hashlib.blake2b(digest_size=16)
    settings = asdict(config) | {"kv_dtype": kv_dtype, "weights": weights, "exact": exact, "version": VERSION}
    found.update(json.dumps(settings, sort_keys=True, default=repr).encode())
    for path in sorted(folder.glob("*.safetensors")):
        found.update(f"{path.name} {path.stat().st_size}\n".encode())
        _update(found, path)
    return found.hexdigest()


def _update(found: hashlib.blake2b, path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= WHOLE_BYTES:
            while part := file.read(PART_BYTES):
                found.update(part)
            return
        for number in range(NUM_PARTS):
            file.seek((size - PART_BYTES) * number // (NUM_PARTS - 1))
            found.update(file.read(PART_BYTES))
