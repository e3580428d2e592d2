"""A batch of places in schemas and a real vocabulary, with all rows made that can be: what the walk is measured on."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from espalier.gateway.bench.mask_workload import Case, Longest, Tokens
from espalier.grammar import Cursor, GrammarError, Json, RejectedError, Rows, Vocabulary, compile_grammar
from espalier.grammar.rows import DEAD, PUSH, Stack
from espalier.kernels.automaton import STATE, Automaton, Places, Slices, Trie
from espalier.kernels.grammar_slice import Slice, join_slices, make_slice
from espalier.kernels.grammar_walk import grammar_misses

# Bytes that lead on within the frame, from which on a state gets a slice: strings have more, all others less.
BROAD = 64
# What stands where, as shares of the batch.
MIX = {"string": 1 / 3, "number": 1 / 9, "other": 5 / 9}


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """The batch, one place a row.

    `masks` int32 [R, words] is what the host's cursors allow there, the end token left out; `token` int32 [R] one that
    is allowed, -1 where there is none.
    """

    automaton: Automaton
    trie: Trie
    places: Places
    slices: Slices
    masks: Tensor
    token: Tensor
    kinds: Counter[str]


Group = TypeVar("Group", Automaton, Trie, Places, Slices)


def on(group: Group, device: torch.device) -> Group:
    """The same on a device."""
    return replace(group, **{field.name: getattr(group, field.name).to(device) for field in fields(group)})


def workload(tokens: Tokens, end: int, cases: list[Case], num_rows: int, device: torch.device) -> Workload:
    """Places along the cases' instances, of different states as far as there are enough, in the shares of MIX.

    What walks meet is looked for on the device, and made on the host.
    """
    vocabulary, rows = Vocabulary(tokens), Rows()
    found = _chosen(_stops(vocabulary, end, cases, Longest(tokens), rows), num_rows)
    trie = Trie(*(torch.tensor(a) for a in (vocabulary.trie.byte, vocabulary.trie.kid_first, vocabulary.trie.kids,
                                            vocabulary.trie.first, vocabulary.trie.tokens)))  # fmt: skip
    places = _places([place for _, place, _ in found])
    slices = _make_all(rows, trie, places, vocabulary.num_words, device)
    kinds = Counter(kind for kind, _, _ in found)
    masks = _masks([cursor for _, _, cursor in found], end)
    return Workload(_automaton(rows), trie, places, slices, masks, _sampled(masks, tokens), kinds)


def _masks(cursors: list[Cursor], end: int) -> Tensor:
    masks = np.stack([cursor.allowed().mask for cursor in cursors])
    masks[:, end >> 5] &= np.int32(~np.left_shift(1, end & 31, dtype=np.int32))
    return torch.from_numpy(masks)


def _sampled(masks: Tensor, tokens: Tokens) -> Tensor:
    chosen = []
    for bits in np.unpackbits(masks.numpy().view(np.uint8), axis=1, bitorder="little"):
        known = [token for token in np.flatnonzero(bits).tolist() if tokens[token]]
        chosen.append(known[len(known) // 2] if known else -1)
    return torch.tensor(chosen, dtype=torch.int32)


Stop = tuple[str, tuple[int, Stack], Cursor]


def _stops(vocabulary: Vocabulary, end: int, cases: list[Case], longest: Longest, rows: Rows) -> Iterator[Stop]:
    """Each place before a token of an instance where there is one reading, with what stands there."""
    for case in cases:
        for instance in case.instances[:1]:
            try:
                cursor = compile_grammar(Json(case.schema), vocabulary, [end]).start()
            except GrammarError:
                break
            for token in longest(json.dumps(instance, ensure_ascii=False, separators=(",", ":")).encode()):
                places = cursor.places(rows)
                if len(places) == 1:
                    rows.make(places[0][0])
                    yield _kind(rows, places[0][0]), places[0], cursor.copy()
                try:
                    cursor.accept(token)
                except RejectedError:
                    break  # not valid, or its members are in another order than the schema's


def _kind(rows: Rows, state: int) -> str:
    row = rows.rows[state]
    if int(((row != DEAD) & (row < PUSH)).sum()) > BROAD:
        return "string"
    return "number" if rows.ends[state] >= 0 else "other"


def _chosen(stops: Iterator[Stop], num_rows: int) -> list[Stop]:
    """As many of each kind as MIX says, all different if possible."""
    by_kind: dict[str, dict[tuple[int, Stack], Stop]] = {kind: {} for kind in MIX}
    for stop in stops:
        by_kind[stop[0]].setdefault(stop[1], stop)
    source, found = random.Random(0), list[Stop]()
    for kind, share in MIX.items():
        pool = list(by_kind[kind].values())
        count = num_rows - len(found) if kind == "other" else round(share * num_rows)
        found += source.sample(pool, count) if count <= len(pool) else source.choices(pool, k=count)
    source.shuffle(found)
    return found


def _places(places: list[tuple[int, Stack]]) -> Places:
    depth = max(len(stack) for _, stack in places)
    stacks = [[*stack, *[0] * (depth - len(stack))] for _, stack in places]
    columns = [state for state, _ in places], stacks, [len(stack) for _, stack in places], range(len(places))
    return Places(*(torch.tensor(np.array(column, dtype=np.int32)) for column in columns))


def _automaton(rows: Rows) -> Automaton:
    return Automaton(*(torch.from_numpy(a) for a in (rows.rows, rows.is_made, rows.ends, rows.pushes, rows.resumes)))


def _slice_of(rows: Rows, trie: Trie, state: int, num_words: int) -> Slice | None:
    """The slice of a state, with the rows made that its tokens meet: a counter has many more."""

    def make(numbers: list[int]) -> Automaton:
        for number in numbers:
            rows.make(number)
        return _automaton(rows)

    return make_slice(_automaton(rows), trie, state, num_words, make)


def _make_all(rows: Rows, trie: Trie, places: Places, num_words: int, device: torch.device) -> Slices:
    """Make what the walks meet, and slices of the broad states that they begin in, on the device."""
    found = dict[int, Slice]()
    for state in places.state.unique().tolist():
        if _kind(rows, state) == "string" and (made := _slice_of(rows, trie, state, num_words)) is not None:
            found[state] = made
    found = {state: replace(one, **{name: getattr(one, name).to(device) for name in ("words", "node", "code")})
             for state, one in found.items()}  # fmt: skip
    trie, places, known = on(trie, device), on(places, device), set[tuple[int, ...]]()
    while True:
        slices = join_slices(found, len(rows.rows), num_words, device)
        automaton = on(_automaton(rows), device)
        misses = {
            tuple(m) for m in grammar_misses(automaton, trie, places, num_words=num_words, slices=slices).tolist()
        }
        if not misses - known:
            return slices
        for kind, number, detail in misses - known:
            if kind == STATE:
                rows.make(number)
            else:
                rows.make_resume(number, detail)
        known |= misses
