"""State that comes back from host memory and from disk: the same answers, few tokens computed, nothing leaked."""

from __future__ import annotations

import dataclasses
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from espalier.engine import Engine, EngineOptions, Generate, SamplingParams
from espalier.engine.errors import EngineError
from espalier.engine.loader import Loaded, load
from espalier.engine.messages import Forget, Output, Retention
from espalier.engine.random_checkpoint import SHAPES, write_random_checkpoint
from espalier.engine.tier_file import SUFFIX
from espalier.radix import RecomputeCost

ANSWER_LEN = 8
PARAMS = SamplingParams(temperature=0, max_tokens=ANSWER_LEN, ignore_eos=True)
SLOTS = 400
DAY_S = 86400.0
PLAIN = Retention()
A_DAY = Retention(keep_s=DAY_S)
IN_MEMORY = Retention(to_disk=False)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("tiny"), SHAPES["tiny"])


@pytest.fixture
def options(checkpoint: Path, tmp_path: Path) -> EngineOptions:
    sizes = load(EngineOptions(model=str(checkpoint), kv_memory_bytes=2**20, threads=1)).fit
    return EngineOptions(
        model=str(checkpoint),
        exact=True,
        kv_memory_bytes=SLOTS * sizes.kv_bytes_per_token,
        threads=1,
        lease_share=0.0,
        kv_folder=str(tmp_path / "kv"),
    )


def bytes_of(options: EngineOptions, num_tokens: int) -> int:
    assert options.kv_memory_bytes is not None
    return num_tokens * (options.kv_memory_bytes // SLOTS)


@pytest.fixture
def on_host(options: EngineOptions) -> EngineOptions:
    return dataclasses.replace(options, kv_host_bytes=bytes_of(options, 1000))


@pytest.fixture
def on_disk(options: EngineOptions) -> EngineOptions:
    return dataclasses.replace(options, kv_disk_bytes=2**26)


@pytest.fixture
def engines() -> Iterator[list[Engine]]:
    """Engines that are closed at the end."""
    made: list[Engine] = []
    yield made
    for engine in made:
        engine.close()


class Clock:
    """The engine's time; `passed_s` are added to the real one."""

    passed_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.passed_s


def an_engine(
    options: EngineOptions, engines: list[Engine], loaded: Loaded | None = None, clock: Clock | None = None
) -> Engine:
    engine = Engine(options, loaded=loaded, clock=clock or Clock())
    engines.append(engine)
    return engine


def ids(seed: int, count: int) -> list[int]:
    drawn = np.random.default_rng(seed).integers(1, 512, count)
    return [int(token) for token in drawn]


def ask(
    engine: Engine,
    prompt: list[int],
    *,
    session: str = "",
    tenant: str = "t",
    retention: Retention = PLAIN,
) -> tuple[list[int], Output]:
    """The answer's tokens and the last output. Computing is made dear, so that what is found below is loaded."""
    engine.submit(Generate("r", prompt, PARAMS, tenant=tenant, session=session, retention=retention))
    tokens: list[int] = []
    while engine.has_work():
        engine.scheduler.tips.cost = RecomputeCost(0, 1.0, 0)
        for output in engine.step().outputs:
            tokens += output.token_ids
            last = output
        engine.scheduler.check()
    settle(engine)
    return tokens, last


def settle(engine: Engine) -> None:
    """Let what is being saved be saved."""
    while engine.scheduler.tiers is not None and engine.scheduler.tree.num_locked:
        engine.scheduler.tiers.poll(1.0)


def flood(engine: Engine, count: int = 3) -> None:
    """Others take all the device's slots."""
    for number in range(count):
        ask(engine, ids(1000 + number, SLOTS - 20), tenant="other")


def files(options: EngineOptions) -> list[Path]:
    return sorted(Path(str(options.kv_folder)).rglob(f"*{SUFFIX}"))


def test_a_turn_comes_back_from_host_memory_with_the_same_answer(on_host: EngineOptions, engines: list[Engine]) -> None:
    engine = an_engine(on_host, engines)
    prompt = ids(1, 100)
    answer, _ = ask(engine, prompt, session="s")
    longer = [*prompt, *answer, *ids(2, 10)]
    flood(engine)
    again, last = ask(engine, longer, session="s")
    assert last.usage.host_tokens == last.usage.cached_tokens == 107
    expected, _ = ask(an_engine(dataclasses.replace(on_host, prefix_cache=False, kv_host_bytes=0), engines), longer)
    assert again == expected


def test_a_turn_comes_back_from_disk_after_a_restart(on_disk: EngineOptions, engines: list[Engine]) -> None:
    engine = Engine(on_disk)
    prompt = ids(1, 100)
    answer, _ = ask(engine, prompt, session="s")
    longer = [*prompt, *answer, *ids(2, 10)]
    second, _ = ask(engine, longer, session="s")
    engine.close()
    longest = [*longer, *second, *ids(3, 5)]
    engine = an_engine(on_disk, engines)
    before = engine.stats().computed_tokens
    again, last = ask(engine, longest, session="s")
    assert last.usage.disk_tokens == len(longer) + 7
    assert engine.stats().computed_tokens - before == len(longest) - last.usage.disk_tokens + ANSWER_LEN - 1
    expected, _ = ask(an_engine(dataclasses.replace(on_disk, prefix_cache=False, kv_disk_bytes=0), engines), longest)
    assert again == expected


def test_files_hold_each_token_once_and_are_their_owners_alone(on_disk: EngineOptions, engines: list[Engine]) -> None:
    engine = an_engine(on_disk, engines)
    prompt = ids(1, 100)
    answer, _ = ask(engine, prompt, session="s")
    ask(engine, [*prompt, *answer, *ids(2, 10)], session="s")
    assert len(files(on_disk)) == 2
    assert engine.stats().disk_tokens == 100 + 7 + 1 + 10 + 7
    for file in files(on_disk):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_nothing_is_loaded_for_another_tenant_or_salt(on_disk: EngineOptions, engines: list[Engine]) -> None:
    engine = Engine(on_disk)
    ask(engine, ids(1, 100), session="s", tenant="t")
    engine.close()
    _, last = ask(an_engine(on_disk, engines), ids(1, 100), session="s", tenant="u")
    assert last.usage.cached_tokens == 0
    assert last.missed is not None
    assert (last.missed.at, last.missed.cause) == (0, "new")


def test_what_costs_more_to_load_than_to_compute_is_computed(on_host: EngineOptions, engines: list[Engine]) -> None:
    engine = an_engine(on_host, engines)
    prompt = ids(1, 100)
    ask(engine, prompt, session="s")
    flood(engine)
    engine.submit(Generate("r", prompt, PARAMS, tenant="t", session="s"))
    while engine.has_work():
        engine.scheduler.tips.cost = RecomputeCost(0, 1e-12, 0)
        outputs = engine.step().outputs
    settle(engine)
    assert outputs[-1].usage.cached_tokens == 0
    assert outputs[-1].missed is not None
    assert (outputs[-1].missed.cause, outputs[-1].missed.at) == ("demoted", 0)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_a_damaged_file_costs_a_computation_and_no_answer(
    damage: str, on_disk: EngineOptions, engines: list[Engine]
) -> None:
    engine = Engine(on_disk)
    prompt = ids(1, 100)
    answer, _ = ask(engine, prompt, session="s")
    engine.close()
    (file,) = files(on_disk)
    content = bytearray(file.read_bytes())
    content[-40] ^= 1
    if damage == "flip":
        file.write_bytes(content)
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        file.write_bytes(b"")
    engine = an_engine(on_disk, engines)
    if damage == "gone":
        file.unlink()
    again, last = ask(engine, prompt, session="s")
    assert again == answer
    assert last.usage.disk_tokens == 0
    ask(engine, [*prompt, *again, 5], session="s")


def test_state_of_other_settings_is_not_read(on_disk: EngineOptions, engines: list[Engine]) -> None:
    engine = Engine(on_disk)
    ask(engine, ids(1, 100), session="s")
    engine.close()
    other = an_engine(dataclasses.replace(on_disk, kv_dtype="float16"), engines)
    _, last = ask(other, ids(1, 100), session="s")
    assert last.usage.cached_tokens == 0


def test_one_engine_uses_a_folder(on_disk: EngineOptions, engines: list[Engine]) -> None:
    an_engine(on_disk, engines)
    with pytest.raises(EngineError, match="another engine"):
        Engine(on_disk)


def test_without_a_folder_files_lie_in_the_data_directory(
    on_disk: EngineOptions, engines: list[Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESPALIER_DATA_DIR", str(tmp_path / "data"))
    an_engine(dataclasses.replace(on_disk, kv_folder=None), engines)
    assert (tmp_path / "data" / "kv").is_dir()


def test_a_disk_without_a_folder_is_refused(on_disk: EngineOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ESPALIER_DATA_DIR", raising=False)
    with pytest.raises(EngineError, match="--kv-folder"):
        Engine(dataclasses.replace(on_disk, kv_folder=None))


def test_the_disk_stays_within_its_bound(on_disk: EngineOptions, engines: list[Engine]) -> None:
    engine = an_engine(dataclasses.replace(on_disk, kv_disk_bytes=bytes_of(on_disk, 700)), engines)
    for number in range(12):
        ask(engine, ids(number, 100), session=str(number))
    engine.close()
    engines.clear()
    assert 0 < sum(file.stat().st_size for file in files(on_disk)) <= bytes_of(on_disk, 700)


def test_the_host_tier_stays_within_its_slots_and_loses_none(on_host: EngineOptions, engines: list[Engine]) -> None:
    engine = an_engine(on_host, engines)
    for number in range(20):
        ask(engine, ids(number, 100), session=str(number))
        assert engine.stats().host_tokens <= 1000
    _, last = ask(engine, ids(19, 100), session="19")
    assert last.usage.cached_tokens == 99


def test_what_is_forgotten_is_in_no_tier_and_no_file(on_disk: EngineOptions, engines: list[Engine]) -> None:
    both = dataclasses.replace(on_disk, kv_host_bytes=bytes_of(on_disk, 1000))
    engine = an_engine(both, engines)
    shared, prompt = ids(7, 40), ids(1, 60)
    answer, _ = ask(engine, [*shared, *prompt], session="s")
    ask(engine, [*shared, *ids(2, 60)], session="other")
    engine.note(Forget("t", "", [*shared, *prompt, *answer], "s"))
    settle(engine)
    engine.close()
    engines.clear()
    secret = np.array(prompt[:8], dtype=np.int32).tobytes()
    assert files(both)
    assert not any(secret in file.read_bytes() for file in files(both))
    engine = an_engine(both, engines)
    _, last = ask(engine, [*shared, *prompt], session="s")
    assert last.usage.cached_tokens == 40
    assert last.missed is not None
    assert last.missed.cause == "new"


def test_an_aborted_request_leaves_what_it_was_loading(on_disk: EngineOptions, engines: list[Engine]) -> None:
    engine = Engine(on_disk)
    prompt = ids(1, 100)
    ask(engine, prompt, session="s")
    engine.close()
    engine = an_engine(on_disk, engines)
    engine.scheduler.tips.cost = RecomputeCost(0, 1.0, 0)
    engine.submit(Generate("r", prompt, PARAMS, tenant="t", session="s"))
    engine.step()
    engine.abort("r")
    while engine.has_work() or not engine.scheduler.is_idle():
        engine.step()
        engine.scheduler.check()
    _, last = ask(engine, prompt, session="s")
    assert last.usage.cached_tokens == 99


def test_what_stays_in_memory_is_in_host_memory_and_in_no_file(on_disk: EngineOptions, engines: list[Engine]) -> None:
    both = dataclasses.replace(on_disk, kv_host_bytes=bytes_of(on_disk, 1000))
    engine = an_engine(both, engines)
    ask(engine, ids(1, 100), session="s", retention=IN_MEMORY)
    assert (engine.stats().host_tokens, engine.stats().disk_tokens) == (107, 0)
    assert files(both) == []


def test_a_turn_may_be_written_that_continues_one_that_stayed_in_memory(
    on_disk: EngineOptions, engines: list[Engine]
) -> None:
    engine = an_engine(on_disk, engines)
    answer, _ = ask(engine, ids(1, 100), session="s", retention=IN_MEMORY)
    ask(engine, [*ids(1, 100), *answer, *ids(2, 10)], session="s")
    assert engine.stats().disk_tokens == 100 + 8 + 10 + 7


def test_what_is_to_be_kept_is_saved_without_a_session_and_removed_after_its_time(
    on_disk: EngineOptions, engines: list[Engine]
) -> None:
    both, clock = dataclasses.replace(on_disk, kv_host_bytes=bytes_of(on_disk, 1000)), Clock()
    engine = an_engine(both, engines, clock=clock)
    ask(engine, ids(1, 100), retention=A_DAY)
    ask(engine, ids(2, 100), session="s")
    assert (engine.stats().host_tokens, len(files(both))) == (214, 2)
    clock.passed_s = DAY_S - 60
    engine.expire()
    assert (engine.stats().host_tokens, engine.stats().disk_tokens) == (214, 214)
    clock.passed_s = DAY_S + 60
    engine.expire()
    assert (engine.stats().host_tokens, engine.stats().disk_tokens) == (107, 107)
    engine.close()
    engines.clear()
    assert len(files(both)) == 1


def test_a_later_request_keeps_what_it_shares_and_a_session_for_ever(
    on_disk: EngineOptions, engines: list[Engine]
) -> None:
    clock = Clock()
    engine = an_engine(on_disk, engines, clock=clock)
    prompt = ids(1, 100)
    for more in (2, 3):
        ask(engine, [*prompt, *ids(more, 10)], retention=A_DAY)
        clock.passed_s += DAY_S / 2
    ask(engine, [*prompt[:50], *ids(4, 10)], session="s")
    clock.passed_s = DAY_S + 60
    engine.expire()
    assert engine.stats().disk_tokens == 117 + 17
    clock.passed_s = 2 * DAY_S
    engine.expire()
    assert engine.stats().disk_tokens == 50 + 17
    engine.close()
    engines.clear()
    again, last = ask(an_engine(on_disk, engines), [*prompt[:50], *ids(4, 10)], session="s")
    assert last.usage.disk_tokens == 59 and len(again) == ANSWER_LEN


@pytest.mark.parametrize("later", [A_DAY, PLAIN])
def test_a_request_that_ends_as_one_before_keeps_its_state_as_long_as_it_wishes_over_a_restart(
    on_disk: EngineOptions, engines: list[Engine], later: Retention
) -> None:
    clock = Clock()
    engine = an_engine(on_disk, engines, clock=clock)
    ask(engine, ids(1, 100), retention=A_DAY)
    clock.passed_s = DAY_S / 2
    ask(engine, ids(1, 100), session="s", retention=later)
    engine.close()
    engines.clear()
    after = Clock()
    engine = an_engine(on_disk, engines, clock=after)
    after.passed_s = 1.25 * DAY_S
    engine.expire()
    assert engine.stats().disk_tokens == 107
    after.passed_s = 1.75 * DAY_S
    engine.expire()
    assert engine.stats().disk_tokens == (107 if later is PLAIN else 0)


def test_what_is_to_be_kept_outlasts_what_is_used_later(on_host: EngineOptions, engines: list[Engine]) -> None:
    engine = an_engine(on_host, engines)
    prompt = ids(99, 100)
    ask(engine, prompt, retention=A_DAY)
    for number in range(20):
        ask(engine, ids(number, 100), session=str(number))
    _, last = ask(engine, prompt)
    assert last.usage.host_tokens == 99


def test_the_oldest_goes_where_all_is_to_be_kept(on_host: EngineOptions, engines: list[Engine]) -> None:
    engine = an_engine(on_host, engines)
    for number in range(20):
        ask(engine, ids(number, 100), retention=A_DAY)
    flood(engine)
    assert ask(engine, ids(19, 100))[1].usage.host_tokens == 99
    assert ask(engine, ids(0, 100))[1].usage.host_tokens == 0


def test_a_tenants_flood_leaves_what_others_have_on_disk(on_disk: EngineOptions, engines: list[Engine]) -> None:
    bounded = dataclasses.replace(on_disk, kv_disk_bytes=bytes_of(on_disk, 700))
    engine = an_engine(bounded, engines)
    ask(engine, ids(99, 100), session="s")
    for number in range(12):
        ask(engine, ids(number, 100), session=str(number), tenant="other")
    engine.close()
    engines.clear()
    _, last = ask(an_engine(bounded, engines), ids(99, 100), session="s")
    assert last.usage.disk_tokens == 99
