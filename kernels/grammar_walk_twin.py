"""The torch twin of the grammar walk: all places at once, level by level.

Legend as in `automaton`; L lanes, each a place, a node and the state and stack at its parent. A stack is one number: if
it is not negative, as many of the place's returns; else the entry -1 - n of an arena, (return, stack below).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from espalier.kernels.automaton import (
    BRANCH,
    DEAD,
    END,
    LEAVE,
    MISSING,
    POP,
    PUSH,
    RETURN,
    ROOM,
    STATE,
    TOKEN,
    Automaton,
    Places,
    Slices,
    Trie,
)  # fmt: skip

# A lane's phases.
DONE, LOOK_UP, READ, LEAVE_FRAME = 0, 1, 2, 3


@dataclass(slots=True, eq=False)
class Arena:
    """Returns that were pushed since the places: (return, stack below) for each."""

    back: Tensor
    below: Tensor

    def push(self, back: Tensor, below: Tensor) -> Tensor:
        """The stacks with one more return each."""
        found = -1 - torch.arange(len(self.back), len(self.back) + len(back), device=back.device, dtype=torch.int32)
        self.back, self.below = torch.cat([self.back, back]), torch.cat([self.below, below])
        return found


@dataclass(slots=True, eq=False)
class Lanes:
    """int32 [L] each; `code` counts where `phase` is READ."""

    place: Tensor
    byte: Tensor
    state: Tensor
    stack: Tensor
    phase: Tensor
    code: Tensor


class Stepper:
    """Steps lanes by a byte each, and writes down for each place something that it missed."""

    def __init__(self, automaton: Automaton, places: Places, miss: Tensor) -> None:
        self._automaton, self._places, self._miss = automaton, places, miss
        self.misses: list[Tensor] = []
        nothing = places.state[:0]
        self.arena = Arena(nothing, nothing)

    def step(self, lanes: Lanes) -> Tensor:
        """Which lanes are allowed, bool [L]; their state and stack are moved on."""
        alive = torch.zeros_like(lanes.place, dtype=torch.bool)
        outcome, again = torch.zeros_like(lanes.state), torch.zeros_like(lanes.state)
        while bool((lanes.phase != DONE).any()):
            self._look_up(lanes)
            self._read(lanes, alive, outcome, again)
            self._leave(lanes, alive, outcome, again)
        return alive

    def _look_up(self, lanes: Lanes) -> None:
        at = (lanes.phase == LOOK_UP).nonzero().flatten()
        state = lanes.state[at]
        is_made = self._automaton.is_made[state]
        lanes.code[at] = self._automaton.rows[state, lanes.byte[at].long()]
        lanes.phase[at] = torch.where(is_made, READ, DONE).int()
        self.note(lanes.place[at], ~is_made, STATE, state, torch.zeros_like(state))

    def _read(self, lanes: Lanes, alive: Tensor, outcome: Tensor, again: Tensor) -> None:
        at = (lanes.phase == READ).nonzero().flatten()
        code = lanes.code[at]
        lanes.phase[at] = torch.where(code >= POP, LEAVE_FRAME, DONE).int()
        alive[at] = (code >= 0) & (code < POP)
        outcome[at], again[at] = (code - POP) >> 1, (code - POP) & 1
        stays = (code >= 0) & (code < PUSH)
        lanes.state[at[stays]] = code[stays]
        pushes = (code >= PUSH) & (code < POP)
        inner, entry = at[pushes], self._automaton.pushes[code[pushes] - PUSH]
        lanes.state[inner] = entry[:, 0]
        lanes.stack[inner] = self.arena.push(entry[:, 1], lanes.stack[inner])

    def _leave(self, lanes: Lanes, alive: Tensor, outcome: Tensor, again: Tensor) -> None:
        at = (lanes.phase == LEAVE_FRAME).nonzero().flatten()
        back, below = self._top(lanes.place[at], lanes.stack[at])
        after = torch.where(lanes.stack[at] == 0, END, self._resumed(back, outcome[at])).int()
        is_missed = (after < 0) & (after != LEAVE)
        self.note(lanes.place[at], is_missed, RETURN, back, outcome[at])
        lanes.stack[at] = below
        arrived = after >= 0
        lanes.state[at[arrived]] = after[arrived]
        outcome[at] = 0
        is_over = arrived & (again[at] == 0)
        alive[at] = is_over
        lanes.phase[at] = torch.where(is_over | is_missed, DONE, torch.where(arrived, LOOK_UP, LEAVE_FRAME)).int()

    def ends(self, state: Tensor) -> Tensor:
        """The outcomes with which frames may end in states, -1 where they can't."""
        return self._automaton.ends[state]

    def check_branches(self, place: Tensor, stack: Tensor, outcome: Tensor) -> Tensor:
        """Which places go on in one way only, should their frame end here with an outcome; -1 is none. bool [L]."""
        fine = torch.ones_like(place, dtype=torch.bool)
        at = ((outcome >= 0) & (stack != 0)).nonzero().flatten()
        stack, outcome = stack[at], outcome[at]
        while len(at):
            back, below = self._top(place[at], stack)
            after = self._resumed(back, outcome)
            is_missed = (after == MISSING) | (after == BRANCH)
            self.note(place[at], is_missed, RETURN, back, outcome)
            fine[at[is_missed]] = False
            on = (after == LEAVE) & (below != 0)
            at, stack, outcome = at[on], below[on], torch.zeros_like(below[on])
        return fine

    def may_end(self, place: Tensor, state: Tensor, stack: Tensor) -> Tensor:
        """Whether the answer is complete, or is so if all open frames end here. bool [L]."""
        found, outcome = state == END, self.ends(state)
        at = ((outcome >= 0) & (stack != 0)).nonzero().flatten()
        stack, outcome = stack[at], outcome[at]
        while len(at):
            back, below = self._top(place[at], stack)
            leaves = self._resumed(back, outcome) == LEAVE
            found[at[leaves & (below == 0)]] = True
            on = leaves & (below != 0)
            at, stack, outcome = at[on], below[on], torch.zeros_like(below[on])
        return found

    def _top(self, place: Tensor, stack: Tensor) -> tuple[Tensor, Tensor]:
        """The innermost returns and the stacks below; anything for empty stacks."""
        back, below = torch.zeros_like(stack), (stack - 1).clamp(min=0)
        shared, pushed = (stack > 0).nonzero().flatten(), (stack < 0).nonzero().flatten()
        back[shared] = self._places.stack[place[shared], stack[shared] - 1]
        back[pushed], below[pushed] = self.arena.back[-1 - stack[pushed]], self.arena.below[-1 - stack[pushed]]
        return back, below

    def _resumed(self, back: Tensor, outcome: Tensor) -> Tensor:
        resumes = self._automaton.resumes
        last = resumes.shape[1] - 1
        return torch.where(outcome <= last, resumes[back, outcome.clamp(max=last)], MISSING)

    def note(self, place: Tensor, is_missed: Tensor, kind: int, number: Tensor, detail: Tensor) -> None:
        """Write down what lanes missed."""
        if bool(is_missed.any()):
            rows = torch.stack([torch.full_like(number, kind), number, detail], dim=1)
            self._miss[place[is_missed]] = rows[is_missed]
            self.misses.append(rows[is_missed])


def walk(
    automaton: Automaton,
    trie: Trie,
    places: Places,
    slices: Slices | None,
    words: Tensor,
    may_end: Tensor,
    miss: Tensor,
) -> Tensor:
    """Fill `words`, `may_end` int32 [P] and `miss`; see `grammar_walk`. All that was missed, int32 [any, 3]."""
    stepper, there = Stepper(automaton, places, miss), (places.state >= 0).nonzero().flatten()
    may_end[there] = stepper.may_end(there, places.state[there], places.depth[there]).int()
    of_place = torch.full_like(places.state[there], -1) if slices is None else slices.of_state[places.state[there]]
    whole = there[of_place < 0]
    lanes, node = _below(trie, stepper, whole, torch.zeros_like(whole), places.state[whole], places.depth[whole], True)
    if slices is not None and len(whole) < len(there):
        left, exits = _at_exits(trie, places, slices, there, of_place, stepper, words)
        lanes, node = _joined(lanes, left), torch.cat([node, exits])
    while len(node):
        alive = stepper.step(lanes)
        place, node = lanes.place[alive], node[alive]
        _emit(trie, places.owner[place], node, words)
        lanes, node = _below(trie, stepper, place, node, lanes.state[alive], lanes.stack[alive], False)
    missed: Tensor = torch.cat([miss[:0], *stepper.misses]).unique(dim=0)
    return missed


def _below(
    trie: Trie, stepper: Stepper, place: Tensor, node: Tensor, state: Tensor, stack: Tensor, is_root: bool
) -> tuple[Lanes, Tensor]:
    """The lanes of all children of some nodes, and the children."""
    num = trie.kid_first[node + 1] - trie.kid_first[node]
    has_kids = num > 0
    place, node, state, stack, num = place[has_kids], node[has_kids], state[has_kids], stack[has_kids], num[has_kids]
    if not is_root:
        fine = stepper.check_branches(place, stack, stepper.ends(state))
        place, node, state, stack, num = place[fine], node[fine], state[fine], stack[fine], num[fine]
    parent = torch.repeat_interleave(torch.arange(len(node), device=node.device), num)
    offset = torch.arange(len(parent), device=node.device) - (num.cumsum(0) - num)[parent]
    kid = trie.kids[trie.kid_first[node][parent] + offset]
    return _lanes(place[parent], trie.byte[kid].int(), state[parent].clone(), stack[parent].clone()), kid


def _lanes(place: Tensor, byte: Tensor, state: Tensor, stack: Tensor, code: Tensor | None = None) -> Lanes:
    phase = torch.full_like(state, LOOK_UP if code is None else READ)
    return Lanes(place, byte, state, stack, phase, torch.full_like(state, DEAD) if code is None else code.clone())


def _joined(left: Lanes, right: Lanes) -> Lanes:
    names = ("place", "byte", "state", "stack", "phase", "code")
    return Lanes(*(torch.cat([getattr(left, name), getattr(right, name)]) for name in names))


def _at_exits(
    trie: Trie, places: Places, slices: Slices, there: Tensor, of_place: Tensor, stepper: Stepper, words: Tensor
) -> tuple[Lanes, Tensor]:
    """Put the words of slices into the masks; the lanes and nodes at which their frames are left."""
    place, index = there[of_place >= 0], of_place[of_place >= 0]
    fine = stepper.check_branches(place, places.depth[place], slices.outcome[index])
    place, index = place[fine], index[fine]
    for p, k in zip(place.tolist(), index.tolist(), strict=True):
        words[places.owner[p]] |= slices.words[k]
    num = slices.first[index + 1] - slices.first[index]
    which = torch.repeat_interleave(torch.arange(len(place), device=place.device), num)
    exits = slices.first[index][which] + torch.arange(len(which), device=place.device) - (num.cumsum(0) - num)[which]
    node, at = slices.node[exits], place[which]
    return _lanes(at, trie.byte[node].int(), places.state[at], places.depth[at], slices.code[exits]), node


def _emit(trie: Trie, row: Tensor, node: Tensor, words: Tensor) -> None:
    """Set the bits of the tokens that end at nodes."""
    num = trie.first[node + 1] - trie.first[node]
    which = torch.repeat_interleave(torch.arange(len(node), device=node.device), num)
    at = trie.first[node][which] + torch.arange(len(which), device=node.device) - (num.cumsum(0) - num)[which]
    token = trie.tokens[at].long()
    # Several places of a row may allow a token: each bit is added once.
    bits = (row[which].long() * (words.shape[1] * 32) + token).unique()
    flat = words.view(-1)
    bits = bits[(flat[bits >> 5] >> (bits & 31)) & 1 == 0]
    flat.index_add_(0, bits >> 5, torch.ones_like(bits, dtype=torch.int32) << (bits & 31).int())


def packed(flags: Tensor) -> Tensor:
    """bool [B, 32 W] as int32 [B, W]."""
    weights = torch.ones(32, dtype=torch.int64, device=flags.device) << torch.arange(32, device=flags.device)
    sums = (flags.view(len(flags), flags.shape[1] // 32, 32) * weights).sum(2)
    return torch.where(sums >= 1 << 31, sums - (1 << 32), sums).int()


def advance(
    automaton: Automaton, places: Places, token: Tensor, text_first: Tensor, text: Tensor, miss: Tensor
) -> None:
    """Move places on, in place, and fill `miss`; see `grammar_advance`."""
    stepper = Stepper(automaton, replace(places, stack=places.stack.clone()), miss)
    at = ((places.state >= 0) & (token[places.owner] >= 0)).nonzero().flatten()
    wanted = token[places.owner[at]]
    begin, end = text_first[wanted], text_first[wanted + 1]
    stepper.note(at, begin == end, TOKEN, wanted, torch.zeros_like(wanted))
    at, begin, end = at[begin < end], begin[begin < end], end[begin < end]
    state, stack = places.state[at], places.depth[at]
    places.state[at] = -1
    while len(at):
        lanes = _lanes(at, text[begin].int(), state, stack)
        on = stepper.step(lanes)
        at, begin, end, state, stack = at[on], begin[on] + 1, end[on], lanes.state[on], lanes.stack[on]
        fine = stepper.check_branches(at, stack, stepper.ends(state))
        at, begin, end, state, stack = at[fine], begin[fine], end[fine], state[fine], stack[fine]
        over = begin == end
        for p, s, ref in zip(at[over].tolist(), state[over].tolist(), stack[over].tolist(), strict=True):
            _arrive(places, stepper, p, s, ref)
        at, begin, end, state, stack = at[~over], begin[~over], end[~over], state[~over], stack[~over]


def _arrive(places: Places, stepper: Stepper, place: int, state: int, stack: int) -> None:
    """Write down a place's state and stack."""
    pushed = list[int]()
    while stack < 0:
        pushed.append(int(stepper.arena.back[-1 - stack]))
        stack = int(stepper.arena.below[-1 - stack])
    depth = stack + len(pushed)
    if depth > places.stack.shape[1]:
        at, number = places.state.new_tensor([place]), places.state.new_tensor([state])
        stepper.note(at, torch.ones_like(at, dtype=torch.bool), ROOM, number, torch.zeros_like(number))
        return
    places.stack[place, stack:depth] = places.stack.new_tensor(pushed[::-1])
    places.state[place], places.depth[place] = state, depth
