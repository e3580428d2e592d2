"""Settings: flag over environment over TOML over default, every value checked, every error with its place."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pytest

from espalier.engine.options import EngineOptions
from espalier.gateway.options import GatewayOptions
from espalier.gateway.setting import SettingError
from espalier.gateway.settings import Config, add_arguments, add_config_argument, read_config, resolve, settings_of

TABLES: dict[str, type] = {"engine": EngineOptions, "gateway": GatewayOptions}
EMPTY = Config()


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_config_argument(parser)
    add_arguments(parser, EngineOptions, title="engine")
    add_arguments(parser, GatewayOptions, title="gateway")
    return parser.parse_args(words)


def engine(
    words: Sequence[str] = (), environment: dict[str, str] | None = None, config: Config = EMPTY
) -> EngineOptions:
    return resolve(EngineOptions, "engine", parse(words), environment or {}, config)


def gateway(
    words: Sequence[str] = (), environment: dict[str, str] | None = None, config: Config = EMPTY
) -> GatewayOptions:
    return resolve(GatewayOptions, "gateway", parse(words), environment or {}, config)


def config_file(folder: Path, text: str) -> Path:
    path = folder / "some.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_anything_the_options_are_the_defaults() -> None:
    assert engine() == EngineOptions()
    assert gateway() == GatewayOptions()


def test_a_flag_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    config = read_config(config_file(tmp_path, "[engine]\nmax_context = 3\n"), {}, TABLES)
    assert engine(config=config).max_context == 3
    assert engine(environment={"ESPALIER_MAX_CONTEXT": "2"}, config=config).max_context == 2
    assert engine(["--max-context", "1"], {"ESPALIER_MAX_CONTEXT": "2"}, config).max_context == 1


def test_an_empty_environment_variable_is_not_set() -> None:
    assert engine(environment={"ESPALIER_MAX_CONTEXT": ""}).max_context is None


@pytest.mark.parametrize(
    ("words", "expected"), [((), True), (("--no-prefix-cache",), False), (("--prefix-cache",), True)]
)
def test_a_boolean_is_a_flag_and_its_opposite(words: tuple[str, ...], expected: bool) -> None:
    assert engine(words).prefix_cache is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1024", 1024), ("2KiB", 2048), ("2k", 2048), ("1.5 GiB", 3 * 2**29), ("3mib", 3 * 2**20), ("7B", 7)],
)
def test_bytes_take_a_unit(text: str, expected: int) -> None:
    assert engine(["--kv-memory-bytes", text]).kv_memory_bytes == expected


def test_toml_values_keep_their_types(tmp_path: Path) -> None:
    text = '[engine]\nexact = true\nkv_memory_share = 1\nkv_memory_bytes = "1GiB"\n[gateway]\ndata_dir = "~/x"\n'
    config = read_config(config_file(tmp_path, text), {}, TABLES)
    assert engine(config=config) == EngineOptions(exact=True, kv_memory_share=1.0, kv_memory_bytes=2**30)
    assert gateway(config=config).data_dir == Path("~/x").expanduser()


@pytest.mark.parametrize(
    ("words", "environment", "message"),
    [
        (["--max-context", "many"], {}, "argument --max-context: expected a whole number, got 'many'"),
        (["--max-context", "0"], {}, "argument --max-context: expected at least 1, got '0'"),
        (["--kv-memory-share", "1.5"], {}, "argument --kv-memory-share: expected at most 1, got '1.5'"),
        (["--kv-memory-share", "0"], {}, "argument --kv-memory-share: expected more than 0, got '0'"),
        (["--kv-memory-share", "nan"], {}, "argument --kv-memory-share: expected a finite number, got 'nan'"),
        (
            ["--kv-memory-bytes", "2 gallons"],
            {},
            "argument --kv-memory-bytes: expected a number of bytes such as 512MiB or 2GiB, got '2 gallons'",
        ),
        (["--device", "tpu"], {}, "argument --device: expected one of auto, cpu, cuda, got 'tpu'"),
        ([], {"ESPALIER_EXACT": "maybe"}, "environment ESPALIER_EXACT: expected true or false, got 'maybe'"),
    ],
)
def test_a_bad_value_names_where_it_came_from(words: list[str], environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        engine(words, environment)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[engine]\nmax_contxt = 1\n", "unknown option 'max_contxt' in [engine]"),
        ("[motor]\n", "unknown name 'motor'; options stand in the tables [engine] and [gateway]"),
        ("max_context = 1\n", "unknown name 'max_context'"),
        ("[engine\n", "is no TOML"),
    ],
)
def test_a_file_with_anything_unknown_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = config_file(tmp_path, text)
    with pytest.raises(SettingError) as caught:
        read_config(path, {}, TABLES)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_bad_value_of_a_file_names_the_file_and_the_key(tmp_path: Path) -> None:
    path = config_file(tmp_path, "[engine]\nmax_context = true\n")
    with pytest.raises(SettingError, match=r"some\.toml: engine\.max_context: expected a whole number, got True"):
        engine(config=read_config(path, {}, TABLES))


def test_the_file_is_the_one_named_by_flag_then_environment_then_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_config(None, {}, TABLES) == Config()
    Path("espalier.toml").write_text("[engine]\nmax_context = 1\n", encoding="utf-8")
    other = config_file(tmp_path, "[engine]\nmax_context = 2\n")
    assert read_config(None, {}, TABLES).tables == {"engine": {"max_context": 1}}
    assert read_config(None, {"ESPALIER_CONFIG": str(other)}, TABLES).tables == {"engine": {"max_context": 2}}
    with pytest.raises(SettingError, match=r"absent\.toml: can't be read"):
        read_config(Path("absent.toml"), {"ESPALIER_CONFIG": str(other)}, TABLES)


def test_no_option_stands_in_two_tables() -> None:
    names = [setting.name for options in TABLES.values() for setting in settings_of(options)]
    assert len(names) == len(set(names))


def test_help_shows_each_default_and_environment_variable() -> None:
    parser = argparse.ArgumentParser(formatter_class=lambda prog: argparse.HelpFormatter(prog, width=1000))
    for options in TABLES.values():
        add_arguments(parser, options, title="options")
    text = parser.format_help()
    for options in TABLES.values():
        for setting in settings_of(options):
            assert f"${setting.environment})" in text
    assert "(default 0.5; $ESPALIER_KV_MEMORY_SHARE)" in text
    assert "--prefix-cache, --no-prefix-cache" in text
    assert "{auto,cpu,cuda}" in text
