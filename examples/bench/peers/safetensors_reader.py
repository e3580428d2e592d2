"""Reads float32 safetensors with numpy alone (format: 8 bytes of header length, JSON header, data)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np


def read_tensors(file: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Names and tensors of a file whose tensors are all float32."""
    data = np.memmap(file, mode="r")
    length = int(data[:8].view("<u8")[0])
    for name, entry in json.loads(bytes(data[8 : 8 + length])).items():
        if name != "__metadata__":
            begin, end = (8 + length + at for at in entry["data_offsets"])
            yield name, np.frombuffer(data[begin:end], dtype=np.float32).reshape(entry["shape"])
