"""The grammar walk. Legend as in `kernels.automaton`; what a lane and a stack's number are, as in the twin.

A program takes one place and walks breadth first. What is still to be walked lies in a queue of its own in global
memory: an item is up to FAN children of one node that is allowed, with the state and stack there. A round takes as many
items as it has lanes for, a lane each child, and appends the allowed children's own children. Nothing is ever taken out
of the queue, so a return that a child pushes can lie beside its first item: stacks are linked lists that share what is
below.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from espalier.kernels import automaton as codes
from espalier.kernels.automaton import Automaton, Places, Slices, Trie

LANES = 256
FAN = 4
WORDS = 1024
# A thread for each lane: a round waits for memory, again and again.
WARPS = 8
PLACES = 32

DEAD = tl.constexpr(codes.DEAD)
MISSING = tl.constexpr(codes.MISSING)
LEAVE = tl.constexpr(codes.LEAVE)
BRANCH = tl.constexpr(codes.BRANCH)
PUSH = tl.constexpr(codes.PUSH)
POP = tl.constexpr(codes.POP)
END = tl.constexpr(codes.END)
STATE = tl.constexpr(codes.STATE)
RETURN = tl.constexpr(codes.RETURN)
ROOM = tl.constexpr(codes.ROOM)
TOKEN = tl.constexpr(codes.TOKEN)

# A lane's phases, as in the twin.
DONE = tl.constexpr(0)
LOOK_UP = tl.constexpr(1)
READ = tl.constexpr(2)
LEAVE_FRAME = tl.constexpr(3)


@triton.jit
def top(stack, ref, base, back_arena, below_arena, is_there):
    """Innermost return and stack below of each lane; `base` is where the place's own returns begin in `stack`."""
    is_shared = is_there & (ref > 0)
    is_pushed = is_there & (ref < 0)
    shared = tl.load(stack + base + ref - 1, mask=is_shared, other=0)
    pushed = tl.load(back_arena - 1 - ref, mask=is_pushed, other=0)
    below = tl.load(below_arena - 1 - ref, mask=is_pushed, other=0)
    return tl.where(is_shared, shared, pushed), tl.where(is_shared, ref - 1, below)


@triton.jit
def resumed(resumes, num_outcomes, back, outcome, is_there):
    """The entry of `resumes`."""
    return tl.load(resumes + back * num_outcomes + outcome, mask=is_there & (outcome < num_outcomes), other=MISSING)


@triton.jit
def follow_end(resumes, num_outcomes, stack, ref, base, back_arena, below_arena, outcome):
    """Lanes whose frame ends with an outcome (-1: none): the entry of `resumes` that they stop at, with its return and
    outcome; LEAVE if they come to the bottom, DEAD if there is nothing to follow.
    """
    is_on = (outcome >= 0) & (ref != 0)
    after = tl.full(ref.shape, DEAD, tl.int32)
    at, at_outcome = tl.zeros_like(ref), tl.zeros_like(ref)
    while tl.max(is_on.to(tl.int32), axis=0) > 0:
        back, below = top(stack, ref, base, back_arena, below_arena, is_on)
        entry = resumed(resumes, num_outcomes, back, outcome, is_on)
        after = tl.where(is_on, entry, after)
        at, at_outcome = tl.where(is_on, back, at), tl.where(is_on, outcome, at_outcome)
        is_on = is_on & (entry == LEAVE) & (below != 0)
        ref, outcome = tl.where(is_on, below, ref), tl.where(is_on, 0, outcome)
    return after, at, at_outcome


@triton.jit
def step(
    rows, is_made, pushes, resumes, num_outcomes, stack, base, back_arena, below_arena, byte, state, ref, phase, code
):  # fmt: skip
    """A byte for each lane: state, stack, pushed return (-1: none), whether alive, and what was missed (kind, number,
    detail).
    """
    alive, pushed = tl.zeros_like(state), tl.full(state.shape, -1, tl.int32)
    kind, number, detail = tl.zeros_like(state), tl.zeros_like(state), tl.zeros_like(state)
    outcome, again = tl.zeros_like(state), tl.zeros_like(state)
    while tl.max(phase, axis=0) > DONE:
        looks = phase == LOOK_UP
        made = tl.load(is_made + state, mask=looks, other=0) != 0
        code = tl.where(looks, tl.load(rows + state * 256 + byte, mask=looks & made, other=DEAD), code)
        is_unmade = looks & (made == 0)
        kind, number = tl.where(is_unmade, STATE, kind), tl.where(is_unmade, state, number)
        reads = (phase == READ) | (looks & made)
        phase = tl.where(looks | reads, DONE, phase)

        stays, opens = reads & (code >= 0) & (code < PUSH), reads & (code >= PUSH) & (code < POP)
        inner = tl.load(pushes + 2 * (code - PUSH), mask=opens, other=0)
        back = tl.load(pushes + 2 * (code - PUSH) + 1, mask=opens, other=0)
        state = tl.where(stays, code, tl.where(opens, inner, state))
        pushed = tl.where(opens, back, pushed)
        alive = tl.where(stays | opens, 1, alive)
        leaves = reads & (code >= POP)
        outcome, again = tl.where(leaves, (code - POP) >> 1, outcome), tl.where(leaves, (code - POP) & 1, again)
        phase = tl.where(leaves, LEAVE_FRAME, phase)

        leaves = phase == LEAVE_FRAME
        has_return = leaves & (ref != 0)
        back, below = top(stack, ref, base, back_arena, below_arena, has_return)
        after = tl.where(leaves, END, DEAD)
        after = tl.where(has_return, resumed(resumes, num_outcomes, back, outcome, has_return), after)
        ref = tl.where(has_return, below, ref)
        is_missed = has_return & (after < 0) & (after != LEAVE)
        kind, number = tl.where(is_missed, RETURN, kind), tl.where(is_missed, back, number)
        detail = tl.where(is_missed, outcome, detail)
        outcome = tl.where(leaves, 0, outcome)
        arrives = leaves & (after >= 0)
        state = tl.where(arrives, after, state)
        alive = tl.where(arrives & (again == 0), 1, alive)
        phase = tl.where(arrives, tl.where(again == 0, DONE, LOOK_UP), phase)
        phase = tl.where(is_missed, DONE, phase)
    return state, ref, pushed, alive != 0, kind, number, detail


@triton.jit
def one_of(kind, number, detail):
    """What one of the lanes missed, as scalars."""
    lane = tl.argmax((kind != 0).to(tl.int32), axis=0)
    is_it = tl.arange(0, kind.shape[0]) == lane
    return (
        tl.sum(tl.where(is_it, kind, 0), axis=0),
        tl.sum(tl.where(is_it, number, 0), axis=0),
        tl.sum(tl.where(is_it, detail, 0), axis=0),
    )


@triton.jit
def emit(first, tokens, node, is_there, words):
    """Set the bits of the tokens that end at the lanes' nodes."""
    begin = tl.load(first + node, mask=is_there, other=0)
    count = tl.load(first + node + 1, mask=is_there, other=0) - begin
    for t in range(tl.max(count, axis=0)):
        is_one = t < count
        token = tl.load(tokens + begin + t, mask=is_one, other=0)
        bit = tl.full(token.shape, 1, tl.int32) << (token & 31)
        tl.atomic_or(words + (token >> 5), bit, mask=is_one, sem="relaxed")


@triton.jit
def append(kid_first, node, state, ref, pushed, is_there, tail, capacity, begins, ends_at, states, refs, back_arena,
           below_arena, FAN: tl.constexpr):  # fmt: skip
    """Put the children of the lanes' nodes into the queue; the new tail, or one beyond the capacity: nothing is put."""
    begin = tl.load(kid_first + node, mask=is_there, other=0)
    end = tl.load(kid_first + node + 1, mask=is_there, other=0)
    num = (end - begin + FAN - 1) // FAN
    slot = tail + tl.cumsum(num, axis=0) - num
    tail += tl.sum(num, axis=0)
    num = tl.where(tail <= capacity, num, 0)
    is_pushed = (pushed >= 0) & (num > 0)
    tl.store(back_arena + slot, pushed, mask=is_pushed)
    tl.store(below_arena + slot, ref, mask=is_pushed)
    ref = tl.where(is_pushed, -1 - slot, ref)
    for t in range(tl.max(num, axis=0)):
        is_one = t < num
        tl.store(begins + slot + t, begin + t * FAN, mask=is_one)
        tl.store(ends_at + slot + t, tl.minimum(begin + (t + 1) * FAN, end), mask=is_one)
        tl.store(states + slot + t, state, mask=is_one)
        tl.store(refs + slot + t, ref, mask=is_one)
    return tail


@triton.jit
def grammar_walk_kernel(
    rows, is_made, ends, pushes, resumes, num_outcomes,
    byte_of, kid_first, kids, first, tokens,
    place_state, place_stack, place_depth, place_owner, stack_stride,
    slice_of, slice_words, slice_first, slice_node, slice_code, slice_outcome,
    queue, capacity, words, num_words, may_end, miss,
    HAS_SLICES: tl.constexpr, LANES: tl.constexpr, FAN: tl.constexpr, WORDS: tl.constexpr,
):  # fmt: skip
    """The walk from one place; `queue` is int32 [P, 6, capacity]."""
    place = tl.program_id(0)
    start = tl.load(place_state + place)
    if start < 0:
        return
    base = place.to(tl.int64) * stack_stride
    depth = tl.load(place_depth + place)
    words += tl.load(place_owner + place).to(tl.int64) * num_words
    begins = queue + place.to(tl.int64) * 6 * capacity
    ends_at, states, refs = begins + capacity, begins + 2 * capacity, begins + 3 * capacity
    back_arena, below_arena = begins + 4 * capacity, begins + 5 * capacity
    lane = tl.arange(0, LANES)
    nothing = tl.zeros((LANES,), dtype=tl.int32)
    outcome = nothing + tl.load(ends + start)
    after, _at, _detail = follow_end(
        resumes, num_outcomes, place_stack, nothing + depth, base, back_arena, below_arena, outcome
    )
    tl.store(may_end + place, ((tl.max(after, axis=0) == LEAVE) | (start == END)).to(tl.int32))

    kind, number, detail, tail, num_first = 0, 0, 0, 0, 0
    chosen = -1
    if HAS_SLICES:
        chosen = tl.load(slice_of + start)
    if chosen >= 0:
        outcome = nothing + tl.load(slice_outcome + chosen)
        after, at, at_outcome = follow_end(
            resumes, num_outcomes, place_stack, nothing + depth, base, back_arena, below_arena, outcome
        )
        is_missed = (after == MISSING) | (after == BRANCH)
        kind, number, detail = one_of(tl.where(is_missed, RETURN, 0), at, at_outcome)
        for begin in range(0, num_words, WORDS):
            word = begin + tl.arange(0, WORDS)
            value = tl.load(slice_words + tl.cast(chosen, tl.int64) * num_words + word, mask=word < num_words, other=0)
            tl.atomic_or(words + word, value, mask=value != 0, sem="relaxed")
        exit_end = tl.where(kind == 0, tl.load(slice_first + chosen + 1), 0)
        for begin in range(tl.load(slice_first + chosen), exit_end, LANES):
            is_there = begin + lane < tl.where(kind == 0, exit_end, 0)
            node = tl.load(slice_node + begin + lane, mask=is_there, other=0)
            code = tl.load(slice_code + begin + lane, mask=is_there, other=DEAD)
            byte = tl.load(byte_of + node, mask=is_there, other=0).to(tl.int32)
            state, ref, pushed, alive, kinds, numbers, details = step(
                rows, is_made, pushes, resumes, num_outcomes, place_stack, base, back_arena, below_arena,
                byte, nothing + start, nothing + depth, tl.where(is_there, READ, DONE), code,
            )  # fmt: skip
            if kind == 0:
                kind, number, detail = one_of(kinds, numbers, details)
            emit(first, tokens, node, alive, words)
            tail = append(kid_first, node, state, ref, pushed, alive, tail, capacity, begins, ends_at, states, refs,
                          back_arena, below_arena, FAN)  # fmt: skip
            if tail > capacity:
                kind, number, detail = ROOM, start, 0
    else:
        tail = append(kid_first, nothing, nothing + start, nothing + depth, nothing - 1, lane == 0, tail, capacity,
                      begins, ends_at, states, refs, back_arena, below_arena, FAN)  # fmt: skip
        num_first = tail

    head = 0
    while (head < tail) & (kind == 0):
        tl.debug_barrier()  # the queue's entries are other threads' work
        item = head + lane // FAN
        is_there = item < tail
        head = tl.minimum(head + LANES // FAN, tail)
        kid = tl.load(begins + item, mask=is_there, other=0) + lane % FAN
        is_there = is_there & (kid < tl.load(ends_at + item, mask=is_there, other=0))
        state = tl.load(states + item, mask=is_there, other=0)
        ref = tl.load(refs + item, mask=is_there, other=0)
        outcome = tl.load(ends + state, mask=is_there & (item >= num_first), other=-1)
        after, at, at_outcome = follow_end(
            resumes, num_outcomes, place_stack, ref, base, back_arena, below_arena, outcome
        )
        is_missed = (after == MISSING) | (after == BRANCH)
        node = tl.load(kids + kid, mask=is_there, other=0)
        byte = tl.load(byte_of + node, mask=is_there, other=0).to(tl.int32)
        phase = tl.where(is_there & (is_missed == 0), LOOK_UP, DONE)
        state, ref, pushed, alive, kinds, numbers, details = step(
            rows, is_made, pushes, resumes, num_outcomes, place_stack, base, back_arena, below_arena,
            byte, state, ref, phase, nothing + DEAD,
        )  # fmt: skip
        kinds = tl.where(is_missed, RETURN, kinds)
        if tl.max(kinds, axis=0) > 0:  # rarely
            kind, number, detail = one_of(
                kinds, tl.where(is_missed, at, numbers), tl.where(is_missed, at_outcome, details)
            )
        emit(first, tokens, node, alive, words)
        tail = append(kid_first, node, state, ref, pushed, alive, tail, capacity, begins, ends_at, states, refs,
                      back_arena, below_arena, FAN)  # fmt: skip
        if (tail > capacity) & (kind == 0):
            kind, number, detail = ROOM, start, 0
    tl.store(miss + place * 3, kind)
    tl.store(miss + place * 3 + 1, number)
    tl.store(miss + place * 3 + 2, detail)


def grammar_walk(
    automaton: Automaton,
    trie: Trie,
    places: Places,
    slices: Slices | None,
    capacity: int,
    words: Tensor,
    may_end: Tensor,
    miss: Tensor,
) -> None:
    """Fill `words`, `may_end` and `miss`, which are zero; see `kernels.grammar_walk`."""
    num = len(places.state)
    # The root's own children have to find room.
    capacity = max(capacity, 256 // FAN)
    queue = torch.empty(num, 6, capacity, dtype=torch.int32, device=words.device)
    none = words
    cut = (none,) * 6 if slices is None else (
        slices.of_state, slices.words, slices.first, slices.node, slices.code, slices.outcome
    )  # fmt: skip
    if num:
        grammar_walk_kernel[(num,)](
            automaton.rows, automaton.is_made.view(torch.uint8), automaton.ends, automaton.pushes, automaton.resumes,
            automaton.resumes.shape[1],
            trie.byte, trie.kid_first, trie.kids, trie.first, trie.tokens,
            places.state, places.stack, places.depth, places.owner, places.stack.shape[1],
            *cut, queue, capacity, words, words.shape[1], may_end, miss,
            HAS_SLICES=slices is not None, LANES=LANES, FAN=FAN, WORDS=WORDS, num_warps=WARPS,
        )  # fmt: skip


@triton.jit
def grammar_advance_kernel(
    rows, is_made, ends, pushes, resumes, num_outcomes,
    place_state, place_stack, place_depth, place_owner, stack_width,
    token, text_first, text, miss, num_places,
    PLACES: tl.constexpr,
):  # fmt: skip
    """The places [PLACES * program, PLACES * (program + 1)), a lane each; stacks are those of the places themselves."""
    place = tl.program_id(0) * PLACES + tl.arange(0, PLACES)
    is_there = place < num_places
    state = tl.load(place_state + place, mask=is_there, other=-1)
    owner = tl.load(place_owner + place, mask=is_there, other=0)
    read = tl.load(token + owner, mask=is_there & (state >= 0), other=-1)
    is_there = read >= 0
    at = tl.load(text_first + read, mask=is_there, other=0)
    end = tl.load(text_first + read + 1, mask=is_there, other=0)
    ref = tl.load(place_depth + place, mask=is_there, other=0)
    base = place.to(tl.int64) * stack_width
    kind = tl.where(is_there & (at == end), TOKEN, 0)
    number, detail = tl.where(is_there & (at == end), read, 0), tl.zeros_like(read)
    is_on = is_there & (at < end)
    while tl.max(is_on.to(tl.int32), axis=0) > 0:
        byte = tl.load(text + at, mask=is_on, other=0).to(tl.int32)
        phase = tl.where(is_on, LOOK_UP, DONE)
        state, ref, pushed, alive, kinds, numbers, details = step(
            rows, is_made, pushes, resumes, num_outcomes, place_stack, base, place_stack, place_stack,
            byte, state, ref, phase, tl.full(state.shape, DEAD, tl.int32),
        )  # fmt: skip
        is_full = is_on & (pushed >= 0) & (ref >= stack_width)
        tl.store(place_stack + base + ref, pushed, mask=is_on & (pushed >= 0) & (ref < stack_width))
        ref = tl.where(is_on & (pushed >= 0), ref + 1, ref)
        tl.debug_barrier()  # a return that was pushed may leave with the next byte
        outcome = tl.load(ends + state, mask=is_on & alive & (is_full == 0), other=-1)
        after, back, back_outcome = follow_end(
            resumes, num_outcomes, place_stack, ref, base, place_stack, place_stack, outcome
        )
        is_missed = (after == MISSING) | (after == BRANCH)
        kinds = tl.where(is_full, ROOM, tl.where(is_missed, RETURN, kinds))
        numbers = tl.where(is_full, state, tl.where(is_missed, back, numbers))
        details = tl.where(is_full, 0, tl.where(is_missed, back_outcome, details))
        kind, number = tl.where(is_on, kinds, kind), tl.where(is_on, numbers, number)
        detail = tl.where(is_on, details, detail)
        state = tl.where(is_on & ((alive == 0) | (kinds != 0)), -1, state)
        at += 1
        is_on = is_on & (state >= 0) & (at < end)
    state = tl.where(kind != 0, -1, state)
    tl.store(place_state + place, state, mask=is_there)
    tl.store(place_depth + place, ref, mask=is_there)
    tl.store(miss + place * 3, kind, mask=is_there)
    tl.store(miss + place * 3 + 1, number, mask=is_there)
    tl.store(miss + place * 3 + 2, detail, mask=is_there)


def grammar_advance(
    automaton: Automaton, places: Places, token: Tensor, text_first: Tensor, text: Tensor, miss: Tensor
) -> None:
    """Move places on, in place, and fill `miss`; see `kernels.grammar_walk`."""
    num = len(places.state)
    if num:
        grammar_advance_kernel[(triton.cdiv(num, PLACES),)](
            automaton.rows, automaton.is_made.view(torch.uint8), automaton.ends, automaton.pushes, automaton.resumes,
            automaton.resumes.shape[1],
            places.state, places.stack, places.depth, places.owner, places.stack.shape[1],
            token, text_first, text, miss, num, PLACES=PLACES, num_warps=1,
        )  # fmt: skip
