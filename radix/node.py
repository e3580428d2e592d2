"""A node of the prefix tree: the end of an edge, whose run of tokens it keeps.

The slots are those of the first `len(slots)` tokens of the run. What lies behind them was here and is gone, a *ghost*:
its token ids tell why a request missed, and below it only ghosts can be. A *live* node has slots.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from typing import NamedTuple

import numpy as np

from espalier.radix.account import Account
from espalier.radix.run import EMPTY, Ids, unpacked
from espalier.radix.slots import Slots


class Root(NamedTuple):
    """The key of a root: a tenant, opaque here, and the salt that the tenant's client chose."""

    tenant: Hashable
    salt: Hashable = ""


class Node:
    """The edge that ends here starts behind `begin` tokens of its path.

    `locks` are running requests that hold it or anything below, `leases` the sessions that do; `tips` are sessions that
    end here. Its slots are given up at `expires`, or some day (inf); what lies below never expires later.
    """

    __slots__ = (
        "__weakref__",
        "account",
        "begin",
        "children",
        "expires",
        "is_abandoned",
        "last_used",
        "leases",
        "locks",
        "num_live",
        "parent",
        "slots",
        "stamp",
        "tips",
        "token_ids",
    )

    def __init__(self, parent: Node | None, account: Account, token_ids: Ids, slots: Slots, now: float) -> None:
        self.parent, self.account = parent, account
        self.token_ids, self.slots = token_ids, slots
        self.begin: int = 0 if parent is None else parent.begin + len(parent.token_ids)
        self.children: dict[int, Node] = {}
        self.num_live = 0
        self.last_used = now
        self.locks = self.leases = self.tips = 0
        self.is_abandoned = False
        self.expires = math.inf
        self.stamp: float | None = None

    @property
    def end(self) -> int:
        """Tokens of the path that have slots, all above included."""
        return self.begin + len(self.slots)

    @property
    def num_ghosts(self) -> int:
        """Tokens of the run that are gone."""
        return len(self.token_ids) - len(self.slots)

    @property
    def is_evictable(self) -> bool:
        """Whether its end may be given up: nobody holds it, and nothing with slots continues it."""
        free = not (self.locks or self.leases or self.num_live)
        return free and self.parent is not None and len(self.slots) > 0

    @property
    def is_passing(self) -> bool:
        """Whether it is known when its slots are given up at the latest."""
        return self.expires < math.inf

    @property
    def last_wanted(self) -> float:
        """When it was used last; what is wanted until some time is as good as used then."""
        return self.expires if self.expires < math.inf else self.last_used

    @property
    def is_private(self) -> bool:
        """Whether one running request holds it, and no session: its edge may change under no one else's eyes."""
        return self.locks == 1 and self.leases == 0 and self.parent is not None

    def path(self) -> Iterator[Node]:
        """This node and all above it, the root included."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent

    def path_ids(self) -> Ids:
        """The token ids from the root to `end`."""
        parts = [above.token_ids[: len(above.slots)] for above in self.path()]
        return np.concatenate(parts[::-1])

    def path_slots(self) -> Ids:
        """The slots from the root to `end`."""
        return unpacked([part for above in [*self.path()][::-1] for part in above.slots.parts])

    def root(self) -> Root:
        """The key of the root above."""
        *_, top = self.path()
        assert isinstance(top, Top), "a node that is no longer in the tree"
        return top.key


class Top(Node):
    """The root of a key; dropped when nothing is below it and nobody holds it."""

    __slots__ = ("key",)

    def __init__(self, key: Root, account: Account, now: float) -> None:
        super().__init__(None, account, EMPTY, Slots(), now)
        self.key = key
