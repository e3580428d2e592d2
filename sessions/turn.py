"""A turn: new messages, the answer to them, and the tokens of both. What it begins with, and what it ends with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from espalier.sessions.value import JsonObject

State = Literal["running", "interrupted", "complete"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True, slots=True)
class Mark:
    """What the chat template had written when an answer began: characters, their digest, end markers among them.

    `vocabulary` stands for the vocabulary that the turn's token ids are of.
    """

    length: int
    digest: bytes
    num_ends: int
    vocabulary: bytes = b""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A client's key, and the digest of the body that came with it."""

    key: str
    body_digest: bytes


@dataclass(frozen=True, slots=True)
class Turn:
    """One node of a session's tree.

    The context of a turn is the first `kept_len` tokens of its parent's context, then `prompt_ids`, then `output_ids`.
    `messages` are the new ones and `answer` is the assistant's, as chat templates read them. `mark` is None where the
    turn has no tokens: messages that were added without an answer, or whose tokens were forgotten by an edit. A
    `response_id` finds the turn as its id does. A hidden turn was deleted, but later ones continue it.
    """

    id: str
    session_id: str
    tenant: str
    parent: str | None
    state: State
    created_at: float
    messages: tuple[JsonObject, ...]
    context_len: int
    kept_len: int = 0
    prompt_ids: tuple[int, ...] = ()
    output_ids: tuple[int, ...] = ()
    mark: Mark | None = None
    answer: JsonObject | None = None
    finish_reason: str | None = None
    ended_at: float | None = None
    response_id: str | None = None
    idempotency: Idempotency | None = None
    cache_salt: str = ""
    is_background: bool = False
    is_hidden: bool = False

    @property
    def prompt_len(self) -> int:
        """Tokens before the answer."""
        return self.kept_len + len(self.prompt_ids)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a turn begins with. `parent` is the turn it follows, `seen_head` the head when that was decided.

    `request` is the caller's own record of what was asked; it comes back from `Sessions.record` as it was.
    """

    parent: str | None
    seen_head: str | None
    messages: tuple[JsonObject, ...]
    kept_len: int = 0
    prompt_ids: tuple[int, ...] = ()
    mark: Mark | None = None
    response_id: str | None = None
    request: bytes = b""
    idempotency: Idempotency | None = None
    cache_salt: str = ""
    is_background: bool = False


@dataclass(frozen=True, slots=True)
class Completion:
    """What a turn ends with. `response` and `events` are the caller's own record of what was answered."""

    answer: JsonObject | None
    output_ids: tuple[int, ...] = ()
    finish_reason: str | None = None
    response: bytes = b""
    events: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """The caller's own bytes of a turn."""

    request: bytes = b""
    response: bytes = b""
    events: tuple[bytes, ...] = ()
