"""What sessions are made of besides tokens: JSON, ids that nobody guesses, digests."""

from __future__ import annotations

import hashlib
import secrets
from typing import TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = dict[str, JsonValue]

ID_BYTES = 16
DIGEST_BYTES = 16


def new_id(prefix: str) -> str:
    """An id with 128 random bits, as `turn_5f...`."""
    return f"{prefix}_{secrets.token_hex(ID_BYTES)}"


def digest(data: bytes) -> bytes:
    """Sixteen bytes that stand for `data` (BLAKE2b)."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()
