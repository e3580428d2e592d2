"""Token masks of a batch from its grammars' automaton and the vocabulary's trie, and the places behind sampled tokens.

What the arrays hold is in `automaton`. A walk starts at the root of the trie for each place and follows the nodes that
are allowed; where the automaton does not say what comes next the row is `missed`, and the host has to make its mask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from espalier.kernels import grammar_walk_twin as twin
from espalier.kernels.automaton import NOTHING, Automaton, Places, Slices, Trie, check
from espalier.kernels.dispatch import use_triton
from espalier.kernels.errors import KernelError

# Nodes with children that a walk on a device may pass for one place; a state that allows more needs a slice.
CAPACITY = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """What a walk finds.

    words int32 [B, W]: token 32 i + j in bit j of word i, or-ed over a row's places. missed bool [B]: the words of such
    a row are no mask. miss int32 [P, 3]: for each place one of the things that were missed, see `automaton`.
    is_complete bool [B]: the answer may end here.
    """

    words: Tensor
    is_complete: Tensor
    missed: Tensor
    miss: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Advanced:
    """Places behind a token; one that does not allow it is none any more. `missed`, `miss` as in `Masks`; the places of
    missed rows are for the host to set.
    """

    places: Places
    missed: Tensor
    miss: Tensor


def grammar_walk(
    automaton: Automaton,
    trie: Trie,
    places: Places,
    *,
    num_rows: int,
    num_words: int,
    slices: Slices | None = None,
    capacity: int = CAPACITY,
) -> Masks:
    """The masks of `num_rows` rows of `num_words` words; rows without a place get an empty one.

    Special tokens have no bytes and no bit in these words: end tokens follow from `is_complete`, others are the host's
    to know. Slices change no mask, only its price. A place whose walk outgrows `capacity` is missed on a device, never
    in the twin. Raises KernelError for wrong shapes and dtypes and, on the CPU, for what is outside of the arrays: a
    device can't look first.
    """
    check(automaton, trie, places, *([] if slices is None else [slices]))
    _check_values(automaton, places, num_rows)
    if slices is not None and slices.words.shape[1] != num_words:
        raise KernelError(f"slices have {slices.words.shape[1]} words, masks {num_words}")
    words = torch.zeros(num_rows, num_words, dtype=torch.int32, device=places.state.device)
    miss = torch.zeros(len(places.state), 3, dtype=torch.int32, device=places.state.device)
    may_end = torch.zeros_like(places.state)
    if use_triton(automaton.rows, trie.byte, places.state):
        from espalier.kernels.triton.grammar_walk import grammar_walk as kernel

        kernel(automaton, trie, places, slices, capacity, words, may_end, miss)
    else:
        twin.walk(automaton, trie, places, slices, words, may_end, miss)
    missed = miss[:, 0] != NOTHING
    return Masks(words, _any(places, may_end, num_rows), _any(places, missed, num_rows), miss)


def grammar_misses(
    automaton: Automaton, trie: Trie, places: Places, *, num_words: int, slices: Slices | None = None
) -> Tensor:
    """All that walks from some places miss, int32 [any, 3], each once; see `automaton`. By the twin on any device.

    When that is made, as far as it is not the host's for ever, more may be missed behind it: go on until nothing
    new is.
    """
    check(automaton, trie, places, *([] if slices is None else [slices]))
    words = torch.zeros(len(places.state), num_words, dtype=torch.int32, device=places.state.device)
    miss = torch.zeros(len(places.state), 3, dtype=torch.int32, device=places.state.device)
    own = replace(places, owner=torch.arange(len(places.state), dtype=torch.int32, device=places.state.device))
    return twin.walk(automaton, trie, own, slices, words, torch.zeros_like(places.state), miss)


def grammar_advance(automaton: Automaton, places: Places, token: Tensor, text_first: Tensor, text: Tensor) -> Advanced:
    """The places behind each row's token, `token` int32 [B].

    A place that is complete, should its frames end here, stays one place: `is_complete` of the next walk says so. On a
    device a stack may not outgrow its room within a token, either. Token t's bytes are
    text[text_first[t] : text_first[t+1]], uint8 and int32; -1 is no token: the places of that row stay. Raises
    KernelError for wrong shapes and dtypes.
    """
    check(automaton, places)
    _check_values(automaton, places, len(token))
    for name, tensor, dtype in (("token", token, torch.int32), ("text_first", text_first, torch.int32),
                                ("text", text, torch.uint8)):  # fmt: skip
        if tensor.dtype != dtype or tensor.ndim != 1 or not tensor.is_contiguous():
            raise KernelError(f"{name} is {tensor.dtype} {tuple(tensor.shape)}, a contiguous {dtype} vector is needed")
    after = Places(places.state.clone(), places.stack.clone(), places.depth.clone(), places.owner)
    miss = torch.zeros(len(places.state), 3, dtype=torch.int32, device=places.state.device)
    if use_triton(automaton.rows, places.state, token, text):
        from espalier.kernels.triton.grammar_walk import grammar_advance as kernel

        kernel(automaton, after, token, text_first, text, miss)
    else:
        twin.advance(automaton, after, token, text_first, text, miss)
    return Advanced(after, _any(places, miss[:, 0] != NOTHING, len(token)), miss)


def _check_values(automaton: Automaton, places: Places, num_rows: int) -> None:
    """Raise KernelError for states, depths and rows that there are not; on the CPU only."""
    if places.state.device.type != "cpu" or not len(places.state):
        return
    for name, tensor, least, limit in (("state", places.state, -1, len(automaton.rows)),
                                       ("depth", places.depth, 0, places.stack.shape[1] + 1),
                                       ("owner", places.owner, 0, num_rows)):  # fmt: skip
        if int(tensor.min()) < least or int(tensor.max()) >= limit:
            raise KernelError(
                f"Places.{name} has {int(tensor.min())} to {int(tensor.max())}, {least} to {limit - 1} are needed"
            )


def _any(places: Places, flags: Tensor, num_rows: int) -> Tensor:
    """Of flags [P] for each row whether one of its places has it."""
    counts = torch.zeros(num_rows, dtype=torch.int32, device=flags.device)
    return counts.index_add_(0, places.owner, flags.int()) > 0
