"""The engine process's log: one JSON object a line on stderr, which the gateway writes into its own log."""

from __future__ import annotations

import faulthandler
import logging

import msgspec

_PLAIN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class _LineFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """The level, the event (default the message) and whatever was given as `extra`."""
        fields: dict[str, object] = {"event": record.getMessage()}
        fields |= {name: value for name, value in vars(record).items() if name not in _PLAIN_FIELDS}
        fields |= {"level": record.levelname.lower(), "source": record.name}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(fields, enc_hook=repr).decode()


def log_to_stderr() -> None:
    """Let all records, warnings and the interpreter's last words go to stderr."""
    faulthandler.enable()
    handler = logging.StreamHandler()
    handler.setFormatter(_LineFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.captureWarnings(True)
