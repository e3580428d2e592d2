"""The grammar walk against `Rows.advance` applied to every token, and against the cursors' own masks."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
import torch

from espalier.grammar import AnyConstraint, Cursor, Json, Rows, compile_grammar
from espalier.kernels.automaton import (
    BRANCH,
    HOST,
    NOTHING,
    RETURN,
    ROOM,
    STATE,
    TOKEN,
    Automaton,
    Places,
    Slices,
    Trie,
)  # fmt: skip
from espalier.kernels.errors import KernelError
from espalier.kernels.grammar_slice import Slice, join_slices, make_slice
from espalier.kernels.grammar_walk import Masks, grammar_advance, grammar_misses, grammar_walk
from tests.grammar.keyword_schemas import SCHEMAS
from tests.grammar.small import END, SMALL, TOKENS, masked
from tests.grammar.test_mask import COMPOSED
from tests.grammar.walk import OPTIONS
from tests.kernels.automata import Place, automaton_of, make_all, on, places_of, texts_of, trie_of, walked
from tests.kernels.triton_compile import SHARED_BYTES_OF_SM90, Kernel, compile_all

CONSTRAINTS: dict[str, AnyConstraint] = {
    **{name: OPTIONS[place % len(OPTIONS)].constraint(schema) for place, (name, schema) in enumerate(SCHEMAS.items())},
    **COMPOSED,
}
SAMPLE = [name for place, name in enumerate(CONSTRAINTS) if place % 12 == 0 or name in COMPOSED]
ALL = [name if name in SAMPLE else pytest.param(name, marks=pytest.mark.slow) for name in CONSTRAINTS]
# The interpreter is slow: of what has many tokens one is enough.
FEW = [
    "any",
    "numbers",
    "items",
    "unevaluated items",
    "tools",
    "choice",
    "text until bytes",
    "strings in a row",
    "special",
]
FEW_OF_ALL = [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in CONSTRAINTS]
TRIE = trie_of(SMALL)
COMPLETE: Place = (0, ())


def walk(rows: Rows, batch: list[list[Place]], device: str = "cpu") -> Masks:
    return grammar_walk(
        on(automaton_of(rows), device),
        on(TRIE, device),
        on(places_of(batch), device),
        num_rows=len(batch),
        num_words=SMALL.num_words,
    )


def tokens_of(masks: Masks, row: int) -> set[int]:
    return set(SMALL.unpacked(masks.words[row].cpu().numpy()).tolist())


def collect(name: str, rows: Rows, steps: int, seed: int = 0) -> list[tuple[Cursor, list[Place]]]:
    """Cursors along a random instance, and their places."""
    rng, cursor, found = Random(f"{name}{seed}"), compile_grammar(CONSTRAINTS[name], SMALL, [END]).start(), []
    for _ in range(steps):
        found.append((cursor.copy(), cursor.places(rows)))
        token = rng.choice(masked(cursor))
        if token == END:
            break
        cursor.accept(token)
    return found


def check_against_rows(rows: Rows, batch: list[list[Place]], masks: Masks) -> None:
    """Masks and misses are those of `Rows.advance`."""
    place_index = 0
    for row, places in enumerate(batch):
        found = [walked(rows, place, SMALL) for place in places]
        assert bool(masks.missed[row]) == any(misses for _, misses in found)
        if not masks.missed[row]:
            assert tokens_of(masks, row) == set().union(*(allowed for allowed, _ in found))
        for _, misses in found:
            kind, number, detail = masks.miss[place_index].tolist()
            known = {(STATE, m.state, 0) if m.state is not None else (RETURN, m.back, m.outcome) for m in misses}
            assert (kind, number, detail) in known if misses else kind == NOTHING
            place_index += 1


def listed(places: Places, row: int) -> list[Place]:
    """The places of one row."""
    mine = ((places.owner == row) & (places.state >= 0)).nonzero().flatten().tolist()
    return [(int(places.state[p]), tuple(places.stack[p, : places.depth[p]].tolist())) for p in mine]


@pytest.mark.parametrize("name", ALL)
def test_masks_are_those_of_rows_and_of_cursors_along_instances(name: str) -> None:
    rows = Rows()
    found = collect(name, rows, steps=12)
    batch = [places for _, places in found]
    check_against_rows(rows, batch, walk(rows, batch))
    for places in batch:
        for place in places:
            make_all(rows, place, SMALL)
    masks = walk(rows, batch)
    check_against_rows(rows, batch, masks)
    for row, (cursor, _) in enumerate(found):
        if not masks.missed[row]:
            assert tokens_of(masks, row) == {token for token in masked(cursor) if TOKENS[token]}
        assert bool(masks.is_complete[row]) == cursor.is_complete()


@pytest.mark.parametrize("name", ALL)
def test_places_behind_tokens_are_those_of_cursors(name: str) -> None:
    rows, (first, text) = Rows(), texts_of(SMALL)
    cursors = [cursor for cursor, _ in collect(name, rows, steps=10, seed=1)]
    batch = [cursor.places(rows) for cursor in cursors]
    for places in batch:
        for place in places:
            make_all(rows, place, SMALL)
    rng = Random(name)
    chosen = [rng.choice([token for token in masked(cursor) if TOKENS[token]] or [-1]) for cursor in cursors]
    expected = []
    for cursor, token in zip(cursors, chosen, strict=True):
        if token >= 0:
            cursor.accept(token)
        # A reading whose answer is complete need not be a place of its own.
        expected.append((sorted(set(cursor.places(rows)) - {COMPLETE}), cursor.is_complete()))
    after = grammar_advance(
        automaton_of(rows), places_of(batch, depth=20), torch.tensor(chosen, dtype=torch.int32), first, text
    )
    masks = grammar_walk(automaton_of(rows), TRIE, after.places, num_rows=len(batch), num_words=SMALL.num_words)
    for row, (places, is_complete) in enumerate(expected):
        if not after.missed[row]:
            assert sorted(set(listed(after.places, row)) - {COMPLETE}) == places
            assert bool(masks.is_complete[row]) == is_complete


def prepared(name: str, steps: int, seed: int = 0) -> tuple[Rows, list[list[Place]]]:
    """Rows that are made but for what every third place meets, and the places along an instance."""
    rows = Rows()
    batch = [places for _, places in collect(name, rows, steps, seed)]
    for row, places in enumerate(batch):
        for place in places if row % 3 != 2 else []:
            make_all(rows, place, SMALL)
    return rows, batch


@pytest.mark.parametrize("name", FEW_OF_ALL)
def test_the_kernel_finds_what_rows_allow_and_miss(triton_device: str, name: str) -> None:
    rows, batch = prepared(name, steps=6)
    masks = walk(rows, batch, triton_device)
    check_against_rows(rows, batch, masks)
    assert masks.is_complete.tolist() == walk(rows, batch).is_complete.tolist()


@pytest.mark.parametrize("name", FEW_OF_ALL)
def test_the_kernel_moves_places_as_its_twin_does(
    monkeypatch: pytest.MonkeyPatch, triton_device: str, name: str
) -> None:
    rows, batch = prepared(name, steps=8, seed=2)
    rng, (first, text) = Random(name), texts_of(SMALL)
    arguments = []
    for _ in range(3):
        token = torch.tensor([rng.randrange(-1, len(TOKENS)) for _ in batch], dtype=torch.int32)
        arguments.append((automaton_of(rows), places_of(batch, depth=24), token, first, text))
    found = [
        grammar_advance(
            on(automaton, triton_device), on(places, triton_device), *(x.to(triton_device) for x in tensors)
        )
        for automaton, places, *tensors in arguments
    ]
    monkeypatch.setenv("ESPALIER_KERNELS", "torch")
    for after, given in zip(found, arguments, strict=True):
        expected = grammar_advance(*given)
        assert torch.equal(after.missed.cpu(), expected.missed) and torch.equal(after.miss.cpu(), expected.miss)
        moved = on(after.places, "cpu")
        for row in (~expected.missed).nonzero().flatten().tolist():
            assert listed(moved, row) == listed(expected.places, row)


@pytest.mark.parametrize("name", ALL)
def test_making_what_is_missed_leaves_only_what_is_the_hosts(name: str) -> None:
    rows = Rows()
    batch = [places for _, places in collect(name, rows, steps=6, seed=3)]
    known, last = set[tuple[int, ...]](), set[tuple[int, ...]]()
    while True:
        found = grammar_misses(automaton_of(rows), TRIE, places_of(batch), num_words=SMALL.num_words).tolist()
        last = {tuple(miss) for miss in found}
        if last <= known:
            break
        known |= last
        for kind, number, detail in last:
            if kind == STATE:
                rows.make(number)
            else:
                rows.make_resume(number, detail)
    assert all(kind == RETURN and rows.resumes[number, detail] in (HOST, BRANCH) for kind, number, detail in last)
    masks = walk(rows, batch)
    assert {tuple(miss) for miss in masks.miss[masks.miss[:, 0] != NOTHING].tolist()} <= last
    check_against_rows(rows, batch, masks)


def slices_of(rows: Rows, batch: list[list[Place]]) -> Slices:
    """Slices of all states in which a place stands, as far as there can be one; rows are made as needed."""

    def make(numbers: list[int]) -> Automaton:
        for number in numbers:
            rows.make(number)
        return automaton_of(rows)

    found = dict[int, Slice]()
    for state in {state for places in batch for state, _ in places}:
        made = make_slice(automaton_of(rows), TRIE, state, SMALL.num_words, make)
        if made is not None:
            found[state] = made
    return join_slices(found, len(rows.rows), SMALL.num_words, torch.device("cpu"))


def test_a_slice_needs_the_rows_that_it_meets() -> None:
    rows = Rows()
    [(state, _)] = collect("strings in a row", rows, steps=1)[0][1]
    with pytest.raises(KernelError, match=rf"states without rows: \[{state}\]"):
        make_slice(automaton_of(rows), TRIE, state, SMALL.num_words)


@pytest.mark.parametrize("way", ["kernel", "twin"])
@pytest.mark.parametrize("name", ["objects", "patterns of names", "strings in a row", "some calls"])
def test_slices_change_no_mask(monkeypatch: pytest.MonkeyPatch, triton_device: str, name: str, way: str) -> None:
    rows, batch = prepared(name, steps=5)
    slices = slices_of(rows, batch)
    assert int((slices.of_state >= 0).sum()) > 1 and len(slices.node) > 1
    if way == "twin":
        monkeypatch.setenv("ESPALIER_KERNELS", "torch")
    masks = grammar_walk(
        on(automaton_of(rows), triton_device), on(TRIE, triton_device), on(places_of(batch), triton_device),
        num_rows=len(batch), num_words=SMALL.num_words, slices=on(slices, triton_device),
    )  # fmt: skip
    check_against_rows(rows, batch, masks)


def test_a_walk_that_outgrows_its_memory_is_missed_and_a_slice_helps(triton_device: str) -> None:
    rows, text = Rows(), compile_grammar(Json({"type": "string"}), SMALL).start()
    text.accept_bytes(b'"a')
    batch = [text.places(rows)]
    make_all(rows, batch[0][0], SMALL)
    automaton, places = on(automaton_of(rows), triton_device), on(places_of(batch), triton_device)

    def call(slices: Slices | None) -> Masks:
        return grammar_walk(
            automaton, on(TRIE, triton_device), places,
            num_rows=1, num_words=SMALL.num_words, slices=slices, capacity=65,
        )  # fmt: skip

    few = call(None)
    assert few.missed.tolist() == [True] and few.miss.tolist() == [[ROOM, batch[0][0][0], 0]]
    check_against_rows(rows, batch, call(on(slices_of(rows, batch), triton_device)))


@pytest.mark.parametrize(
    "num", [1, 3, pytest.param(64, marks=pytest.mark.slow), pytest.param(257, marks=pytest.mark.slow)]
)
def test_rows_of_many_grammars_share_a_batch(triton_device: str, num: int) -> None:
    rows, batch = Rows(), list[list[Place]]()
    for name in ("objects", "numbers", "strings in a row", "enum", "text until bytes"):
        batch += [places for _, places in collect(name, rows, steps=4)]
    batch = [batch[7 * row % len(batch)] if row % 9 != 8 else [] for row in range(num)]
    for places in batch[: len(batch) // 2 + 1]:
        for place in places:
            make_all(rows, place, SMALL)
    check_against_rows(rows, batch, walk(rows, batch, triton_device))


def test_tokens_without_bytes_full_stacks_and_rows_that_wait_are_told_apart(triton_device: str) -> None:
    rows, (first, text) = Rows(), texts_of(SMALL)
    cursor = compile_grammar(Json({"items": {"type": "array"}, "type": "array"}), SMALL).start()
    (place,) = cursor.places(rows)
    make_all(rows, place, SMALL)
    batch, brackets = [[place], [place], [place], []], TOKENS.index(b"[[")
    for room, kind in ((1, NOTHING), (0, ROOM)):
        given = on(places_of(batch, depth=len(place[1]) + room), triton_device)
        token = torch.tensor([END, brackets, -1, brackets], dtype=torch.int32, device=triton_device)
        after = grammar_advance(
            on(automaton_of(rows), triton_device), given, token, first.to(triton_device), text.to(triton_device)
        )
        assert after.miss[:, 0].tolist() == [TOKEN, kind, NOTHING]
        assert after.missed.tolist() == [True, kind == ROOM, False, False]
        assert listed(on(after.places, "cpu"), 2) == [place]


def test_what_is_wrong_is_named() -> None:
    rows, batch = prepared("enum", steps=1)
    automaton, places = automaton_of(rows), places_of(batch)

    def call(automaton: Automaton = automaton, trie: Trie = TRIE, places: Places = places) -> None:
        grammar_walk(automaton, trie, places, num_rows=1, num_words=SMALL.num_words)

    with pytest.raises(KernelError, match=r"Automaton.rows is torch.int64"):
        call(automaton=replace(automaton, rows=automaton.rows.long()))
    with pytest.raises(KernelError, match=r"Trie.kids is torch.int64"):
        call(trie=replace(TRIE, kids=TRIE.kids.long()))
    with pytest.raises(KernelError, match=r"Places.stack is torch.int32 \(1,\)"):
        call(places=replace(places, stack=places.stack[:, 0].contiguous()))
    with pytest.raises(KernelError, match="lengths of a Places do not go together"):
        call(places=replace(places, depth=places.depth[:0]))
    with pytest.raises(KernelError, match=r"Places.owner has 3 to 3, 0 to 0 are needed"):
        call(places=replace(places, owner=places.owner + 3))
    with pytest.raises(KernelError, match=r"Places.depth has"):
        call(places=replace(places, depth=places.depth + 1))
    first, text = texts_of(SMALL)
    with pytest.raises(KernelError, match=r"token is torch.int64"):
        grammar_advance(automaton, places, torch.zeros(1, dtype=torch.int64), first, text)


def test_the_kernels_compile_for_sm90_without_spills() -> None:
    ints = (
        "rows ends pushes resumes kid_first kids first tokens place_state place_stack place_depth place_owner slice_of "
        "slice_words slice_first slice_node slice_code slice_outcome queue words may_end miss"
    ).split()
    sizes = ["num_outcomes", "stack_stride", "capacity", "num_words"]
    walk_types = dict.fromkeys(ints, "*i32") | dict.fromkeys(sizes, "i32") | {"is_made": "*u8", "byte_of": "*u8"}
    ints = "rows ends pushes resumes place_state place_stack place_depth place_owner token text_first miss".split()
    sizes = ["num_outcomes", "stack_width", "num_places"]
    advance_types = dict.fromkeys(ints, "*i32") | dict.fromkeys(sizes, "i32") | {"is_made": "*u8", "text": "*u8"}
    module, walk_constants = "espalier.kernels.triton.grammar_walk", {"LANES": 256, "FAN": 4, "WORDS": 1024}
    kernels = [
        Kernel(
            module, "grammar_walk_kernel", walk_types, walk_constants | {"HAS_SLICES": has_slices}, num_warps=8,
            aligned=[name for name, kind in walk_types.items() if kind[0] == "*"],
        )
        for has_slices in (False, True)
    ]  # fmt: skip
    kernels.append(Kernel(module, "grammar_advance_kernel", advance_types, {"PLACES": 32}, num_warps=1))
    for report in compile_all(kernels):
        assert report.spill_bytes == 0
        assert report.shared_bytes <= SHARED_BYTES_OF_SM90
