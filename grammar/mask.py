"""Token masks: how one is made from the threads of a cursor, and what is kept of it.

A mask is kept as a base that many share and the words in which it differs. Masks belong to a grammar and are found by
what threads have in common (state and frames); the large parts, free strings foremost, belong to the vocabulary and so
to all grammars: see `shared.py`.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from espalier.grammar.explore import Explorer
from espalier.grammar.found import UNWATCHED, Found, Rest, Watch
from espalier.grammar.key_core import KeyCore
from espalier.grammar.limits import Limits
from espalier.grammar.name_paths import Paths, name_ends
from espalier.grammar.number_frame import NumberState
from espalier.grammar.part import SpecialState
from espalier.grammar.shared import Bounded, shared
from espalier.grammar.state import Outcome, State
from espalier.grammar.text_base import MOST_COUNTED
from espalier.grammar.text_frame import MachineCore, TextState
from espalier.grammar.thread import END, Frame, FrameKeys, Thread, closure, cut
from espalier.grammar.token_mask import Mask, changed, difference, few
from espalier.grammar.vocabulary import Tails, Vocabulary

MOST_RECENT = 4_096  # masks that are found by the state itself
_MOST_CUT = 3  # frames: masks that depend on more are not looked for on other stacks
_FEWER = 40  # tokens: more are packed faster as an array than one by one


class Masks:
    """The masks of one grammar."""

    def __init__(self, vocabulary: Vocabulary, keys: FrameKeys, end_tokens: frozenset[int], limits: Limits) -> None:
        self._shared = shared(vocabulary)
        self._keys, self._limits = keys, limits
        self._end_tokens = sorted(end_tokens)
        self._masks = Bounded(limits.mask_bytes)
        self._paths = Paths(limits.mask_bytes // 4)
        self._rests: dict[Hashable, Rest] = {}
        self._cut_rests: dict[Hashable, Rest] = {}  # the same by the frames that matter
        self._cuts: dict[Hashable, tuple[int, ...]] = {}  # by state, or outcome and return: how many frames mattered
        self._lowest = 0  # of the mask that is made: the depth of the outermost frame that ended, or more
        # Some of `_masks` by state and frame: keys by content take longer than a look-up in here.
        self._recent: dict[tuple[State, int], Mask] = {}
        self._num_forgotten = 0

    @property
    def num_bytes(self) -> int:
        """Roughly what the masks of this grammar take, what it shares with others left out."""
        return (
            self._masks.num_bytes
            + self._paths.num_bytes
            + 400 * len(self._cut_rests)
            + 200 * len(self._cuts)
            + len(self._rests) * (2 * len(self.tails.trie) + 400)
        )

    def of(self, threads: tuple[Thread, ...]) -> Mask:
        """What the threads of a cursor allow."""
        if len(threads) == 1:
            return self._of_one(threads[0])
        key = tuple(thread.key(self._keys) for thread in threads)
        found = self._masks.get(key)
        if found is None:
            parts = [self._of_one(thread) for thread in threads]
            packed = np.bitwise_or.reduce([part.packed() for part in parts]) if parts else self._shared.nothing
            found = difference(packed, self._shared.nothing)
            if not any(thread.frame is not None and thread.frame.is_recording for thread in threads):
                self._masks.put(key, found, found.num_bytes)
        assert isinstance(found, Mask)
        return found

    def _of_one(self, thread: Thread) -> Mask:
        frame = thread.frame
        if frame is not None and self._is_deep(frame):
            return self._by_content(thread, frame.depth)[0]
        place = (thread.state, self._keys.of(frame))
        found = self._recent.get(place)
        if found is None:
            near = self._near(thread)
            found, is_kept = self._by_content(thread) if near is None else self._of_near(near)
            self._remember(place, found if is_kept else None)
        return found

    def _of_near(self, thread: Thread) -> tuple[Mask, bool]:
        """The mask of a thread that others are like, and whether it is kept."""
        place = (thread.state, self._keys.of(thread.frame))
        found = self._recent.get(place)
        if found is not None:
            return found, True
        found, is_kept = self._by_content(thread)
        self._remember(place, found if is_kept else None)
        return found, is_kept

    def _near(self, thread: Thread) -> Thread | None:
        """A thread that allows the same, as many others do; None if none is known."""
        state, near = thread.state, thread.state
        if isinstance(state, NumberState):
            near = state.near(self._shared.vocabulary.most_digits)
        elif isinstance(state, TextState) and isinstance(state.core, KeyCore) and self._is_apart(state, state.core):
            near = state.core.apart().shell(any_escapes=False)
        return None if near is state else Thread(near, thread.frame, thread.tape)

    def _is_apart(self, state: TextState, core: KeyCore) -> bool:
        """Whether the name is of the same classes behind each token: no token ends it as one that is known or used."""
        if state.pending or state.any_escapes or not core.has_class or not core.is_plain:
            return False
        trie, (known, used) = self._shared.trie, core.nodes
        is_ended = (known is not None and self._paths.ends(trie, 0, known)) or (used and name_ends(trie, 0, used))
        return not is_ended

    def _remember(self, place: tuple[State, int], mask: Mask | None) -> None:
        """Only what `_masks` keeps, which bounds it in bytes."""
        if self._masks.num_forgotten != self._num_forgotten or len(self._recent) >= MOST_RECENT:
            self._recent.clear()
            self._num_forgotten = self._masks.num_forgotten
        if mask is not None:
            self._recent[place] = mask

    def _by_content(self, thread: Thread, depth: int = 0) -> tuple[Mask, bool]:
        """A mask, and whether it is kept."""
        key = (thread.key(self._keys), depth)
        found = self._masks.get(key)
        if found is None:
            found = None if depth else self._on_other_stack(thread)
            if found is None:
                self._lowest = self._limits.depth
                found, needs_text = self._make(thread)
                if needs_text:
                    return found, False
                if not depth:
                    self._share(thread, found)
            self._masks.put(key, found, found.num_bytes + 200)
        assert isinstance(found, Mask)
        return found, key in self._masks

    def _on_other_stack(self, thread: Thread) -> Mask | None:
        """The mask of a thread whose outer frames are others, if they did not matter."""
        state_key = thread.state.mask_key
        for num_frames in self._cuts.get(state_key, ()):
            inner = cut(thread.frame, num_frames)
            found = None if inner is None else self._masks.get((state_key, inner))
            if found is not None:
                assert isinstance(found, Mask)
                return found
        return None

    def _share(self, thread: Thread, mask: Mask) -> None:
        """Keep a mask for threads that have only those frames in common that ended when it was made."""
        depth = 0 if thread.frame is None else thread.frame.depth
        num_frames = max(depth - self._lowest + 1, 1)
        inner = cut(thread.frame, num_frames) if num_frames <= _MOST_CUT else None
        if inner is not None:
            state_key = thread.state.mask_key
            self._masks.put((state_key, inner), mask, mask.num_bytes + 200)
            _note(self._cuts, state_key, num_frames)

    def _make(self, thread: Thread) -> tuple[Mask, bool]:
        """A mask, and whether it is good only for what was read."""
        state = thread.state
        if state is END:
            return self._few(self._end_tokens), False
        if isinstance(state, SpecialState):
            return self._few([state.token]), False
        if isinstance(state, TextState) and not state.pending and isinstance(state.core, MachineCore | KeyCore):
            return self._text(thread, state)
        found, in_doubt = self._walk(thread)
        return found, in_doubt

    def _walk(self, thread: Thread, is_exact: bool = False) -> tuple[Mask, bool]:
        """By a walk from the root of the trie."""
        walk = self._explorer(is_exact)
        found = walk.explore(0, [thread])
        self._lowest = min(self._lowest, walk.lowest)
        if found.is_sensitive and not is_exact:
            return self._walk(thread, is_exact=True)
        if not found.is_listed:
            tokens, in_doubt = self._decided(thread, found)
            return self._few(tokens.tolist() if tokens.size <= _FEWER else tokens), in_doubt or is_exact
        return self._few(self._shared.trie.ids_of(found.nodes)), is_exact

    def _explorer(self, is_exact: bool = False) -> Explorer:
        return Explorer(self._shared.trie, self._shared, self._keys, self._paths, self._limits.depth, self, is_exact)

    def _decided(self, thread: Thread, found: Found) -> tuple[np.ndarray, bool]:
        """The tokens of a walk, those in doubt tried one by one; and whether there were any."""
        trie = self._shared.trie
        parts = [trie.ids(found.all_nodes()), *found.tokens]
        doubtful = [*found.doubtful_tokens, *(trie.below(node) for node in found.doubtful)]
        if doubtful:
            tried = np.concatenate(doubtful).tolist()
            parts.append(np.array([token for token in tried if self._reads(thread, token)], dtype=np.int32))
        return np.concatenate(parts) if len(parts) > 1 else parts[0], bool(doubtful)

    def _reads(self, thread: Thread, token: int) -> bool:
        threads = [thread]
        for byte in self._shared.vocabulary.tokens[token] or b"":
            threads = closure((t for one in threads for t in one.advance(byte, self._limits.depth)), self._keys)
        return bool(threads)

    def _text(self, thread: Thread, state: TextState) -> tuple[Mask, bool]:
        """Inside a string: the base of its machines, changed where known names begin so."""
        core, first = state.core, 0
        if isinstance(core, KeyCore):
            background = core.background()
            if background is None:
                return self._walk(thread)
            first, shell = core.first_class, background.shell(state.any_escapes)
        else:
            shell = state
        base = self._shared.text_base(shell)
        rests = {outcome: self.rest(thread, first + outcome) for outcome in base.kinds}
        if any(rest.is_sensitive for rest in rests.values()):
            return self._walk(thread, is_exact=True)
        mask = self._shared.text_mask(base, {outcome: (rest.number, rest.live) for outcome, rest in rests.items()})
        doubtful = [
            base.tokens[rest.doubtful[base.places] & (base.outcomes == outcome)]
            for outcome, rest in rests.items()
            if rest.doubtful is not None
        ]
        if not doubtful and not isinstance(core, KeyCore):
            return mask, False
        return self._patched(thread, mask, doubtful)

    def _patched(self, thread: Thread, base: Mask, doubtful: list[np.ndarray]) -> tuple[Mask, bool]:
        """A string's mask with what known names and doubts change."""
        walk = self._explorer()
        special = (
            walk.names(0, thread, UNWATCHED)
            if isinstance(thread.state, TextState) and isinstance(thread.state.core, KeyCore)
            else []
        )
        found = walk.found
        self._lowest = min(self._lowest, walk.lowest)
        if found.is_sensitive:
            return self._walk(thread, is_exact=True)
        forbidden = [*(self._shared.trie.below(node) for node in special), *doubtful]
        if found.is_listed and not found.nodes and not forbidden:
            return base, False
        found.doubtful_tokens.extend(doubtful)
        tokens, in_doubt = self._decided(thread, found)
        return changed(base, forbidden, tokens), in_doubt

    @property
    def tails(self) -> Tails:
        """What the vocabulary's tokens say behind quotes."""
        return self._shared.tails

    def rest(self, thread: Thread, outcome: Outcome, watch: Watch = UNWATCHED) -> Rest:
        """What may follow the thread's string."""
        frame = thread.frame
        assert frame is not None
        key = (self._keys.of(frame), outcome)
        found = None if watch else self._rests.get(key) or self._rest_on_other_stack(frame, outcome)
        if found is None:
            walk = Explorer(self.tails.trie, self._shared, self._keys, self._paths, self._limits.depth)
            found = walk.rest(thread, outcome, watch, self._shared.tail_number)
            inner = None if self._is_deep(frame) else cut(frame, found.num_ended)
            if inner is not None and not watch:
                self._cut_rests[(outcome, inner)] = found
                _note(self._cuts, (outcome, frame.back.mask_key), found.num_ended)
        if not watch:
            self._rests[key] = found
        self._lowest = min(self._lowest, frame.depth - found.num_ended + 1)
        return found

    def _rest_on_other_stack(self, frame: Frame, outcome: Outcome) -> Rest | None:
        """What may follow a string whose outer frames are others, if they did not matter."""
        for num_frames in () if self._is_deep(frame) else self._cuts.get((outcome, frame.back.mask_key), ()):
            inner = cut(frame, num_frames)
            found = None if inner is None else self._cut_rests.get((outcome, inner))
            if found is not None:
                return found
        return None

    def _is_deep(self, frame: Frame) -> bool:
        """Whether a token might open more frames than are allowed."""
        return frame.depth > self._limits.depth - MOST_COUNTED

    def _few(self, tokens: list[int] | np.ndarray) -> Mask:
        """The mask of some tokens, in no order."""
        if isinstance(tokens, np.ndarray) or len(tokens) > _FEWER:
            return difference(self._shared.vocabulary.packed(np.asarray(tokens, dtype=np.int32)), self._shared.nothing)
        return few(self._shared.nothing, sorted(set(tokens)))


def _note(cuts: dict[Hashable, tuple[int, ...]], key: Hashable, num_frames: int) -> None:
    known = cuts.get(key, ())
    if num_frames not in known:
        cuts[key] = (*known, num_frames)
