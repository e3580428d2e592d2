"""Token masks: what is kept of them, and how one is made from the threads of a cursor.

A mask is kept as a base that many share and the words in which it differs. Masks belong to a grammar and are found by
what threads have in common (state and frames); the large parts, free strings foremost, belong to the vocabulary and so
to all grammars.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from espalier.grammar.explore import UNWATCHED, Explorer, Found, Rest, Watch
from espalier.grammar.key_core import KeyCore
from espalier.grammar.leaf import LeafTable
from espalier.grammar.limits import Limits
from espalier.grammar.part import SpecialState
from espalier.grammar.slice import Runs, Slice, Walk
from espalier.grammar.state import Outcome, State
from espalier.grammar.text import Language
from espalier.grammar.text_frame import MachineCore, TextState, languages_frame
from espalier.grammar.thread import END, FrameKeys, Thread, closure
from espalier.grammar.trie import FEW_NODES, TokenTrie
from espalier.grammar.vocabulary import Tails, Vocabulary

FEW = 256  # tokens: as many are also listed
MOST_COUNTED = 128  # code points: no token has more that matter
MOST_LEAVES = 20_000  # states of strings and numbers whose rows are kept


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """`base` with `words` replaced by `values`. `tokens` lists what is allowed where that is little."""

    base: np.ndarray
    words: np.ndarray | None
    values: np.ndarray | None
    tokens: np.ndarray | None

    def fill(self, out: np.ndarray) -> None:
        """Write the mask into int32[num_words]."""
        np.copyto(out, self.base)
        if self.words is not None and self.values is not None:
            out[self.words] = self.values

    def packed(self) -> np.ndarray:
        """The mask as an array of its own."""
        out = np.empty_like(self.base)
        self.fill(out)
        return out

    @property
    def num_bytes(self) -> int:
        """What it takes by itself."""
        return 300 + sum(part.nbytes for part in (self.words, self.values, self.tokens) if part is not None)


def difference(packed: np.ndarray, base: np.ndarray, tokens: np.ndarray | None = None) -> Mask:
    """A mask over a base; by itself where the two have little in common."""
    words = np.flatnonzero(packed != base).astype(np.int32)
    if words.size > packed.size // 4:
        return Mask(packed, None, None, tokens)
    if not words.size:
        return Mask(base, None, None, tokens)
    return Mask(base, words, packed[words], tokens)


def _set(packed: np.ndarray, tokens: np.ndarray) -> None:
    """Allow tokens in a packed mask."""
    np.bitwise_or.at(packed, tokens >> 5, np.left_shift(1, tokens & 31, dtype=np.int32))


def _clear(packed: np.ndarray, tokens: np.ndarray) -> None:
    """Allow tokens no more."""
    np.bitwise_and.at(packed, tokens >> 5, ~np.left_shift(1, tokens & 31, dtype=np.int32))


class Bounded:
    """A dictionary that forgets what was not used for longest, bounded in bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._most, self._size = most_bytes, 0
        self._entries: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()

    @property
    def num_bytes(self) -> int:
        """What is kept, in bytes."""
        return self._size

    def get(self, key: Hashable) -> object | None:
        """What is kept, None if it is not."""
        found = self._entries.get(key)
        if found is None:
            return None
        self._entries.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, value: object, num_bytes: int) -> None:
        """Keep something under a new key."""
        self._entries[key] = (value, num_bytes)
        self._size += num_bytes
        while self._size > self._most:
            _, (_, freed) = self._entries.popitem(last=False)
            self._size -= freed


@dataclass(frozen=True, slots=True, eq=False)
class TextBase:
    """All about a string's state, from the root of the vocabulary's trie, that does not depend on what follows it.

    `inside` allows the tokens that stay in the string. The others that may be allowed are `tokens`: at `places` of the
    tails' trie, behind a quote that ends the string with `outcomes`.
    """

    key: Hashable
    inside: np.ndarray
    tokens: np.ndarray
    places: np.ndarray
    outcomes: np.ndarray

    @property
    def num_bytes(self) -> int:
        """What it takes by itself; arrays that it shares with others are not counted."""
        own = (part.nbytes for part in (self.inside, self.tokens, self.places, self.outcomes) if part.flags.writeable)
        return 500 + sum(own)

    def mask(self, live: dict[Outcome, np.ndarray]) -> np.ndarray:
        """The packed mask, `live` saying for each outcome which tails may follow (bool by place)."""
        out = self.inside.copy()
        for outcome, tails in live.items():
            allowed = self.tokens[tails[self.places] & (self.outcomes == outcome)]
            _set(out, allowed)
        return out


class Free:
    """What a free string allows, by code points: masks of strings of which only the length matters are put together."""

    def __init__(self, vocabulary: Vocabulary, tails: Tails, found: Slice) -> None:
        assert found.inside_counts is not None and found.counts is not None
        self._vocabulary, self._trie = vocabulary, vocabulary.trie
        order = np.argsort(found.inside_counts, kind="stable")
        self._nodes = found.inside[order]
        self._ends = np.searchsorted(found.inside_counts[order], np.arange(MOST_COUNTED + 1), side="right")
        self._ends[MOST_COUNTED] = order.size
        which, rows = tails.rows(found.exits)
        self._tokens, self._places = tails.tokens[rows], tails.places[rows]
        self._counts = np.minimum(found.counts, MOST_COUNTED)[which]
        self._outcomes = np.zeros(rows.size, dtype=np.int32)
        self._masks: dict[int, np.ndarray] = {}
        self.inside = self._up_to(MOST_COUNTED)
        for shared_part in (self._tokens, self._places, self._outcomes):
            shared_part.flags.writeable = False

    def _up_to(self, most: int) -> np.ndarray:
        """The packed mask of the tokens of so many code points at most that stay in the string."""
        found = self._masks.get(most)
        if found is None:
            nodes, end = self._nodes, self._ends[most]
            if most == MOST_COUNTED or end < nodes.size // 2:
                found = self._vocabulary.packed(self._trie.ids(nodes[:end]))
            else:
                found = self.inside.copy()
                _clear(found, self._trie.ids(nodes[end:]))
            found.flags.writeable = False
            self._masks[most] = found
        return found

    def base(self, key: Hashable, lives: np.ndarray, ends: np.ndarray) -> TextBase:
        """The base of a string that lives, and may end, after so many code points more: bool[MOST_COUNTED + 1] each."""
        most = int(np.flatnonzero(lives)[-1])
        if not lives[:most].all():
            raise AssertionError("a string that comes back to life")
        exits = np.flatnonzero(ends[self._counts])
        rows = self._tokens, self._places, self._outcomes
        if exits.size < rows[0].size:
            rows = self._tokens[exits], self._places[exits], self._outcomes[exits]
        return TextBase(key, self._up_to(most), *rows)


class Shared:
    """What all grammars over a vocabulary share: slices, strings' bases, whole masks of strings."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.trie, self.tails = vocabulary.trie, vocabulary.tails
        self.nothing = vocabulary.empty_mask()
        self._table, self._runs = LeafTable(), Runs(self.trie)
        self._slices = Bounded(64 << 20)
        self._bases = Bounded(32 << 20)
        self._masks = Bounded(32 << 20)
        self._tails: dict[bytes, int] = {}
        self._frees: dict[bool, Free] = {}
        every = languages_frame((Language.EVERY,), Limits()).start()
        assert every is not None
        self._every = every

    def get(self, trie: TokenTrie, node: int, state: State) -> Slice:
        """The slice of a leaf state below a node."""
        key = (trie, node, state.mask_key)
        found = self._slices.get(key)
        if found is None:
            found = self._walk(trie, node, state)
            self._slices.put(key, found, found.num_bytes)
        assert isinstance(found, Slice)
        return found

    def _walk(self, trie: TokenTrie, node: int, state: State, counts: bool = False) -> Slice:
        if len(self._table.states) > MOST_LEAVES:
            self._table = LeafTable()
        runs = self._runs if trie is self.trie and not counts else None
        return Walk(self._table, trie, runs, counts).slice(self._table.number(state), node)

    def text_base(self, state: TextState) -> TextBase:
        """The base of a string's state outside of escapes, its core being a row of machines."""
        key = state.mask_key
        found = self._bases.get(key)
        if found is None:
            found = self._counted(key, state) or self._immortal(key, state) or self._any(key, state)
            self._bases.put(key, found, found.num_bytes)
        assert isinstance(found, TextBase)
        return found

    def _any(self, key: Hashable, state: TextState) -> TextBase:
        found = self._walk(self.trie, 0, state)
        return self._text_base(key, self.vocabulary.packed(self.trie.ids(found.inside)), found)

    def _text_base(self, key: Hashable, inside: np.ndarray, found: Slice) -> TextBase:
        which, rows = self.tails.rows(found.exits)
        return TextBase(key, inside, self.tails.tokens[rows], self.tails.places[rows], found.outcomes[which])

    def _free(self, any_escapes: bool) -> Free:
        """What a free string allows."""
        found = self._frees.get(any_escapes)
        if found is None:
            counted = self._walk(self.trie, 0, self._every.shell(any_escapes), counts=True)
            found = self._frees[any_escapes] = Free(self.vocabulary, self.tails, counted)
        return found

    def _counted(self, key: Hashable, state: TextState) -> TextBase | None:
        """The base of a string of which at most the length matters: a free string's tokens, by their code points."""
        core = state.core
        assert isinstance(core, MachineCore)
        if len(core.states) > 1 or core.states[0] is None:
            return None
        machine, (at, count) = core.frame.machines[0], core.states[0]
        if not machine.free(at):
            return None
        lengths = range(MOST_COUNTED + 1)
        lives = np.array([machine.lives(at, count + length) for length in lengths])
        ends = np.array([machine.accepts(at, count + length) for length in lengths])
        return self._free(state.any_escapes).base(key, lives, ends)

    def _immortal(self, key: Hashable, state: TextState) -> TextBase | None:
        """The base of a string that can be completed whatever it says: only where it may end is to be found out."""
        core = state.core
        assert isinstance(core, MachineCore)
        if len(core.states) > 1 or core.states[0] is None or not core.frame.machines[0].is_immortal(core.states[0][0]):
            return None
        found = self._walk(self.tails.quotes, 0, state)
        return self._text_base(key, self._free(state.any_escapes).inside, found)

    def tail_number(self, live: np.ndarray) -> int:
        """Equal sets of tails have one number."""
        return self._tails.setdefault(live.tobytes(), len(self._tails))

    def text_mask(self, base: TextBase, live: dict[Outcome, tuple[int, np.ndarray]]) -> np.ndarray:
        """The packed mask of a string before what may follow it; shared."""
        key = (base.key, *((outcome, number) for outcome, (number, _) in live.items()))
        found = self._masks.get(key)
        if found is None:
            found = base.mask({outcome: tails for outcome, (_, tails) in live.items()})
            self._masks.put(key, found, found.nbytes + 300)
        assert isinstance(found, np.ndarray)
        return found


@lru_cache(maxsize=8)
def shared(vocabulary: Vocabulary) -> Shared:
    """What is shared over a vocabulary: one in the process."""
    return Shared(vocabulary)


class Masks:
    """The masks of one grammar."""

    def __init__(self, vocabulary: Vocabulary, keys: FrameKeys, end_tokens: frozenset[int], limits: Limits) -> None:
        self._shared = shared(vocabulary)
        self._keys, self._limits = keys, limits
        self._end_tokens = np.array(sorted(end_tokens), dtype=np.int32)
        self._masks = Bounded(limits.mask_bytes)
        self._rests: dict[Hashable, Rest] = {}

    @property
    def num_bytes(self) -> int:
        """Roughly what the masks of this grammar take, what it shares with others left out."""
        return self._masks.num_bytes + len(self._rests) * (2 * len(self.tails.trie) + 400)

    def of(self, threads: tuple[Thread, ...]) -> Mask:
        """What the threads of a cursor allow."""
        if len(threads) == 1:
            return self._of_one(threads[0])
        key = tuple(thread.key(self._keys) for thread in threads)
        found = self._masks.get(key)
        if found is None:
            parts = [self._of_one(thread) for thread in threads]
            packed = np.bitwise_or.reduce([part.packed() for part in parts]) if parts else self._shared.nothing
            found = self._kept(packed)
            if not any(thread.frame is not None and thread.frame.is_recording for thread in threads):
                self._masks.put(key, found, found.num_bytes)
        assert isinstance(found, Mask)
        return found

    def _of_one(self, thread: Thread) -> Mask:
        key: Hashable = (thread.state.mask_key, self._keys.of(thread.frame))
        if thread.frame is not None and thread.frame.depth > self._limits.depth - MOST_COUNTED:
            key = (key, thread.frame.depth)
        found = self._masks.get(key)
        if found is None:
            found, needs_text = self._make(thread)
            if not needs_text:
                self._masks.put(key, found, found.num_bytes + 200)
        assert isinstance(found, Mask)
        return found

    def _make(self, thread: Thread) -> tuple[Mask, bool]:
        """A mask, and whether it is good only for what was read."""
        state = thread.state
        if state is END:
            return self._few(self._end_tokens), False
        if isinstance(state, SpecialState):
            return self._few(np.array([state.token], dtype=np.int32)), False
        if isinstance(state, TextState) and not state.pending and isinstance(state.core, MachineCore | KeyCore):
            return self._text(thread, state)
        found, in_doubt = self._walk(thread)
        return found, in_doubt

    def _walk(self, thread: Thread, is_exact: bool = False) -> tuple[Mask, bool]:
        """By a walk from the root of the trie."""
        walk = self._explorer(is_exact)
        found = walk.explore(0, [thread])
        if found.is_sensitive and not is_exact:
            return self._walk(thread, is_exact=True)
        tokens, in_doubt = self._decided(thread, found)
        return self._few(tokens), in_doubt or is_exact

    def _explorer(self, is_exact: bool = False) -> Explorer:
        return Explorer(self._shared.trie, self._shared, self._keys, self._limits.depth, self, is_exact)

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
        rests = {outcome: self.rest(thread, first + outcome) for outcome in np.unique(base.outcomes).tolist()}
        if any(rest.is_sensitive for rest in rests.values()):
            return self._walk(thread, is_exact=True)
        packed = self._shared.text_mask(base, {outcome: (rest.number, rest.live) for outcome, rest in rests.items()})
        doubtful = [
            base.tokens[rest.doubtful[base.places] & (base.outcomes == outcome)]
            for outcome, rest in rests.items()
            if rest.doubtful is not None
        ]
        if not doubtful and not isinstance(core, KeyCore):
            return Mask(packed, None, None, None), False
        return self._patched(thread, packed, doubtful)

    def _patched(self, thread: Thread, base: np.ndarray, doubtful: list[np.ndarray]) -> tuple[Mask, bool]:
        """A string's mask with what known names and doubts change."""
        walk = self._explorer()
        special = (
            walk.names(0, thread, UNWATCHED)
            if isinstance(thread.state, TextState) and isinstance(thread.state.core, KeyCore)
            else []
        )
        found = walk.found
        if found.is_sensitive:
            return self._walk(thread, is_exact=True)
        out, trie = base.copy(), self._shared.trie
        for node in special:
            _clear(out, trie.below(node))
        found.doubtful_tokens.extend(doubtful)
        for tokens in doubtful:
            _clear(out, tokens)
        tokens, in_doubt = self._decided(thread, found)
        _set(out, tokens)
        return difference(out, base), in_doubt

    @property
    def tails(self) -> Tails:
        """What the vocabulary's tokens say behind quotes."""
        return self._shared.tails

    def rest(self, thread: Thread, outcome: Outcome, watch: Watch = UNWATCHED) -> Rest:
        """What may follow the thread's string."""
        assert thread.frame is not None
        key = (self._keys.of(thread.frame), outcome)
        found = None if watch else self._rests.get(key)
        if found is None:
            walk = Explorer(self.tails.trie, self._shared, self._keys, self._limits.depth)
            found = walk.rest(thread, outcome, watch, self._shared.tail_number)
            if not watch:
                self._rests[key] = found
        return found

    def _few(self, tokens: np.ndarray) -> Mask:
        """The mask of some tokens, in no order."""
        if tokens.size > FEW:
            return self._kept(self._shared.vocabulary.packed(tokens))
        if tokens.size <= FEW_NODES:
            ordered, by_word = sorted(set(tokens.tolist())), dict[int, int]()
            for token in ordered:
                by_word[token >> 5] = by_word.get(token >> 5, 0) | 1 << (token & 31)
            listed = np.array(ordered, dtype=np.int32)
            values = np.array(list(by_word.values()), dtype=np.uint32).view(np.int32)
            return Mask(self._shared.nothing, np.array(list(by_word), dtype=np.int32), values, listed)
        tokens = np.unique(tokens)
        words, first = np.unique(tokens >> 5, return_index=True)
        bits = np.left_shift(1, tokens & 31, dtype=np.int32)
        values = np.bitwise_or.reduceat(bits, first) if tokens.size else bits
        return Mask(self._shared.nothing, words, values, tokens)

    def _kept(self, packed: np.ndarray) -> Mask:
        count = int(np.bitwise_count(packed.view(np.uint32)).sum())
        tokens = self._shared.vocabulary.unpacked(packed) if count <= FEW else None
        return difference(packed, self._shared.nothing, tokens)
