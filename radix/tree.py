"""The prefix tree: a compressed tree over token ids whose edges hold the KV slots of their tokens.

It owns every slot that was inserted, until `evict`, `discard` or `forget` hands it back. Prefixes never cross roots.
Time is an argument, in seconds. A slot that is evicted leaves its token id behind for a while, a ghost: see `node`.
Who holds what is counted in each node: see `hold`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable

import numpy as np

from espalier.radix.expiry import Expiries
from espalier.radix.ghost import Ghosts
from espalier.radix.hold import Holds
from espalier.radix.invariant import check
from espalier.radix.match import Evicted, Match
from espalier.radix.node import Node, Root
from espalier.radix.policy import LeastRecent, Policy
from espalier.radix.roots import Roots
from espalier.radix.run import Ids, Part, common_prefix_len, unpacked
from espalier.radix.share import IDLE_S, Shares
from espalier.radix.slots import Slots
from espalier.radix.split import split_ghosts, split_live
from espalier.radix.statistics import TreeStats, statistics

_LONG = 2**15
"""An edge that grows is copied, so that it doesn't grow beyond this length."""


class PrefixTree(Holds):
    """See the module. `capacity` is the size of the pool in tokens, of which tenants have shares; None knows no shares.

    Who did nothing for `idle_s` has none. `policy` decides the order of eviction, default least recently used.
    `ghost_tokens` bounds the ids kept of what is gone. `num_tokens` are all tokens held, `num_locked` those that
    requests hold, `num_leased` those that sessions do; `num_evicted` is a total.
    """

    def __init__(
        self,
        *,
        capacity: int | None = None,
        policy: Policy | None = None,
        ghost_tokens: int = 2**20,
        idle_s: float = IDLE_S,
    ) -> None:
        self.shares = Shares(capacity, policy or LeastRecent(), idle_s)
        super().__init__(Roots(self.shares))
        self.num_tokens = self.num_evicted = 0
        self.ghosts = Ghosts(self.roots, ghost_tokens)
        self._expiries = Expiries()

    @property
    def num_room(self) -> int | None:
        """Tokens that the pool could take beside what is held, but for what running requests have of their own.

        None where its size is not known.
        """
        capacity = self.shares.capacity
        return None if capacity is None else capacity - self.num_tokens + self.num_evictable

    @property
    def num_evictable(self) -> int:
        """Tokens that neither a request nor a session holds."""
        return sum(account.num_evictable for account in self.shares.accounts.values())

    def match(self, root: Root, token_ids: Ids, now: float) -> Match:
        """The longest prefix of `token_ids` in the tree, token-granular: an edge that matches in part is split.

        The caller locks the node before anything else happens to the tree.
        """
        parts: list[Part] = []
        node: Node = self.roots.of(root, now)
        node.last_used = now
        at = num_evicted = 0
        while at < len(token_ids):
            child = node.children.get(int(token_ids[at]))
            if child is None:
                break
            if len(child.slots):
                node = self._step_into(child, token_ids[at:], now)
                parts += node.slots.parts
                at += len(node.slots)
            if not len(child.slots) or (node is child and child.num_ghosts):
                num_evicted = self.ghosts.along(child, token_ids[child.begin :])
                break
        return Match(node, unpacked(parts), num_evicted)

    def insert(self, node: Node, token_ids: Ids, slots: Ids, now: float, *, expires: float = math.inf) -> Match:
        """Insert a run below `node`; returns its end and the slots that the tree holds for the run.

        Where the tree already had a token, the slot returned differs from the one given, which stays the caller's.
        The caller holds `node`; nodes that are met further down may be held by others, and stay as long as they are.
        The whole path lasts until `expires` at least, and what of it only such calls have inserted no longer.
        """
        parts: list[Part] = []
        for above in node.path():
            above.last_used, above.is_abandoned = now, False
            above.expires = max(above.expires, expires)
        at = 0
        while at < len(token_ids):
            rest = token_ids[at:]
            child = None if node.num_ghosts else node.children.get(int(rest[0]))
            if child is not None and len(child.slots):
                node = self._step_into(child, rest, now)
                node.expires = max(node.expires, expires)
                parts += node.slots.parts
                at += len(node.slots)
            else:
                node, taken = self._add(node, rest, slots[at:], now, expires, is_own=at == 0)
                parts.append(slots[at : at + taken])
                at += taken
        return Match(node, unpacked(parts))

    def abandon(self, node: Node) -> None:
        """Let a node go before all others, as soon as nobody holds it, unless it is used again."""
        node.is_abandoned = True
        node.account.offer(node)

    def evict(self, num_slots: int, tenant: Hashable = None) -> list[Evicted]:
        """Give up at most `num_slots` that nobody holds, from the ends of leaves, for a request of `tenant`.

        Abandoned branches go first, then what tenants have above their share, then as the policy says.
        """
        self.ghosts.prune()
        goal, gone = self.num_tokens - num_slots, list[Evicted]()
        while self.num_tokens > goal and (node := self._first_to_go(tenant)) is not None:
            gone += self._evict(node, self.num_tokens - goal)
        return gone

    def evict_leaf(self, tenant: Hashable = None) -> Evicted | None:
        """Give up all slots that lie together at the end of the leaf that goes first, where less is no use.

        None if all is held.
        """
        self.ghosts.prune()
        node = self._first_to_go(tenant)
        return None if node is None else self._evict(node, len(node.slots.parts[-1]))[0]

    def discard(self, node: Node, num_tokens: int) -> Ids:
        """Give up the last `num_tokens` of the path to `node`, ids too, as far as nobody else holds or continues them.

        For state that must not be used again. The caller has unlocked `node`.
        """
        freed: list[Part] = []
        while num_tokens > 0 and node.is_evictable:
            above = node.parent
            assert above is not None, "a root is evictable"
            cut = self._cut(node, num_tokens)
            node.account.offer(node if len(node.slots) else above)
            self.ghosts.erase(node)
            freed += cut
            num_tokens -= sum(map(len, cut))
            node = above
        return unpacked(freed)

    def forget(self, root: Root, token_ids: Ids, now: float) -> Ids:
        """Remove these tokens, their state and their ghosts, up to where another path branches off or is held.

        For a session that is deleted.
        """
        node = self.match(root, token_ids, now).node
        behind = node.children.get(int(token_ids[node.end])) if node.end < len(token_ids) else None
        self.ghosts.erase(node if behind is None else behind)
        freed = self.discard(node, len(token_ids))
        self.roots.drop_if_empty(self.roots.by_key.get(root))
        return freed

    def prune(self, root: Root, token_ids: Ids, now: float) -> Ids:
        """Give up everything below the first tokens of a path, the last of these included, that nobody holds.

        For state that is lost: all that was computed behind it hangs in the air.
        """
        node = self.match(root, token_ids[:-1], now).node
        below = node.children.get(int(token_ids[-1])) if node.end == len(token_ids) - 1 else None
        found = [] if below is None else _live_from(below)
        freed = [self.discard(one, len(one.slots)) for one in reversed(found)]
        self.roots.drop_if_empty(self.roots.by_key.get(root))
        return unpacked(freed)

    def expire(self, now: float) -> Ids:
        """Give up what has reached its time, ids too; what is held then waits until nobody holds it."""
        freed: list[Part] = []
        for node in self._expiries.due(now):
            freed += [self.discard(one, len(one.slots)) for one in reversed(_live_from(node))]
            if len(node.slots):
                self._expiries.note(node)
        return unpacked(freed)

    def statistics(self) -> TreeStats:
        """What is held now."""
        return statistics(self)

    def slots(self) -> Ids:
        """All slots held."""
        return unpacked([part for node in self.roots.nodes() for part in node.slots.parts])

    def check(self) -> None:
        """Raise AssertionError if an invariant does not hold."""
        check(self)

    def _step_into(self, child: Node, token_ids: Ids, now: float) -> Node:
        """A live child as far as it has the tokens and slots for them: itself, or its first part."""
        shared = common_prefix_len(child.token_ids, token_ids)
        node = child
        if shared < len(child.slots):
            node = split_live(child, shared)
            self._expiries.note(node)
        node.last_used, node.is_abandoned = now, False
        return node

    def _add(
        self, node: Node, token_ids: Ids, slots: Ids, now: float, expires: float, *, is_own: bool
    ) -> tuple[Node, int]:
        """Add as much of a run below `node` as goes into one edge; returns its node and that length.

        The tree has the first token as a ghost or not at all. Only the caller's own node may grow: who else holds one
        goes on from where it ends.
        """
        held, may_grow = len(node.slots), is_own and node.is_private and node.expires == expires
        if node.num_ghosts:
            shared = common_prefix_len(node.token_ids[held:], token_ids)
            if not (shared and may_grow):
                split_ghosts(node, held)
            else:
                return self._revive(node, slots[:shared]), shared
        child = node.children.get(int(token_ids[0]))
        if child is not None:
            shared = common_prefix_len(child.token_ids, token_ids)
            child.last_used, child.expires = now, expires
            self._expiries.note(child)
            return self._revive(child, slots[:shared]), shared
        if may_grow and not node.children and len(node.token_ids) + len(token_ids) <= _LONG:
            # Nobody but the caller sees the edge change.
            node.token_ids = np.concatenate((node.token_ids, token_ids))
        else:
            child = Node(node, node.account, token_ids.copy(), Slots(), now)
            child.expires = expires
            self._expiries.note(child)
            node.children[int(token_ids[0])] = child
            node = child
        self._gain(node, slots)
        return node, len(token_ids)

    def _revive(self, node: Node, slots: Ids) -> Node:
        """Give slots to the first ghosts of a node; those behind them become a node of their own."""
        if len(slots) < node.num_ghosts:
            split_ghosts(node, len(node.slots) + len(slots))
        self.ghosts.revive(node, len(slots))
        self._gain(node, slots)
        return node

    def _gain(self, node: Node, slots: Ids) -> None:
        if not len(node.slots) and node.parent is not None:
            node.parent.num_live += 1
        node.slots.append(slots)
        node.is_abandoned = False
        self.num_tokens += len(slots)
        node.account.num_held += len(slots)
        if node.locks:
            self.num_locked += len(slots)
        else:
            node.account.num_evictable += len(slots)
            node.account.offer(node)

    def _first_to_go(self, tenant: Hashable) -> Node | None:
        account = self.shares.victim(tenant)
        if account is None:
            return None
        node = account.least()
        assert node is not None, "tokens are evictable, but no leaf was offered"
        return node

    def _evict(self, node: Node, count: int) -> list[Evicted]:
        end = before = node.end
        gone: list[Evicted] = []
        for slots in self._cut(node, count):
            end -= len(slots)
            gone.append(Evicted(node, end, slots))
        self.num_evicted += before - end
        node.account.shorten(node)
        return gone

    def _cut(self, node: Node, count: int) -> list[Part]:
        """Take the last `count` slots of an evictable node, or all; their tokens become ghosts.

        The caller notes which leaf goes next.
        """
        account, num_held = node.account, len(node.slots)
        if count >= num_held:
            count = num_held
            assert node.parent is not None, "a root has slots"
            node.parent.num_live -= 1
        self.num_tokens -= count
        account.num_held -= count
        account.num_evictable -= count
        self.ghosts.note(node, count)
        return node.slots.cut(num_held - count)


def _live_from(node: Node) -> list[Node]:
    """A node and all below it that have slots, each after the one above it."""
    found = [node]
    for one in found:
        found.extend(child for child in one.children.values() if len(child.slots))
    return found
