"""`espalier keys TENANT`: a new API key, shown once, and its line for `--api-keys-file`, which holds only a digest."""

from __future__ import annotations

import argparse
import hashlib
import secrets
import sys

KEY_BYTES = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the tenant's name."""
    parser.add_argument("tenant", help="whose key it is; prefixes are never shared between tenants")


def run(arguments: argparse.Namespace) -> int:
    """Print the key to stderr and the line to stdout, so that `espalier keys ada >> keys.txt` stores no key."""
    if not arguments.tenant or any(character.isspace() for character in arguments.tenant):
        print(
            f"espalier keys: error: expected a tenant's name without spaces, got {arguments.tenant!r}", file=sys.stderr
        )
        return 2
    key = "esp-" + secrets.token_urlsafe(KEY_BYTES)
    print(f"The key, shown only now: {key}", file=sys.stderr)
    print(key_line(arguments.tenant, key))
    return 0


def key_line(tenant: str, key: str) -> str:
    """The line of an `--api-keys-file` that admits `key`."""
    return f"{tenant} {hashlib.sha256(key.encode()).hexdigest()}"
