"""The prefix tree: which tokens' attention state lies in which KV slots, who holds it, what goes first."""

from espalier.radix.cost import RecomputeCost
from espalier.radix.decision import Decision, Rent, Stake, Wait, decide, spread
from espalier.radix.lease import Lease, LeaseBudget, LeaseTable
from espalier.radix.match import Evicted, Match
from espalier.radix.node import Node, Root
from espalier.radix.policy import Leaf, LeastRecent, LeastValue, Policy
from espalier.radix.statistics import TreeStats
from espalier.radix.tree import PrefixTree

__all__ = [
    "Decision",
    "Evicted",
    "Leaf",
    "Lease",
    "LeaseBudget",
    "LeaseTable",
    "LeastRecent",
    "LeastValue",
    "Match",
    "Node",
    "Policy",
    "PrefixTree",
    "RecomputeCost",
    "Rent",
    "Root",
    "Stake",
    "TreeStats",
    "Wait",
    "decide",
    "spread",
]
