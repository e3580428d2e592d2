"""How far the states of a product are from the end, in one cell: exact, whatever the formula.

Where one leaf alone decides, it knows its distances. Else the nearest end is searched for (A*, with the leaves'
distances as the bound from below), and what the search finds out about the states on its way is kept. Completions of
a certain length need the lengths of all.
"""

from __future__ import annotations

from heapq import heappop, heappush

from espalier.grammar.text.cell import Cell
from espalier.grammar.text.leaf import Leaf
from espalier.grammar.text.lengths import Lengths
from espalier.grammar.text.nfa import FAR
from espalier.grammar.text.product import Product


class Reach:
    """See the module; numbers are code points, FAR where there is no end."""

    def __init__(self, product: Product, cell: Cell) -> None:
        self._product, self._formula = product, cell.formula
        place = None if isinstance(cell.formula, bool) else product.places.get(cell.formula)
        self._leaf: Leaf | None = None
        self._place = 0
        if place is not None and product.leaves[place].is_exact:
            self._leaf, self._place = product.leaves[place], place
        self._nearest: dict[int, int] = {}
        self._lengths: Lengths | None = None

    @property
    def is_decided(self) -> bool:
        """Whether the formula asks nothing."""
        return isinstance(self._formula, bool)

    def nearest(self, state: int) -> int:
        """The fewest code points to an end."""
        found = self._nearest.get(state)
        if found is None:
            decided = self._product.residual(state, self._formula)
            if decided is not None:
                found = 0 if decided else FAR
            elif self._leaf is not None:
                found = self._leaf.distance(self._product.leaf_state(state, self._place))
            else:
                self._search(state)
                return self._nearest[state]
            self._nearest[state] = found
        return found

    def _search(self, start: int) -> None:
        product, formula, known = self._product, self._formula, self._nearest
        came: dict[int, tuple[int, int]] = {start: (0, -1)}  # code points read, the state before
        closed: set[int] = set()
        pending = [(0, 0, start)]  # the length of a shortest text if the bound is right, the bound, the state
        while pending:
            state = heappop(pending)[2]
            if state in closed:
                continue
            num_read = came[state][0]
            if state not in known and product.holds(state, formula):
                known[state] = 0
            if known.get(state, FAR) < FAR:
                self._remember(state, came)
                return
            closed.add(state)
            for after in () if state in known else product.behind(state):
                if after not in came or came[after][0] > num_read + 1:
                    bound = known.get(after)
                    bound = product.bound(after, formula) if bound is None else bound
                    if bound < FAR:
                        came[after] = (num_read + 1, state)
                        heappush(pending, (num_read + 1 + bound, bound, after))
        known.update(dict.fromkeys(closed, FAR))

    def _remember(self, state: int, came: dict[int, tuple[int, int]]) -> None:
        """The distances of all states on the way to one whose own is known."""
        total = came[state][0] + self._nearest[state]
        while state >= 0:
            num_read, state_before = came[state]
            self._nearest[state] = total - num_read
            state = state_before

    def lives(self, state: int, least: int, most: int) -> bool:
        """Whether some completion has so many code points, both ends included."""
        nearest = self.nearest(state)
        if nearest > most or nearest >= FAR:
            return False
        return nearest >= least or self.fewest(state, least, most) >= 0

    def fewest(self, state: int, least: int, most: int) -> int:
        """The fewest code points, at least so many, that complete; -1 if none do."""
        nearest = self.nearest(state)
        if nearest >= least:
            return nearest if nearest <= most and nearest < FAR else -1
        if self._product.residual(state, self._formula) is True:
            return least
        return self._all_lengths().first(self._nodes(state), least, most)

    def _nodes(self, state: int) -> list[int]:
        if self._leaf is None:
            return [state]
        return list(self._leaf.nodes(self._product.leaf_state(state, self._place)))

    def _all_lengths(self) -> Lengths:
        if self._lengths is None:
            product = self._product
            if self._leaf is not None:
                self._lengths = Lengths(self._leaf.graph())
            else:
                states = product.explored()
                final = [product.holds(state, self._formula) for state in states]
                self._lengths = Lengths(([list(product.behind(state)) for state in states], final))
        return self._lengths

    def spread(self) -> int:
        """No state that has a completion is further from the nearest end."""
        if self.is_decided:
            return 0
        if self._leaf is not None:
            return self._leaf.spread
        return max((far for far in map(self.nearest, self._product.explored()) if far < FAR), default=0)

    def tail(self) -> tuple[int, int]:
        """From which number on the lengths of completions repeat, and with which period."""
        return (0, 1) if self.is_decided else self._all_lengths().tail()
