"""Slices: what a walk finds from a state without leaving its frame, made once and kept.

In a free string nearly all tokens are allowed, and nearly all of them wherever the string stands: a slice holds them as
mask words. What is left to each walk are the nodes at which the frame is left or another one opened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from espalier.kernels.automaton import PUSH, Automaton, Slices, Trie
from espalier.kernels.errors import KernelError
from espalier.kernels.grammar_walk_twin import packed


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """Of one state: words int32 [W], node and code int32 [exits], and what inner states have in `ends`, else -1."""

    words: Tensor
    node: Tensor
    code: Tensor
    outcome: int


def make_slice(
    automaton: Automaton, trie: Trie, state: int, num_words: int, make: Callable[[list[int]], Automaton] | None = None
) -> Slice | None:
    """The slice of a state; None where inner states end with different outcomes.

    `make` makes the rows of some states that are not made and returns the automaton with them, level by level of the
    trie; without it all that are met have to be made: else KernelError.
    """
    zero = torch.zeros(1, dtype=torch.int32, device=trie.byte.device)
    node, reached = zero.clone(), zero + state
    flags = torch.zeros(1, num_words * 32, dtype=torch.bool, device=zero.device)
    exits, codes, outcomes = [node[:0]], [node[:0]], set[int]()
    while len(node):
        num = trie.kid_first[node + 1] - trie.kid_first[node]
        node, reached, num = node[num > 0], reached[num > 0], num[num > 0]
        unmade = reached[~automaton.is_made[reached]]
        if len(unmade):
            numbers: list[int] = unmade.unique().tolist()
            if make is None:
                raise KernelError(f"states without rows: {numbers}")
            automaton = make(numbers)
        if len(node) and bool((node != 0).all()):
            outcomes |= set(automaton.ends[reached].unique().tolist()) - {-1}
        parent = torch.repeat_interleave(torch.arange(len(node), device=node.device), num)
        offset = torch.arange(len(parent), device=node.device) - (num.cumsum(0) - num)[parent]
        node = trie.kids[trie.kid_first[node][parent] + offset]
        code = automaton.rows[reached[parent], trie.byte[node].long()]
        leaves, stays = code >= PUSH, (code >= 0) & (code < PUSH)
        exits.append(node[leaves])
        codes.append(code[leaves])
        node, reached = node[stays], code[stays]
        _set_tokens(trie, node, flags[0])
    if len(outcomes) > 1:
        return None
    return Slice(packed(flags)[0], torch.cat(exits), torch.cat(codes), outcomes.pop() if outcomes else -1)


def _set_tokens(trie: Trie, node: Tensor, flags: Tensor) -> None:
    num = trie.first[node + 1] - trie.first[node]
    which = torch.repeat_interleave(torch.arange(len(node), device=node.device), num)
    at = trie.first[node][which] + torch.arange(len(which), device=node.device) - (num.cumsum(0) - num)[which]
    flags[trie.tokens[at].long()] = True


def join_slices(slices: dict[int, Slice], num_states: int, num_words: int, device: torch.device) -> Slices:
    """The slices of some states as one group of tensors."""
    of_state = torch.full((num_states,), -1, dtype=torch.int32)
    for index, state in enumerate(slices):
        of_state[state] = index
    parts = list(slices.values())
    first = torch.tensor([0, *(len(part.node) for part in parts)], dtype=torch.int32).cumsum(0).int()
    nothing = torch.zeros(0, dtype=torch.int32, device=device)
    return Slices(
        of_state=of_state.to(device),
        words=torch.stack([part.words for part in parts]) if parts else nothing.view(0, num_words),
        first=first.to(device),
        node=torch.cat([nothing, *(part.node for part in parts)]),
        code=torch.cat([nothing, *(part.code for part in parts)]),
        outcome=torch.tensor([part.outcome for part in parts], dtype=torch.int32, device=device),
    )
