"""How long a state's completions can be: for each number k the nodes that have one of exactly k code points, which
repeats sooner or later (a unary automaton's language is ultimately periodic).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from espalier.grammar.errors import GrammarTooLargeError
from espalier.grammar.text.leaf import Graph

_MAX_BITS = 400_000_000


class Lengths:
    """See the module; sets are bool[num_nodes]."""

    def __init__(self, graph: Graph) -> None:
        behind, final = graph
        self._from = np.array([node for node, targets in enumerate(behind) for _ in targets], dtype=np.intp)
        self._to = np.array([target for targets in behind for target in targets], dtype=np.intp)
        self._sets = [np.array(final, dtype=bool)]
        self._seen = {self._sets[0].tobytes(): 0}
        self._begin, self._period = 0, 0  # a period of 0: not known yet

    def _at(self, k: int) -> np.ndarray:
        while len(self._sets) <= k and not self._period:
            self._extend()
        return self._sets[k if k < len(self._sets) else self._begin + (k - self._begin) % self._period]

    def _extend(self) -> None:
        last = self._sets[-1]
        after = np.zeros(len(last), dtype=bool)
        after[self._from[last[self._to]]] = True
        key = after.tobytes()
        if key in self._seen:
            self._begin = self._seen[key]
            self._period = len(self._sets) - self._begin
            return
        if len(self._sets) * len(last) > _MAX_BITS:
            raise GrammarTooLargeError("pattern_states", _MAX_BITS, "the lengths of a pattern's texts")
        self._seen[key] = len(self._sets)
        self._sets.append(after)

    def first(self, nodes: Iterable[int], least: int, most: int) -> int:
        """The smallest number in a range of code points that complete one of the nodes; -1 if there is none."""
        places = list(nodes)
        k = least
        while k <= most:
            if self._at(k)[places].any():
                return k
            k += 1
            if self._period and k >= max(least, self._begin) + self._period:
                return -1
        return -1

    def tail(self) -> tuple[int, int]:
        """From which number on the sets repeat, and with which period; no node's least number is greater."""
        while not self._period:
            self._extend()
        return self._begin + self._period, self._period
