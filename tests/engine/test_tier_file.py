"""Files of attention state, and the index over them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from espalier.engine.disk_tier import DiskTier, Piece
from espalier.engine.tier_file import (
    SUFFIX,
    RunFile,
    RunHeader,
    TierFileError,
    read_header,
    read_run,
    renew_run,
    shorten_run,
    write_run,
)
from espalier.engine.tier_worker import Job, Outcome, TierWorker
from espalier.radix import Root
from espalier.radix.run import Ids

ROOT = Root("t", "")


def ids(*tokens: int) -> Ids:
    return np.array(tokens, dtype=np.int32)


def write(
    folder: Path,
    tokens: Ids,
    *,
    begin: int = 0,
    parent: str = "",
    expires_at: float | None = None,
    tenant: str = "t",
) -> RunFile:
    k = torch.arange(2 * len(tokens) * 3 * 4, dtype=torch.float32).view(2, len(tokens), 3, 4)
    return write_run(folder, RunHeader(tenant, "", parent, begin, len(tokens), expires_at), tokens, k, -k)


def path_of(folder: Path, file: RunFile) -> Path:
    return folder / f"{file.name}{SUFFIX}"


def told(file: RunFile) -> object:
    """All of it, to compare."""
    return (file.name, file.num_bytes, file.content_bytes, file.header, file.token_ids.tolist())


class Disk:
    """A folder and its index; what is to be done to files is done at once."""

    def __init__(
        self, folder: Path, limit_bytes: int = 10**9, *, epoch_s: float = 0.0, capacity: int | None = None
    ) -> None:
        self.folder = folder
        self.shortened: list[tuple[str, int]] = []
        self.tier = DiskTier(
            folder,
            limit_bytes,
            self._remove,
            self._shorten,
            lambda name, expires_at: renew_run(folder / f"{name}{SUFFIX}", expires_at),
            epoch_s=epoch_s,
            capacity=capacity,
        )

    def save(self, *tokens: int, expires: float = math.inf, tenant: str = "t", now: float = 0.0) -> RunFile:
        """Write what of a path isn't there yet."""
        pieces = self.tier.keep(Root(tenant), ids(*tokens), now, expires)
        have, parent = sum(piece.end - piece.begin for piece in pieces), pieces[-1].name if pieces else ""
        at = self.tier.expires_at(expires)
        file = write(self.folder, ids(*tokens[have:]), begin=have, parent=parent, expires_at=at, tenant=tenant)
        assert self.tier.insert(file, ids(*tokens), now)
        self.tier.tree.check()
        return file

    def _shorten(self, name: str, count: int) -> None:
        self.shortened.append((name, count))
        shorten_run(self.folder / f"{name}{SUFFIX}", count)

    def num_bytes(self) -> int:
        """What the files take."""
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def tokens(self) -> list[int]:
        """All that the files hold."""
        return sorted(token for path in self.folder.iterdir() for token in read_run(path)[0].tolist())

    def _remove(self, name: str) -> None:
        (self.folder / f"{name}{SUFFIX}").unlink(missing_ok=True)


def test_a_run_comes_back_as_it_was_written(tmp_path: Path) -> None:
    file = write(tmp_path, ids(5, 6, 7), begin=4, parent="p")
    tokens, k, v = read_run(path_of(tmp_path, file))
    assert tokens.tolist() == [5, 6, 7]
    assert torch.equal(k, torch.arange(72.0).view(2, 3, 3, 4))
    assert torch.equal(v, -k)
    known = read_header(path_of(tmp_path, file))
    assert (known.header, known.num_bytes) == (file.header, path_of(tmp_path, file).stat().st_size)


def test_any_flipped_bit_is_seen(tmp_path: Path) -> None:
    path = path_of(tmp_path, write(tmp_path, ids(5, 6, 7)))
    content = path.read_bytes()
    for at in range(8, len(content), 11):
        path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        with pytest.raises(TierFileError):
            read_run(path)


def test_a_shortened_run_holds_nothing_of_what_was_cut(tmp_path: Path) -> None:
    file = write(tmp_path, ids(5, 6, 1234567))
    shorten_run(path_of(tmp_path, file), 2)
    tokens, k, _ = read_run(path_of(tmp_path, file))
    assert (tokens.tolist(), k.shape[1]) == ([5, 6], 2)
    assert ids(1234567).tobytes() not in path_of(tmp_path, file).read_bytes()
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_said_of_a_shortened_run_is_true_but_for_a_few_bytes(tmp_path: Path) -> None:
    file = write(tmp_path, ids(*range(2000)))
    assert read_header(path_of(tmp_path, file)).content_bytes == file.content_bytes
    for count in (1999, 1000, 99, 1):
        file = file.first(count)
        shorten_run(path_of(tmp_path, file), count)
        there = read_header(path_of(tmp_path, file))
        assert there.header == file.header and there.content_bytes == file.content_bytes
        assert there.num_bytes <= file.num_bytes <= there.num_bytes + 100
        assert np.array_equal(there.token_ids, file.token_ids)


def test_a_run_that_cannot_be_shortened_goes_whole(tmp_path: Path) -> None:
    path = path_of(tmp_path, write(tmp_path, ids(5, 6, 7)))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 4]))
    with pytest.raises(TierFileError):
        shorten_run(path, 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("times", [(1050.0, 2050.5), (1050.0, None), (None, 1.7e9 + 0.25)])
def test_a_renewed_run_says_another_time_and_holds_the_same(
    tmp_path: Path, times: tuple[float | None, float | None]
) -> None:
    file = write(tmp_path, ids(5, 6, 7), begin=2, parent="p", expires_at=times[0], tenant='a"expires_at":"')
    path = path_of(tmp_path, file)
    assert told(read_header(path)) == told(file)
    content = read_run(path)
    for time_ in times[::-1]:
        renew_run(path, time_)
        assert told(read_header(path)) == told(replace(file, header=replace(file.header, expires_at=time_)))
        assert [part.tolist() for part in read_run(path)] == [part.tolist() for part in content]


def test_a_time_that_was_torn_is_seen_without_reading_all(tmp_path: Path) -> None:
    path = path_of(tmp_path, write(tmp_path, ids(5, 6, 7), expires_at=1050.0))
    path.write_bytes(path.read_bytes().replace(b"1050.000000", b"2050.000000"))
    for read in (read_header, read_run):
        with pytest.raises(TierFileError):
            read(path)


def test_a_path_is_found_in_the_files_that_hold_it(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    first, second = disk.save(1, 2, 3, 4), disk.save(1, 2, 3, 4, 5, 6)
    branch = disk.save(1, 2, 9)
    assert disk.tier.match(ROOT, ids(1, 2, 3, 4, 5, 6, 7), 0) == [Piece(first.name, 0, 4), Piece(second.name, 0, 2)]
    assert disk.tier.match(ROOT, ids(1, 2, 9, 9), 0) == [Piece(first.name, 0, 2), Piece(branch.name, 0, 1)]
    assert disk.tier.match(Root("u", ""), ids(1, 2), 0) == []


def test_a_restart_finds_what_was_there_and_removes_what_hangs_in_the_air(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    first, second, third = disk.save(1, 2, 3, 4), disk.save(1, 2, 3, 4, 5, 6), disk.save(1, 2, 3, 9)
    (tmp_path / "torn.part").write_bytes(b"x")
    again = Disk(tmp_path)
    again.tier.restore(0)
    assert again.tier.match(ROOT, ids(1, 2, 3, 4, 5, 6), 0) == [Piece(first.name, 0, 4), Piece(second.name, 0, 2)]
    assert again.tier.match(ROOT, ids(1, 2, 3, 9), 0) == [Piece(first.name, 0, 3), Piece(third.name, 0, 1)]
    path_of(tmp_path, first).unlink()
    last = Disk(tmp_path)
    last.tier.restore(0)
    assert last.tier.tree.num_tokens == 0
    assert list(tmp_path.iterdir()) == []


def test_a_file_says_until_when_it_is_wanted_whatever_clock_its_reader_has(tmp_path: Path) -> None:
    disk = Disk(tmp_path, epoch_s=1000.0)
    first, second = disk.save(1, 2, expires=50), disk.save(1, 2, 3, expires=60)
    plain = disk.save(4, 5)
    assert read_header(path_of(tmp_path, first)).header.expires_at == 1050
    again = Disk(tmp_path, epoch_s=1020.0)
    again.tier.restore(35)
    assert again.tier.match(ROOT, ids(1, 2, 3), 36) == [Piece(first.name, 0, 2), Piece(second.name, 0, 1)]
    again.tier.expire(40)
    assert [path.name for path in tmp_path.iterdir()] == [path_of(tmp_path, plain).name]
    assert again.tier.num_bytes == plain.num_bytes


def restarted(disk: Disk, now: float) -> Disk:
    again = Disk(disk.folder, epoch_s=1000.0)
    again.tier.restore(now)
    return again


@pytest.mark.parametrize("later", [80.0, math.inf])
def test_what_is_kept_longer_than_it_was_saved_for_is_there_after_a_restart(tmp_path: Path, later: float) -> None:
    disk = Disk(tmp_path, epoch_s=1000.0)
    first, second = disk.save(1, 2, expires=50), disk.save(1, 2, 3, expires=50)
    disk.save(1, 2, 4, expires=50)
    disk.tier.keep(ROOT, ids(1, 2, 3), 10, later)
    disk.tier.keep(ROOT, ids(1, 2, 3), 10, 60)
    whole = [Piece(first.name, 0, 2), Piece(second.name, 0, 1)]
    assert restarted(disk, 70).tier.match(ROOT, ids(1, 2, 3), 70) == whole
    assert disk.tokens() == [1, 2, 3]
    assert restarted(disk, 90).tier.match(ROOT, ids(1, 2, 3), 90) == ([] if later == 80 else whole)


def test_what_lies_behind_a_path_in_its_file_is_kept_no_longer_than_it_was_saved_for(tmp_path: Path) -> None:
    disk = Disk(tmp_path, epoch_s=1000.0)
    disk.save(1, 2, 3, 4, expires=50)
    disk.tier.keep(ROOT, ids(1, 2), 10, math.inf)
    disk.tier.expire(30)
    restarted(disk, 70)
    assert disk.tokens() == []


def test_what_was_cut_from_a_file_does_not_count_when_its_beginning_is_kept_longer(tmp_path: Path) -> None:
    disk = Disk(tmp_path, epoch_s=1000.0)
    disk.save(1, 2, 3, 4, expires=50)
    disk.tier.keep(ROOT, ids(1, 2), 10, math.inf)
    disk.tier.expire(60)
    disk.tier.keep(ROOT, ids(1, 2), 60, math.inf)
    restarted(disk, 70)
    assert disk.tokens() == [1, 2]


def test_of_two_that_save_the_same_at_once_the_longer_time_counts(tmp_path: Path) -> None:
    disk = Disk(tmp_path, epoch_s=1000.0)
    for expires_at in (1050.0, None):
        assert disk.tier.insert(write(tmp_path, ids(1, 2), expires_at=expires_at), ids(1, 2), 0)
    disk.tier.expire(60)
    assert disk.tokens() == [1, 2]
    assert restarted(disk, 60).tier.match(ROOT, ids(1, 2), 60) != []


def test_at_a_restart_what_is_over_goes_and_what_others_continue_stays(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    first, _ = disk.save(1, 2, 3, 4, expires=50), disk.save(7, 8, expires=50)
    second = disk.save(1, 2, 9)
    again = Disk(tmp_path)
    again.tier.restore(50)
    assert again.tier.match(ROOT, ids(1, 2, 9), 50) == [Piece(first.name, 0, 2), Piece(second.name, 0, 1)]
    assert again.tier.match(ROOT, ids(1, 2, 3), 50) == [Piece(first.name, 0, 2)]
    assert (again.shortened, again.tier.match(ROOT, ids(7, 8), 50)) == ([(first.name, 2)], [])


def test_over_the_limit_whole_files_go(tmp_path: Path) -> None:
    size = path_of(tmp_path, write(tmp_path, ids(1, 2, 3))).stat().st_size
    for path in tmp_path.iterdir():
        path.unlink()
    disk = Disk(tmp_path, limit_bytes=3 * size + 100)
    for number in range(10):
        disk.save(number, 2, 3)
    assert disk.tier.num_bytes == sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3 * size + 100
    assert disk.tier.tree.num_tokens > 0


@pytest.fixture
def branched(tmp_path: Path) -> Disk:
    """A disk that had room for a file's beginning, with which another goes on, no longer for its end."""
    disk = Disk(tmp_path)
    disk.save(1, 2, *range(30, 90), expires=50)
    disk.save(1, 2, 9, 10, 11, 12, 13)
    disk.tier.match(ROOT, ids(1, 2, 9, 10, 11, 12, 13), 100)
    disk.tier.limit_bytes = disk.tier.num_bytes
    disk.save(100, expires=500, now=40)
    return disk


def test_what_goes_for_the_limit_goes_from_disk_and_no_more_than_is_needed(branched: Disk) -> None:
    assert branched.tokens() == [1, 2, 9, 10, 11, 12, 13, 100]
    assert branched.num_bytes() <= branched.tier.num_bytes <= branched.tier.limit_bytes
    again = Disk(branched.folder)
    again.tier.restore(45)
    assert again.tier.tree.num_tokens == branched.tier.tree.num_tokens == 8
    assert again.tier.num_bytes == branched.num_bytes()


def test_nothing_is_left_on_disk_past_its_time_after_the_limit_was_reached(branched: Disk) -> None:
    branched.tier.expire(1000)
    assert branched.tokens() == [1, 2, 9, 10, 11, 12, 13]


def test_what_is_forgotten_is_gone_from_disk_after_the_limit_was_reached(branched: Disk) -> None:
    branched.tier.forget(ROOT, ids(1, 2, *range(30, 90)), 45)
    assert branched.tokens() == [1, 2, 9, 10, 11, 12, 13, 100]
    branched.tier.forget(ROOT, ids(1, 2, 9, 10, 11, 12, 13), 45)
    assert branched.tokens() == [100]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_the_files_hold_what_the_index_does(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    disk, now = Disk(tmp_path, epoch_s=1000.0), 0.0
    paths = [ids(*rng.integers(1, 3, rng.integers(1, 12)).tolist()) for _ in range(30)]
    for _ in range(150):
        now += 1
        path, what = paths[rng.integers(len(paths))], rng.random()
        if what < 0.15:
            disk.tier.forget(ROOT, path, now)
        elif what < 0.25:
            disk.tier.expire(now)
        elif what < 0.3:
            limit_bytes, disk = disk.tier.limit_bytes, restarted(disk, now)
            disk.tier.limit_bytes = limit_bytes
        elif sum(piece.end - piece.begin for piece in disk.tier.match(ROOT, path, now)) < len(path):
            expires = now + float(rng.choice([5.0, 50.0, math.inf]))
            disk.save(*path.tolist(), expires=expires, now=now)
            disk.tier.limit_bytes = 8000
        else:
            disk.tier.keep(ROOT, path, now, now + 20)
        held = {path.name.removesuffix(SUFFIX): read_run(path)[0] for path in tmp_path.iterdir()}
        assert sum(map(len, held.values())) == disk.tier.tree.num_tokens
        assert disk.num_bytes() <= disk.tier.num_bytes <= disk.num_bytes() + 100 * len(held)
        for known in paths:
            pieces = disk.tier.match(ROOT, known, now)
            found = [token for name, begin, end in pieces for token in held[name][begin:end].tolist()]
            assert found == known[: len(found)].tolist()


def has(disk: Disk, tenant: str, *tokens: int, now: float = 0.0) -> bool:
    return bool(disk.tier.match(Root(tenant), ids(*tokens), now))


@pytest.fixture
def room_for_twelve(tmp_path: Path) -> Disk:
    """A disk of twelve files of three tokens."""
    path = path_of(tmp_path, write(tmp_path, ids(1, 2, 3)))
    size = path.stat().st_size
    path.unlink()
    return Disk(tmp_path, 12 * size + 100, capacity=36)


@pytest.mark.parametrize("away_s", [1.0, 1e6])
def test_a_flood_takes_none_of_what_others_saved_within_their_shares(room_for_twelve: Disk, away_s: float) -> None:
    disk = room_for_twelve
    for number in range(6):
        disk.save(number, 2, 3, tenant="a")
    for number in range(50):
        disk.save(number, 2, 3, tenant="b", now=away_s + number)
    assert all(has(disk, "a", number, 2, 3) for number in range(6))
    assert [number for number in range(50) if has(disk, "b", number)] == list(range(44, 50))


def test_a_flood_that_was_first_gives_a_newcomer_its_share(room_for_twelve: Disk) -> None:
    disk = room_for_twelve
    for number in range(50):
        disk.save(number, 2, 3, tenant="b", now=number)
    for number in range(20):
        disk.save(number, 2, 3, tenant="a", now=60 + number)
    kept = {tenant: [number for number in range(50) if has(disk, tenant, number)] for tenant in "ab"}
    assert kept == {"a": list(range(14, 20)), "b": list(range(44, 50))}


def test_what_is_to_be_kept_takes_no_more_than_a_share(room_for_twelve: Disk) -> None:
    disk = room_for_twelve
    for number in range(6):
        disk.save(number, 2, 3, tenant="a")
    for number in range(20):
        disk.save(number, 2, 3, tenant="b", expires=1000.0 + number)
    assert all(has(disk, "a", number, 2, 3) for number in range(6))
    assert [number for number in range(20) if has(disk, "b", number)] == list(range(14, 20))


def test_a_full_disk_gives_up_one_file_for_one(room_for_twelve: Disk) -> None:
    disk = room_for_twelve
    for number in range(30):
        disk.save(number, 2, 3)
        assert disk.tier.tree.num_tokens == 3 * min(number + 1, 12)


def test_what_is_forgotten_in_the_middle_of_a_file_is_cut_from_it(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    first = disk.save(1, 2, 3, 4)
    branch = disk.save(1, 2, 9)
    disk.tier.forget(ROOT, ids(1, 2, 3, 4), 0)
    assert disk.shortened == [(first.name, 2)]
    assert disk.tier.match(ROOT, ids(1, 2, 9), 0) == [Piece(first.name, 0, 2), Piece(branch.name, 0, 1)]
    disk.tier.forget(ROOT, ids(1, 2, 9), 0)
    assert list(tmp_path.iterdir()) == []


def test_a_lost_file_takes_all_with_it_that_is_computed_behind_it(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    first, second = disk.save(1, 2), disk.save(1, 2, 3, 4)
    disk.save(1, 2, 3, 4, 5)
    disk.save(1, 2, 3, 8)
    disk.tier.lose(second.name, ROOT, ids(1, 2, 3, 4, 5), 0)
    assert disk.tier.match(ROOT, ids(1, 2, 3, 8), 0) == [Piece(first.name, 0, 2)]
    assert [path.name for path in tmp_path.iterdir()] == [path_of(tmp_path, first).name]
    disk.save(1, 2, 3, 8)


def test_a_file_whose_beginning_went_meanwhile_is_not_taken_in(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    first = disk.save(1, 2)
    late = write(tmp_path, ids(3, 4), begin=2, parent=first.name)
    disk.tier.forget(ROOT, ids(1, 2), 0)
    assert not disk.tier.insert(late, ids(1, 2, 3, 4), 0)
    assert list(tmp_path.iterdir()) == []


def test_jobs_are_done_where_they_are_polled_urgent_ones_first() -> None:
    clock = iter(range(1000))
    worker = TierWorker(lambda: float(next(clock)))
    told: list[tuple[str, Outcome]] = []

    def fail() -> None:
        raise ValueError("no")

    worker.submit(Job(lambda: None, lambda outcome: told.append(("good", outcome))), is_urgent=True)
    worker.submit(Job(fail, lambda outcome: told.append(("bad", outcome))), is_urgent=False)
    assert told == []
    worker.close()
    assert told[0] == ("good", 1.0)
    assert isinstance(told[1][1], ValueError)
    assert worker.num_open == 0
