"""A grammar's automaton, a vocabulary's trie and the places of a batch as tensors: what `grammar_walk` reads.

Legend: S states, R returns, N nodes of the trie, W words of a mask, B rows of the batch, P places, D depth of stacks,
K slices. What the numbers mean says the module that makes them, `grammar.rows`; these are its codes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import torch
from torch import Tensor

from espalier.kernels.errors import KernelError

DEAD: Final = -1
MISSING: Final = -2
HOST: Final = -3
LEAVE: Final = -4
BRANCH: Final = -5
PUSH: Final = 1 << 28
POP: Final = 1 << 29
END: Final = 0

# What a walk missed, in the first column of `miss`.
NOTHING: Final = 0
STATE: Final = 1  # (state, 0): its row is not made
RETURN: Final = 2  # (return, outcome): the entry of `resumes` is not made, or the host's for ever (HOST, BRANCH)
ROOM: Final = 3  # (state, 0): the walk or the stack outgrew its memory; a slice of the state helps the walk
TOKEN: Final = 4  # (token, 0): it has no bytes


@dataclass(frozen=True, slots=True, eq=False)
class Automaton:
    """rows int32 [S, 256], is_made bool [S], ends int32 [S], pushes int32 [any, 2], resumes int32 [R, outcomes]."""

    rows: Tensor
    is_made: Tensor
    ends: Tensor
    pushes: Tensor
    resumes: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Trie:
    """byte uint8 [N], kid_first int32 [N+1], kids int32 [N-1], first int32 [N+1], tokens int32 [ids].

    Node v's children are kids[kid_first[v] : kid_first[v+1]], its ids tokens[first[v] : first[v+1]]; 0 is the root.
    """

    byte: Tensor
    kid_first: Tensor
    kids: Tensor
    first: Tensor
    tokens: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where rows of a batch stand, one or several places (readings) for each row.

    state int32 [P], -1 for no place; stack int32 [P, D], the innermost return last, of which the first depth[p] count;
    depth int32 [P]; owner int32 [P], the row of the batch.
    """

    state: Tensor
    stack: Tensor
    depth: Tensor
    owner: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """What walks from some states find within their frame, so that a walk need only go on where the frame is left.

    of_state int32 [S], -1 without one; words int32 [K, W]; first int32 [K+1] into node int32 [E] and code int32 [E],
    the nodes at which the frame is left or another one opened, and by which code; outcome int32 [K], what inner states
    have in `ends`, one and the same where it is not -1. See `grammar_slice`.
    """

    of_state: Tensor
    words: Tensor
    first: Tensor
    node: Tensor
    code: Tensor
    outcome: Tensor


_RANKS: Final = {"rows": 2, "pushes": 2, "resumes": 2, "stack": 2, "words": 2}
_DTYPES: Final = {"is_made": torch.bool, "byte": torch.uint8}


def check(*groups: Automaton | Trie | Places | Slices) -> None:
    """Raise KernelError unless the dtypes, ranks and lengths are those above, all on one device and contiguous."""
    for group in groups:
        for field in fields(group):
            _check_one(f"{type(group).__name__}.{field.name}", field.name, getattr(group, field.name))
    for group in groups:
        _check_lengths(group)


def _check_one(label: str, name: str, tensor: Tensor) -> None:
    dtype, rank = _DTYPES.get(name, torch.int32), _RANKS.get(name, 1)
    if tensor.dtype != dtype or tensor.ndim != rank or not tensor.is_contiguous():
        raise KernelError(
            f"{label} is {tensor.dtype} {tuple(tensor.shape)}, contiguous {dtype} with {rank} axes is needed"
        )


def _check_lengths(group: Automaton | Trie | Places | Slices) -> None:
    if isinstance(group, Automaton):
        num = len(group.rows)
        wrong = group.rows.shape[1] != 256 or len(group.is_made) != num or len(group.ends) != num
        wrong |= group.pushes.shape[1] != 2
    elif isinstance(group, Trie):
        num = len(group.byte)
        wrong = len(group.kid_first) != num + 1 or len(group.kids) != num - 1 or len(group.first) != num + 1
    elif isinstance(group, Places):
        num = len(group.state)
        wrong = len(group.stack) != num or len(group.depth) != num or len(group.owner) != num
    else:
        num = len(group.words)
        wrong = len(group.first) != num + 1 or len(group.outcome) != num or len(group.node) != len(group.code)
    if wrong:
        shapes = {field.name: tuple(getattr(group, field.name).shape) for field in fields(group)}
        raise KernelError(f"the lengths of a {type(group).__name__} do not go together: {shapes}")
