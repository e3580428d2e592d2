"""Where names lie in a trie of tokens, against their texts."""

from __future__ import annotations

from random import Random

import pytest

from espalier.grammar.name_paths import name_ends, name_paths
from espalier.grammar.name_trie import Trie, trie_of
from espalier.grammar.trie import TokenTrie


def made(seed: int) -> tuple[TokenTrie, list[bytes]]:
    """A vocabulary over few letters, and names that begin alike."""
    source = Random(seed)
    texts = {bytes(source.choices(b'ab"c', k=source.randint(1, 6))) for _ in range(source.choice((1, 20, 400)))}
    names = {bytes(source.choices(b"ab", k=source.randint(0, 5))) for _ in range(source.choice((1, 2, 20)))}
    return TokenTrie((text, token) for token, text in enumerate(sorted(texts))), sorted(names)


@pytest.mark.parametrize("seed", range(80))
def test_paths_are_the_names_that_the_vocabulary_can_begin_and_end(seed: int) -> None:
    vocabulary, names = made(seed)
    trie = trie_of(names)
    inside: dict[int, set[int]] = {}
    ends: set[tuple[int, int]] = set()
    for place, name in enumerate(names):
        for length in range(1, len(name) + 1):
            inside.setdefault(vocabulary.find(name[:length]), set()).add(place)
        ends.add((vocabulary.find(name + b'"'), place))
    inside.pop(-1, None)
    found = name_paths(vocabulary, 0, trie)
    assert {node: set(places) for places, nodes in found.groups for node in nodes} == inside
    assert sum(len(nodes) for _, nodes in found.groups) == len(inside)
    assert set(found.ends) == {(quote, place) for quote, place in ends if quote >= 0}
    assert sorted(name_ends(vocabulary, 0, trie)) == sorted(found.ends)


@pytest.mark.parametrize("seed", range(20))
def test_paths_of_a_name_that_has_begun_go_on_from_there(seed: int) -> None:
    vocabulary, names = made(seed)
    node: Trie | None = trie_of(names)
    for depth, byte in enumerate(names[-1]):
        node = node.child(byte) if node else None
        assert node is not None
        rest = names[-1][depth + 1 :]
        reached = {place for places, _ in name_paths(vocabulary, 0, node).groups for place in places}
        assert (len(names) - 1 in reached) == bool(rest and vocabulary.find(rest[:1]) >= 0)
