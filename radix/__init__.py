"""The prefix tree: which tokens' attention state lies in which KV slots, who holds it, what goes first."""

from espalier.radix.tree import Match, Node, PrefixTree, Root

__all__ = ["Match", "Node", "PrefixTree", "Root"]
