"""One option: its name, type, choices, range, default and help, and how a value of it is read from text or TOML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

UNITS = {"": 1, "b": 1, "k": 2**10, "kib": 2**10, "m": 2**20, "mib": 2**20, "g": 2**30, "gib": 2**30}

# Whole numbers start at 1 and other numbers lie above 0 but for these.
_LOWEST = {"port": 0, "max_logprobs": 0, "max_stop": 0, "drain_timeout_s": 0, "max_waiting": 0}
_LOWEST |= {"lease_share": 0, "tenant_lease_share": 0, "lease_patience_s": 0, "kv_host_bytes": 0, "kv_disk_bytes": 0}
_HIGHEST = {"port": 65535, "kv_memory_share": 1, "lease_share": 1, "tenant_lease_share": 1}
_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


class SettingError(Exception):
    """A value is not what its option takes, or a key names no option; the message says where it stands."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of an options class: its name, type without None, choices if it is a Literal, default and help."""

    name: str
    kind: type
    choices: tuple[str, ...]
    default: object
    help: str

    @property
    def flag(self) -> str:
        """The flag of the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def environment(self) -> str:
        """The environment variable."""
        return f"ESPALIER_{self.name.upper()}"

    @property
    def is_size(self) -> bool:
        """Whether the value is a number of bytes, which may have a unit."""
        return self.name.endswith("_bytes")

    def read(self, value: object, place: str) -> object:
        """The value of the field from a text (flag, environment) or a TOML value; `place` is for the error."""
        try:
            parsed = _PARSERS[self.kind](self, value)
            self._check_range(parsed)
        except ValueError as error:
            raise SettingError(f"{place}: expected {error}, got {value!r}") from None
        return parsed

    def _check_range(self, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return
        lowest = _LOWEST.get(self.name, 1 if self.kind is int else 0)
        highest = _HIGHEST.get(self.name)
        if value < lowest or (self.kind is float and value == 0 and self.name not in _LOWEST):
            raise ValueError(f"at least {lowest}" if self.kind is int or self.name in _LOWEST else "more than 0")
        if highest is not None and value > highest:
            raise ValueError(f"at most {highest}")


def _text(setting: Setting, value: object) -> object:
    if not isinstance(value, str) or (setting.choices and value not in setting.choices):
        raise ValueError(f"one of {', '.join(setting.choices)}" if setting.choices else "a text")
    return value


def _whole(setting: Setting, value: object) -> object:
    if isinstance(value, str):
        return _size(value) if setting.is_size else _whole_text(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a whole number")
    return value


def _whole_text(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("a whole number") from None


def _size(text: str) -> int:
    number = text.strip().rstrip("KMGiBkmgb ")
    unit = text.strip()[len(number) :].strip().lower()
    try:
        return int(float(number) * UNITS[unit])
    except (ValueError, OverflowError, KeyError):
        raise ValueError("a number of bytes such as 512MiB or 2GiB") from None


def _number(_: Setting, value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("a number")
    try:
        number = float(value)
    except ValueError:
        raise ValueError("a number") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError("a finite number")
    return number


def _truth(_: Setting, value: object) -> object:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in _WORDS:
        raise ValueError("true or false")
    return _WORDS[value.lower()]


def _path(_: Setting, value: object) -> object:
    if not isinstance(value, str) or not value:
        raise ValueError("a path")
    return Path(value).expanduser()


_PARSERS: dict[type, Callable[[Setting, object], object]] = {
    str: _text,
    int: _whole,
    float: _number,
    bool: _truth,
    Path: _path,
}
