"""Figures of a prefix tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from espalier.radix.tree import PrefixTree


class TreeStats(NamedTuple):
    """Tokens held now, those that requests, sessions and nobody hold, and those gone; the last is a total so far."""

    num_tokens: int
    num_locked: int
    num_leased: int
    num_evictable: int
    num_ghosts: int
    num_tenants: int
    num_evicted: int


def statistics(tree: PrefixTree) -> TreeStats:
    """The tree's figures now."""
    return TreeStats(
        num_tokens=tree.num_tokens,
        num_locked=tree.num_locked,
        num_leased=tree.num_leased,
        num_evictable=tree.num_evictable,
        num_ghosts=tree.ghosts.num_tokens,
        num_tenants=len(tree.shares.accounts),
        num_evicted=tree.num_evicted,
    )
