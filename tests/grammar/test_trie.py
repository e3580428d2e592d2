"""The trie of a vocabulary against a dictionary of its texts."""

from __future__ import annotations

from collections import defaultdict
from random import Random

import numpy as np
import pytest

from espalier.grammar.trie import TokenTrie
from tests.grammar.small import TOKENS

Pairs = list[tuple[bytes, int]]


def random_pairs(random: Random) -> Pairs:
    alphabet = random.choice((b"a", b"ab", b'a"\xff', bytes(range(256))))
    size, longest = random.choice((1, 2, 30, 300)), random.choice((1, 3, 12))
    texts = [bytes(random.choices(alphabet, k=random.randint(1, longest))) for _ in range(size)]
    ids = random.sample(range(200_000), size)
    return list(zip(texts, ids, strict=True))


def prefixes(pairs: Pairs) -> list[bytes]:
    """The texts of the nodes, in their order: depth first, by bytes."""
    return sorted({text[:length] for text, _ in pairs for length in range(len(text) + 1)} | {b""})


CASES = [
    [],
    [(b"a", 7)],
    [(text, token) for token, text in enumerate(TOKENS) if text],
    *(random_pairs(Random(seed)) for seed in range(20)),
]


@pytest.mark.parametrize("pairs", CASES, ids=range(len(CASES)))
def test_nodes_are_the_beginnings_of_texts_in_order(pairs: Pairs) -> None:
    trie, nodes = TokenTrie(pairs), prefixes(pairs)
    assert len(trie) == len(nodes)
    ids = defaultdict[bytes, list[int]](list)
    for text, token in sorted(pairs):
        ids[text].append(token)
    for node, text in enumerate(nodes):
        assert trie.find(text) == node
        assert node == 0 or trie.byte[node] == text[-1]
        below = [other for other, longer in enumerate(nodes) if longer.startswith(text)]
        assert list(range(node, trie.end[node])) == below
        kids = {longer[-1]: other for other, longer in enumerate(nodes) if longer[:-1] == text and longer}
        assert trie.children(node) == kids and list(kids) == sorted(kids)
        assert trie.has_children(node) == bool(kids)
        assert {byte: trie.child(node, byte) for byte in kids} == kids
        assert all(trie.child(node, byte) == -1 for byte in range(256) if byte not in kids)
        assert trie.at(node).tolist() == ids[text]
        assert sorted(trie.below(node)) == sorted(token for longer, token in pairs if longer.startswith(text))
        assert trie.parent[node] == (nodes.index(text[:-1]) if text else -1)
        assert trie.depth[node] == len(text)


@pytest.mark.parametrize("pairs", CASES, ids=range(len(CASES)))
def test_what_is_not_there_is_not_found(pairs: Pairs) -> None:
    trie, nodes = TokenTrie(pairs), prefixes(pairs)
    for text in [*nodes[:50], b"", b"zz", b"\x00"]:
        for byte in b'az"\xfe':
            longer = text + bytes([byte])
            assert (trie.find(longer) >= 0) == (longer in nodes)
            assert trie.find(bytes([byte]), trie.find(text)) == trie.find(longer) if text in nodes else True


@pytest.mark.parametrize("pairs", CASES, ids=range(len(CASES)))
def test_ids_of_several_nodes_come_with_each_of_them(pairs: Pairs) -> None:
    trie, random = TokenTrie(pairs), Random(0)
    for _ in range(5):
        nodes = random.sample(range(len(trie)), random.randint(0, len(trie)))
        expected = [token for node in nodes for token in trie.at(node).tolist()]
        assert trie.ids(np.array(nodes, dtype=np.int32)).tolist() == expected


def test_a_trie_toward_some_nodes_has_only_their_ways() -> None:
    trie = TokenTrie([(text, token) for token, text in enumerate(TOKENS) if text])
    quotes = np.flatnonzero(trie.byte == ord('"'))
    toward = trie.toward(quotes)
    reached, pending = set[int](), [0]
    while pending:
        node = pending.pop()
        reached.add(node)
        pending.extend(toward.children(node).values())
    on_the_way = {0}
    for node in quotes.tolist():
        while node > 0:
            on_the_way.add(node)
            node = int(trie.parent[node])
    assert reached == on_the_way
