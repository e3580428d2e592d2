"""From a frozen dataclass of options to flags, environment variables and TOML keys, and back.

A value is taken from the first place that has one: flag, environment, TOML file, default. Every value is checked
against its field's type and range, and an error names the place that it came from. Invariant: no key is ignored.
"""

from __future__ import annotations

import argparse
import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from espalier.gateway.setting import Setting, SettingError

T = TypeVar("T")

CONFIG_FILE = Path("espalier.toml")
CONFIG_ENVIRONMENT = "ESPALIER_CONFIG"


def settings_of(options: type) -> list[Setting]:
    """The settings of an options class, in the order of its fields."""
    hints = typing.get_type_hints(options)
    return [_setting(field, hints[field.name]) for field in dataclasses.fields(options)]


def add_arguments(parser: argparse.ArgumentParser, options: type, *, title: str, skip: Sequence[str] = ()) -> None:
    """Add a flag for each setting but those in `skip`; `resolve` reads what was parsed."""
    group = parser.add_argument_group(title)
    for setting in settings_of(options):
        if setting.name not in skip:
            group.add_argument(setting.flag, **_argument(setting))


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--config`."""
    text = (
        f"a TOML file with tables [engine] and [gateway] (default ./{CONFIG_FILE} if it exists; ${CONFIG_ENVIRONMENT})"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help=text)


def resolve(
    options: type[T], table: str, flags: argparse.Namespace, environment: Mapping[str, str], config: Config
) -> T:
    """The options, each from flag, environment, `config`'s `table` or default. Raises SettingError."""
    values: dict[str, object] = {}
    for setting in settings_of(options):
        for place, value in _places(setting, table, flags, environment, config):
            if value is not None:
                values[setting.name] = setting.read(value, place)
                break
    return options(**values)


@dataclass(frozen=True, slots=True)
class Config:
    """A TOML file that was read: where it stands and its tables."""

    path: Path | None = None
    tables: Mapping[str, Mapping[str, object]] = dataclasses.field(default_factory=dict)


def read_config(path: Path | None, environment: Mapping[str, str], known: Mapping[str, type]) -> Config:
    """Read the TOML file that was named, else $ESPALIER_CONFIG, else ./espalier.toml if there is one.

    `known` maps a table to its options class. Raises SettingError if the file can't be read or holds unknown names.
    """
    named = path or (Path(environment[CONFIG_ENVIRONMENT]) if environment.get(CONFIG_ENVIRONMENT) else None)
    if named is None and not CONFIG_FILE.is_file():
        return Config()
    chosen = named or CONFIG_FILE
    try:
        content = tomllib.loads(chosen.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"{chosen}: can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{chosen}: is no TOML: {error}") from None
    for table, entries in content.items():
        _check_table(chosen, table, entries, known)
    return Config(chosen, content)


def _check_table(path: Path, table: str, entries: object, known: Mapping[str, type]) -> None:
    if table not in known or not isinstance(entries, dict):
        tables = " and ".join(f"[{name}]" for name in known)
        raise SettingError(f"{path}: unknown name {table!r}; options stand in the tables {tables}")
    names = [setting.name for setting in settings_of(known[table])]
    for name in entries:
        if name not in names:
            raise SettingError(f"{path}: unknown option {name!r} in [{table}]; there are {', '.join(names)}")


def _places(
    setting: Setting, table: str, flags: argparse.Namespace, environment: Mapping[str, str], config: Config
) -> list[tuple[str, object]]:
    return [
        (f"argument {setting.flag}", getattr(flags, setting.name, None)),
        (f"environment {setting.environment}", environment.get(setting.environment) or None),
        (f"{config.path}: {table}.{setting.name}", config.tables.get(table, {}).get(setting.name)),
    ]


def _setting(field: dataclasses.Field[Any], hint: Any) -> Setting:
    if isinstance(hint, types.UnionType):  # X | None: None is the default, never a value that is given
        (hint,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
    choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
    return Setting(field.name, str if choices else hint, choices, field.default, field.metadata["help"])


def _argument(setting: Setting) -> dict[str, Any]:
    default = "" if setting.default is None else f"default {_show(setting)}; "
    text = f"{setting.help} ({default}${setting.environment})".replace("%", "%%")
    if setting.kind is bool:
        return {"action": argparse.BooleanOptionalAction, "default": None, "help": text}
    metavar = "{" + ",".join(setting.choices) + "}" if setting.choices else _metavar(setting)
    return {"metavar": metavar, "default": None, "help": text}


def _metavar(setting: Setting) -> str:
    return "SIZE" if setting.is_size else {int: "N", float: "X", Path: "PATH"}.get(setting.kind, "TEXT")


def _show(setting: Setting) -> str:
    if isinstance(setting.default, bool):
        return "on" if setting.default else "off"
    if setting.is_size and isinstance(setting.default, int):
        return f"{setting.default / 2**20:g} MiB"
    return str(setting.default)
