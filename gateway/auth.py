"""API keys: known only by their SHA-256, compared in constant time, each belonging to a tenant."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers

from espalier.engine.errors import EngineError

OPEN_PATHS = frozenset({"/live", "/ready", "/health"})
"""Paths that never need a key: what probes and load balancers ask."""

_LINE = re.compile(r"([\w.-]{1,64})\s+([0-9a-fA-F]{64})")


class KeyFileError(EngineError):
    """The file of API keys can't be read; the message names the line."""

    code = "key_file_error"


def digest(key: str) -> str:
    """What is stored of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Pairs of tenant and digest; empty means that no key is asked for."""

    keys: tuple[tuple[str, str], ...] = ()

    @classmethod
    def load(cls, path: Path | None) -> KeyRing:
        """Read lines of '<tenant> <sha256 of the key in hex>'; blank lines and # comments are skipped."""
        if path is None:
            return cls()
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise KeyFileError(f"api_keys_file {path.name!r} can't be read ({type(error).__name__})") from error
        keys: list[tuple[str, str]] = []
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            if not (found := _LINE.fullmatch(line.strip())):
                raise KeyFileError(f"api_keys_file line {number}: '<tenant> <sha256 of the key in hex>' is expected")
            keys.append((found[1], found[2].lower()))
        if not keys:
            raise KeyFileError(f"api_keys_file {path.name!r} holds no key; remove the option to serve without keys")
        return cls(tuple(keys))

    def tenant(self, key: str | None) -> str | None:
        """Whose key it is; None for nobody's. Every digest is compared, whichever fits."""
        given = digest(key or "")
        found = None
        for tenant, known in self.keys:
            if hmac.compare_digest(given, known):
                found = tenant
        return found


def key_from(headers: Headers) -> str | None:
    """The key of a request: `Authorization: Bearer`, else `x-api-key`."""
    kind, _, key = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and key.strip():
        return key.strip()
    return headers.get("x-api-key")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
