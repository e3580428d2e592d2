"""What all grammars over a vocabulary share: slices, strings' bases, whole masks of strings; each bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from espalier.grammar.enum_core import EnumCore
from espalier.grammar.leaf import LeafTable
from espalier.grammar.limits import Limits
from espalier.grammar.number_frame import NumberState
from espalier.grammar.slice import Runs, Slice, Walk
from espalier.grammar.state import Outcome, State
from espalier.grammar.text import Language, TextMachine
from espalier.grammar.text_base import MOST_COUNTED, Free, TextBase
from espalier.grammar.text_frame import MachineCore, TextState, languages_frame
from espalier.grammar.token_mask import Mask
from espalier.grammar.trie import TokenTrie
from espalier.grammar.vocabulary import Vocabulary

MOST_LEAVES = 20_000  # states of strings and numbers whose rows are kept


class Bounded:
    """A dictionary that forgets what was not used for longest, bounded in bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._most, self._size = most_bytes, 0
        self.num_forgotten = 0
        self._entries: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries

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
            self.num_forgotten += 1


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
        if isinstance(state, NumberState):
            state = state.near(self.vocabulary.most_digits)
        key = (trie, node, state.mask_key)
        found = self._slices.get(key)
        if found is None:
            found = self._walk(trie, node, state)
            self._slices.put(key, found, found.num_bytes)
        assert isinstance(found, Slice)
        return found

    def _walk(self, trie: TokenTrie, node: int, state: State, counts: bool = False) -> Slice:
        if isinstance(state, TextState) and isinstance(state.core, EnumCore):
            return state.core.slice(trie, node)
        if len(self._table.states) > MOST_LEAVES:
            self._table = LeafTable()
        runs = self._runs if trie is self.trie and not counts else None
        return Walk(self._table, trie, runs, counts).slice(self._table.number(state), node)

    def text_base(self, state: TextState) -> TextBase:
        """The base of a string's state outside of escapes, its core being a row of machines."""
        key = state.mask_key
        found = self._bases.get(key)
        if found is None:
            found = self._made(key, state)
            self._bases.put(key, found, found.num_bytes)
        assert isinstance(found, TextBase)
        return found

    def _made(self, key: Hashable, state: TextState) -> TextBase:
        read = _single(state)
        special = None if read is None else self._counted(key, state, read) or self._immortal(key, state, read)
        return special or self._any(key, state)

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

    def _counted(self, key: Hashable, state: TextState, read: _Read) -> TextBase | None:
        """The base of a string of which at most the length matters: a free string's tokens, by their code points."""
        machine, at, count = read
        if not machine.free(at):
            return None
        return self._free(state.any_escapes).base(key, *machine.lengths(at, count, MOST_COUNTED + 1))

    def _immortal(self, key: Hashable, state: TextState, read: _Read) -> TextBase | None:
        """The base of a string that can be completed whatever it says: only where it may end is to be found out."""
        machine, at, _ = read
        if not machine.is_immortal(at):
            return None
        found = self._walk(self.tails.quotes, 0, state)
        return self._text_base(key, self._free(state.any_escapes).inside, found)

    def tail_number(self, live: np.ndarray) -> int:
        """Equal sets of tails have one number."""
        return self._tails.setdefault(live.tobytes(), len(self._tails))

    def text_mask(self, base: TextBase, live: dict[Outcome, tuple[int, np.ndarray]]) -> Mask:
        """The mask of a string before what may follow it."""
        key = (base.key, *((outcome, number) for outcome, (number, _) in live.items()))
        found = self._masks.get(key)
        if found is None:
            found = base.mask({outcome: tails for outcome, (_, tails) in live.items()})
            self._masks.put(key, found, found.num_bytes)
        assert isinstance(found, Mask)
        return found


_Read: TypeAlias = tuple[TextMachine, int, int]  # a machine, its state, the code points that it has read


def _single(state: TextState) -> _Read | None:
    """What reads a string of one language; None if there are several."""
    core = state.core
    assert isinstance(core, MachineCore)
    if len(core.states) > 1 or core.states[0] is None:
        return None
    return core.frame.machines[0], *core.states[0]


@lru_cache(maxsize=8)
def shared(vocabulary: Vocabulary) -> Shared:
    """What is shared over a vocabulary: one in the process."""
    return Shared(vocabulary)
