"""What can go wrong for an agent builder. All are `SdkError`; how a run may stop is in `sdk.stop`.

SdkError
├── DefinitionError       a function, type or setting that can't be used, found before anything is sent
├── ShapeError            a value that does not fit a type: the path and what was expected
├── ToolError             raise it in a tool: its message is what the model reads
├── JournalError          a journal that is damaged, in use, or holds an unfinished run
├── ServerError           the server refused or failed: status, code, param, request id
│   ├── RefusedError          asking again in the same words won't help
│   ├── SessionBusyError      another turn of the session runs (409); retried before it is raised
│   └── UnavailableError      still not served after all retries (408, 429, 5xx, no connection)
├── StreamError           a stream that broke and can't be resumed, or holds what is no event
└── Stop                  a run that ended without its answer (`sdk.stop`)
"""

from __future__ import annotations


class SdkError(Exception):
    """Root of the SDK's errors."""


class DefinitionError(SdkError):
    """A function, type or setting that can't be used."""


class ShapeError(SdkError):
    """A value that does not fit its type; `path` is where, as in `days` or `stops[2].city`, empty for the whole."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


class ToolError(SdkError):
    """Raised by a tool: the message goes to the model as it stands."""


class JournalError(SdkError):
    """A journal that can't be gone on with."""


class ServerError(SdkError):
    """What the server said instead of an answer; `status` is 0 where there was no connection."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.request_id = status, code, param, request_id

    def __str__(self) -> str:
        where = [f"status {self.status}"] if self.status else []
        where += [f"{name} {value}" for name, value in (("param", self.param), ("request", self.request_id)) if value]
        return f"{self.args[0]} ({', '.join(where)})" if where else str(self.args[0])


class RefusedError(ServerError):
    """Asking again in the same words won't help."""


class SessionBusyError(ServerError):
    """Another turn of the session is running."""


class UnavailableError(ServerError):
    """The server could not be reached, or did not take the request, after all retries."""


class StreamError(SdkError):
    """A stream that broke and can't be resumed, or holds what is no event."""
