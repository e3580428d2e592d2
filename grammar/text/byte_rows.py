"""The bytes of a product: states between and inside code points, numbered, with rows made on demand.

Between code points a state is one of the product. Inside one it is what the bytes to come lead to: a shape of UTF-8
with one product state, or a node of classes with one for each of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from espalier.grammar.text.leaf import Row
from espalier.grammar.text.product import NOWHERE, Product
from espalier.grammar.text.utf8 import SHAPES, Branch, Node, Uniform, leads


class ByteRows:
    """See the module; `rows_of` gives the product's rows, pruned to what lives."""

    def __init__(self, product: Product, rows_of: Callable[[int], Row]) -> None:
        self._rows_of = rows_of
        alphabet = product.alphabet
        self._num_classes = alphabet.num_classes
        self._ascii = np.array(alphabet.ascii, dtype=np.intp)
        self._leads, self._classes = leads(alphabet)
        self._usual_leads: dict[int, np.ndarray] = {}
        self._ids: dict[object, int] = {}
        # The shape (0: between code points), the node if there is one, states of the product.
        self._inside: list[tuple[int, Node | None, np.ndarray]] = []
        self._rows: list[np.ndarray | None] = []

    def between(self, target: int) -> int:
        """The state before a code point."""
        return self._id(0, None, target)

    def _id(self, shape: int, node: Node | None, target: int) -> int:
        key = (shape, target)
        found = self._ids.get(key)
        return self._new(key, shape, node, np.array([target])) if found is None else found

    def _new(self, key: object, shape: int, node: Node | None, targets: np.ndarray) -> int:
        found = self._ids[key] = len(self._rows)
        self._inside.append((shape, node, targets))
        self._rows.append(None)
        return found

    def _within(self, node: Node, targets: np.ndarray) -> int:
        """The state inside a code point of one of several classes; NOWHERE if they all lead there."""
        first = targets[0]
        if (targets == first).all():
            return NOWHERE if first == NOWHERE else self._id(node.shape, None, int(first))
        key = (node, targets.tobytes())
        found = self._ids.get(key)
        return self._new(key, node.shape, node, targets) if found is None else found

    def is_between(self, state: int) -> bool:
        """Whether a code point has just ended."""
        return self._inside[state][0] == 0

    def targets(self, state: int) -> list[int]:
        """The product states that the end of the code point can lead to; between code points, the one it is."""
        found = self._inside[state][2]
        return found.tolist() if len(found) == 1 else [t for t in np.unique(found).tolist() if t != NOWHERE]

    def row(self, state: int) -> np.ndarray:
        """int32[256]: the next state, NOWHERE where nothing is accepted or the bytes are no UTF-8."""
        found = self._rows[state]
        if found is None:
            shape, node, targets = self._inside[state]
            found = np.full(256, NOWHERE, dtype=np.int32)
            if shape == 0:
                self._fill(found, int(targets[0]))
            elif node is None:
                low, high, after = SHAPES[shape]
                found[low : high + 1] = self._id(after, None, int(targets[0]))
            else:
                self._fill_branches(found, node.branches, targets)
            found.flags.writeable = False
            self._rows[state] = found
        return found

    def _fill(self, row: np.ndarray, state: int) -> None:
        rest, others = self._rows_of(state)
        targets = np.full(self._num_classes, rest)
        states = np.full(self._num_classes, NOWHERE if rest == NOWHERE else self.between(rest), dtype=np.int32)
        for kind, target in others.items():
            targets[kind] = target
            states[kind] = NOWHERE if target == NOWHERE else self.between(target)
        row[:0x80] = states[self._ascii]
        longer = targets[self._classes]
        usual = NOWHERE if self._leads.usual < 0 else int(longer[self._leads.usual])
        if usual != NOWHERE:
            row[0x80:] = self._leads_to(usual)
        self._fill_branches(row, self._leads.branches, longer)

    def _leads_to(self, target: int) -> np.ndarray:
        """The upper half of a row, as far as code points of the most usual class come."""
        found = self._usual_leads.get(target)
        if found is None:
            found = np.full(0x80, NOWHERE, dtype=np.int32)
            for shape, places in self._leads.shapes:
                found[places] = self._id(shape, None, target)
            self._usual_leads[target] = found
        return found

    def _fill_branches(self, row: np.ndarray, branches: list[tuple[Branch, list[int]]], targets: np.ndarray) -> None:
        for branch, bytes_ in branches:
            if isinstance(branch, Uniform):
                target = int(targets[branch.place])
                state = NOWHERE if target == NOWHERE else self._id(branch.shape, None, target)
            else:
                state = self._within(branch, targets[branch.places])
            row[bytes_] = state
