"""Structured logs: one JSON object a line, with the request's id and tenant where there is one.

What users say and what proves who they are never reaches a log: fields of those names are refused here, in one place. A
line is pure ASCII, so nothing in a value (CR, LF, U+2028, a lone surrogate) can end it or forge another.
"""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, TextIO

Level = Literal["debug", "info", "warning", "error"]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

request_id_var: ContextVar[str | None] = ContextVar("request_id", default=None)
tenant_var: ContextVar[str | None] = ContextVar("tenant", default=None)

NEVER_LOGGED = frozenset(
    {"api_key", "authorization", "body", "content", "headers", "key", "messages", "prompt", "text", "token_ids"}
)
MAX_VALUE_CHARS = 4096
MAX_EXCEPTION_CHARS = 32768

# The server's access lines hold raw paths and no request id; the gateway writes its own.
_SILENT = ("uvicorn.access",)
_CHATTY = ("httpx", "httpcore", "asyncio", "multipart")


class Log:
    """Writes records of one part of the program: `Log("replica").info("engine_ready", load_s=1.5)`."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(f"espalier.{name}")

    def debug(self, event: str, **fields: object) -> None:
        """Write what only a developer reads."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Write what happened."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Write what went wrong and was mended."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, *, error: BaseException | None = None, **fields: object) -> None:
        """Write what went wrong and was not mended; `error` adds its traceback as one field."""
        exc_info = None if error is None else (type(error), error, error.__traceback__)
        self._write(logging.ERROR, event, fields, exc_info)

    def write(self, level: Level, event: str, /, **fields: object) -> None:
        """Write at a level known only at run time."""
        self._write(logging.getLevelNamesMapping()[level.upper()], event, fields)

    def _write(self, level: int, event: str, fields: dict[str, object], exc_info: ExcInfo | None = None) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, exc_info=exc_info, extra={"fields": fields})


class JsonFormatter(logging.Formatter):
    """Turns a log record, ours or a library's, into one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """One line without its end; `ts` is UTC, `level` in lower case."""
        own = getattr(record, "fields", None)
        line: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name.removeprefix("espalier."),
            "event": record.msg if own is not None else "message",
            "request_id": request_id_var.get(),
            "tenant": tenant_var.get(),
        }
        line = {name: _bounded(value) for name, value in line.items() if value is not None}
        fields = {"message": record.getMessage()} if own is None else own
        line |= {name: _field(name, value) for name, value in fields.items() if name not in line}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)[-MAX_EXCEPTION_CHARS:]
        return _dump(line)


def configure(level: Level = "info", stream: TextIO | None = None) -> None:
    """Send every record of the process, libraries' and warnings included, to `stream` (default stderr) as JSON lines.

    Give uvicorn `log_config=None`, so that it leaves its loggers to this.
    """
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    for name in _SILENT:
        logging.getLogger(name).disabled = True
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _field(name: str, value: object) -> object:
    return "[never logged]" if name in NEVER_LOGGED else _bounded(value)


def _bounded(value: object) -> object:
    """The value, its strings cut to a length that one line can hold."""
    if isinstance(value, str):
        return value if len(value) <= MAX_VALUE_CHARS else value[:MAX_VALUE_CHARS] + "…"
    if isinstance(value, dict):
        return {str(name): _field(str(name), item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_bounded(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else _bounded(repr(value))


def _dump(line: dict[str, object]) -> str:
    try:
        return json.dumps(line, allow_nan=False)
    except ValueError:  # NaN and infinities have no JSON
        return json.dumps(
            {name: repr(value) if isinstance(value, float) else str(value) for name, value in line.items()}
        )
