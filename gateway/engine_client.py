"""What the gateway asks of an engine, wherever it runs, and how it says that it can't be asked now.

Two implementations: `gateway.replica.Replica` (a supervised process) and `gateway.scripted_client.ScriptedClient` (a
test double). Request ids are the gateway's own: make them with `new_request_id`, a client's own id is only a label.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from typing import Protocol

from espalier.engine import errors
from espalier.engine.errors import EngineError, RequestError
from espalier.engine.messages import Generate, Output, Ready, SessionNote, Stats


class UnavailableError(EngineError):
    """No engine takes requests now (it is loading or restarting); `retry_after_s` guesses when one will."""

    code = "engine_unavailable"
    retriable = True

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DrainingError(UnavailableError):
    """The server is shutting down and takes no new requests."""

    code = "draining"


class EngineClient(Protocol):
    """One engine as the routes see it."""

    def generate(self, request: Generate) -> AsyncGenerator[Output, None]:
        """Answer `request`: outputs in order, merged where the caller reads slowly; the last has a `finish_reason`.

        The finish reason is never "error": that is raised. Closing the generator (`contextlib.aclosing`) or cancelling
        the task that reads it aborts the request, and returns once its KV slots are free.

        Raises:
            RequestError: the request can't be served as asked (`code`, `param`).
            UnavailableError: no engine takes requests now; DrainingError, a subclass, when none will.
            EngineDiedError: the engine ended under the request.
            EngineError: anything else that ended this request; `code` and `retriable` say what.
        """
        ...

    async def abort(self, request_id: str) -> None:
        """End a running request and return once its KV slots are free; its generator ends with finish reason abort."""
        ...

    def note(self, note: SessionNote) -> None:
        """Tell the engine of a session. Nothing comes back; an engine that isn't there has nothing to keep."""
        ...

    async def drain(self, timeout_s: float) -> None:
        """Take no new requests, let running ones finish for `timeout_s`, abort the rest, and end the engine."""
        ...

    @property
    def ready(self) -> Ready | None:
        """What the engine said of itself; None while it takes no requests (loading, restarting, draining)."""
        ...

    @property
    def stats(self) -> Stats:
        """The engine's latest gauges and totals."""
        ...

    @property
    def is_alive(self) -> bool:
        """Whether the engine progresses: it loads, restarts, or its loop turned within the stall limit."""
        ...


def new_request_id() -> str:
    """A request id that no other request has."""
    return f"req-{uuid.uuid4().hex}"


_ERRORS: dict[str, type[EngineError]] = {
    kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EngineError)
}


def error_from(code: str | None, message: str | None, param: str | None = None) -> EngineError:
    """The exception that a code on the wire names; an unknown code becomes the root error."""
    kind = _ERRORS.get(code or "", EngineError)
    text = message or "the engine gave no reason"
    return kind(text, param=param) if issubclass(kind, RequestError) else kind(text)
