"""What the prefix tree answers: the prefix that it has, and what it gave up."""

from __future__ import annotations

from typing import NamedTuple

from espalier.radix.node import Node
from espalier.radix.run import Ids, Part


class Match(NamedTuple):
    """A prefix in the tree: the node where it ends and the slots of its tokens.

    So many of the tokens that follow were there once and are gone: `num_evicted`.
    """

    node: Node
    slots: Ids
    num_evicted: int = 0


class Evicted(NamedTuple):
    """Slots given up, as the tree kept them: those of the tokens from `begin` on of the path to `node`.

    Until the tree is used next, the node still has their ids.
    """

    node: Node
    begin: int
    slots: Part
