"""What goes wrong with sessions. Messages are written for the client; no message says what another tenant has.

SessionError
  NotFoundError               there is no such session or turn, or it is another tenant's, expired or deleted
  BusyError                   the session has a running turn already
  TurnMismatchError           the session's head is not the turn that the client expects
  IdempotencyConflictError    the key was used for another request
  ToolResultConflictError     the call has another result already
  TurnEndedError              the turn was to be completed, but it is not running any more
  InvalidArchiveError         what was to be imported is no exported session
  CorruptError                a stored row is damaged; only its session fails
  ReadOnlyError               the store could not write once, and takes no more writes
  StoreError                  the store can't be opened: another process, a newer version, no database
"""

from __future__ import annotations


class SessionError(Exception):
    """Root of this folder's errors; `code` is stable and goes over the wire."""

    code = "session_error"


class NotFoundError(SessionError):
    """Nothing of that id belongs to this tenant."""

    code = "not_found"

    def __init__(self, kind: str, ref: str) -> None:
        super().__init__(f"there is no {kind} {ref[:128]!r}")
        self.kind = kind


class BusyError(SessionError):
    """One turn runs at a time; `turn_id` is the one that does, `retry_after_s` when to try again."""

    code = "session_busy"

    def __init__(self, turn_id: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(f"the session is busy with turn {turn_id!r}; wait for its end or cancel it")
        self.turn_id, self.retry_after_s = turn_id, retry_after_s


class TurnMismatchError(SessionError):
    """The precondition of a request (If-Match) does not hold."""

    code = "turn_mismatch"

    def __init__(self, expected: str, head: str | None) -> None:
        super().__init__(f"the session's latest turn is {head!r}, not {expected[:128]!r}; read the session again")
        self.head = head


class IdempotencyConflictError(SessionError):
    """A key stands for one request; sending it again with another body is an error of the client."""

    code = "idempotency_conflict"

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key was used with another body; use a new key for a new request")


class ToolResultConflictError(SessionError):
    """Results of tool calls are recorded once."""

    code = "tool_result_conflict"

    def __init__(self, call_id: str, turn_id: str) -> None:
        super().__init__(
            f"the tool call {call_id[:128]!r} has another result already, in turn {turn_id!r}; roll back to undo it"
        )
        self.call_id, self.turn_id = call_id, turn_id


class NameTakenError(SessionError):
    """Names are unique among a tenant's sessions."""

    code = "name_taken"

    def __init__(self, name: str) -> None:
        super().__init__(f"another session is named {name[:128]!r}; choose another name, or use that session")


class TurnEndedError(SessionError):
    """The turn is interrupted or complete, so nothing more can be made of it."""

    code = "turn_ended"

    def __init__(self, turn_id: str, state: str) -> None:
        super().__init__(f"the turn {turn_id!r} is {state}; only a running turn can be completed")
        self.state = state


class InvalidArchiveError(SessionError):
    """An archive is damaged, or none of ours."""

    code = "invalid_archive"


class CorruptError(SessionError):
    """A row's checksum is not that of its content, or the row is gone."""

    code = "session_corrupt"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is damaged on disk; delete the session, or restore the data directory from a backup")


class ReadOnlyError(SessionError):
    """Nothing is acknowledged any more, because nothing may reach the disk; reading goes on. Ends with a restart."""

    code = "store_read_only"

    def __init__(self, reason: str) -> None:
        super().__init__(f"sessions are read-only since a write failed ({reason}); restart when the disk is well")


class StoreError(SessionError):
    """The store can't be opened; the message says why and what to do."""

    code = "store_error"


class LockedError(StoreError):
    """One process at a time."""
