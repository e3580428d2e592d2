"""A session: one conversation of one tenant, as the place where its next turn goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from espalier.sessions.value import JsonObject

Kind = Literal["session", "conversation", "response"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PREFIXES: dict[Kind, str] = {"session": "sess", "conversation": "conv", "response": "chain"}
"""How the ids of each kind begin. A `response` session is the unnamed chain that stored responses form."""

ID_PREFIXES = tuple(f"{prefix}_" for prefix in PREFIXES.values())
"""What begins like this is an id and never a name."""


@dataclass(frozen=True, slots=True)
class Session:
    """`head` is the turn that the next one follows, None at the beginning; `running` the turn being made.

    `base` is the turn at which it was forked: that one and those before it are another session's, and shared. `name`
    is the client's own, unique for a tenant. Without use for `ttl_s` seconds it expires (`expires_at`); None: never.
    """

    id: str
    tenant: str
    kind: Kind
    created_at: float
    updated_at: float
    name: str | None = None
    ttl_s: float | None = None
    head: str | None = None
    running: str | None = None
    base: str | None = None
    metadata: JsonObject = field(default_factory=dict)

    @property
    def expires_at(self) -> float | None:
        """When it is gone if nothing happens; a running turn keeps it."""
        return None if self.ttl_s is None or self.running is not None else self.updated_at + self.ttl_s

    def is_expired(self, now: float) -> bool:
        """Whether it counts as deleted, swept or not."""
        return self.expires_at is not None and self.expires_at <= now
