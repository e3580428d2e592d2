"""Grammars' rows and a vocabulary's trie as the tensors of `kernels.automaton`, and walks through `Rows.advance`."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from espalier.grammar import MissError, Rows, Vocabulary
from espalier.grammar.rows import Stack
from espalier.kernels.automaton import Automaton, Places, Slices, Trie

Place = tuple[int, Stack]
Group = TypeVar("Group", Automaton, Trie, Places, Slices)


def automaton_of(rows: Rows) -> Automaton:
    """As the arrays are now."""
    arrays = (rows.rows, rows.is_made, rows.ends, rows.pushes, rows.resumes)
    return Automaton(*(torch.from_numpy(np.ascontiguousarray(array)).clone() for array in arrays))


def trie_of(vocabulary: Vocabulary) -> Trie:
    """The trie of the tokens that have bytes."""
    trie = vocabulary.trie
    return Trie(*(torch.tensor(a) for a in (trie.byte, trie.kid_first, trie.kids, trie.first, trie.tokens)))


def places_of(rows_places: list[list[Place]], depth: int | None = None) -> Places:
    """The places of each row of a batch."""
    flat = [(owner, place) for owner, places in enumerate(rows_places) for place in places]
    depth = depth or max([1, *(len(stack) for _, (_, stack) in flat)])
    stacks = [[*stack, *[-9] * (depth - len(stack))] for _, (_, stack) in flat]
    columns = ([s for _, (s, _) in flat], [len(stack) for _, (_, stack) in flat], [owner for owner, _ in flat])
    state, depths, owner = (torch.tensor(column, dtype=torch.int32) for column in columns)
    return Places(state, torch.tensor(stacks, dtype=torch.int32).view(len(flat), depth), depths, owner)


def on(group: Group, device: str) -> Group:
    """The same on a device."""
    return replace(group, **{field.name: getattr(group, field.name).to(device) for field in fields(group)})


def texts_of(vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
    """`text_first` and `text` of `grammar_advance`."""
    texts = [text or b"" for text in vocabulary.tokens]
    first = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int32)
    return torch.from_numpy(first), torch.tensor(list(b"".join(texts)), dtype=torch.uint8)


def make_all(rows: Rows, place: Place, vocabulary: Vocabulary) -> None:
    """Make what a walk of the vocabulary from a place meets, but for what is the host's."""
    for text in vocabulary.tokens:
        while text:
            try:
                read(rows, place, text)
                break
            except MissError as miss:
                if miss.is_host:
                    break
                make(rows, miss)


def make(rows: Rows, miss: MissError) -> None:
    """Make what was missed."""
    if miss.state is not None:
        rows.make(miss.state)
    elif miss.back is not None and miss.outcome is not None:
        rows.make_resume(miss.back, miss.outcome)


def read(rows: Rows, place: Place, text: bytes) -> Place | None:
    """Where a text leads by `Rows.advance`; None if it is not allowed. Raises MissError."""
    for index, byte in enumerate(text):
        after = rows.advance(*place, byte, is_inside=index > 0)
        if after is None:
            return None
        place = after
    return place


def walked(rows: Rows, place: Place, vocabulary: Vocabulary) -> tuple[set[int], list[MissError]]:
    """The tokens that the arrays allow, and what was missed on the way."""
    allowed, misses = set[int](), list[MissError]()
    for token, text in enumerate(vocabulary.tokens):
        try:
            if text and read(rows, place, text) is not None:
                allowed.add(token)
        except MissError as miss:
            misses.append(miss)
    return allowed, misses
