"""A tokenizer's tokens as bytes, and the tries that masks are made by: of tokens, and of tails behind quotes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from espalier.grammar.token_mask import unpacked
from espalier.grammar.trie import TokenTrie

QUOTE = 0x22
_DIGITS = re.compile(rb"[0-9]+")


class Tails:
    """What tokens say behind each of their quotes.

    `trie` holds those texts; node w of the vocabulary's trie, its byte being a quote, has the tokens at and below it in
    tokens[first[w] : first[w] + num[w]], and in `places` for each of them the node of `trie` at which it ends. `quotes`
    is of the vocabulary's trie what leads to quotes.
    """

    def __init__(self, trie: TokenTrie, texts: Iterable[tuple[bytes, int]]) -> None:
        rows = [
            (trie.find(text[: place + 1]), token, text[place + 1 :])
            for text, token in texts
            for place, byte in enumerate(text)
            if byte == QUOTE
        ]
        rows.sort(key=lambda row: row[0])
        self.trie = TokenTrie((tail, 0) for tail in {tail for _, _, tail in rows} if tail)
        self.tokens = np.array([token for _, token, _ in rows], dtype=np.int32)
        self.places = np.array([self.trie.find(tail) for _, _, tail in rows], dtype=np.int32)
        nodes = np.array([node for node, _, _ in rows], dtype=np.int64)
        self.num = np.bincount(nodes, minlength=len(trie)).astype(np.int32)
        self.first = (np.cumsum(self.num) - self.num).astype(np.int32)
        self.quotes = trie.toward(np.unique(nodes))

    def below(self, node: int) -> slice:
        """The rows of the tokens at and below a quote."""
        first = self.first.item(node)
        return slice(first, first + self.num.item(node))

    def rows(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For all tokens at and below some quotes: which of `nodes` it is below, and its row."""
        num = self.num[nodes]
        which = np.repeat(np.arange(nodes.size), num)
        before = np.cumsum(num) - num
        return which, np.arange(which.size) + (self.first[nodes] - before)[which]


class Vocabulary:
    """`tokens[i]` is the bytes of token i, None for a special token.

    Make one a tokenizer and keep it: grammars share what is computed from it.
    """

    def __init__(self, tokens: Sequence[bytes | None]) -> None:
        self.tokens = tuple(token or None for token in tokens)
        self.num_words = (len(self.tokens) + 31) // 32
        self.single_bytes = frozenset(token[0] for token in self.tokens if token is not None and len(token) == 1)

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def trie(self) -> TokenTrie:
        """The tokens that have bytes."""
        return TokenTrie((text, token) for token, text in enumerate(self.tokens) if text is not None)

    @cached_property
    def tails(self) -> Tails:
        """What its tokens say behind quotes."""
        return Tails(self.trie, ((text, token) for token, text in enumerate(self.tokens) if text and QUOTE in text))

    @cached_property
    def quoted(self) -> frozenset[str]:
        """The texts between two quotes of one token: names that a single token can say from end to end."""
        between = {part for text in self.tokens if text and QUOTE in text for part in text.split(b'"')[1:-1]}
        return frozenset(part.decode("utf-8", "ignore") for part in between)

    @cached_property
    def most_digits(self) -> int:
        """The length of the longest run of digits in a token."""
        runs = (run for text in self.tokens if text for run in _DIGITS.findall(text))
        return max(map(len, runs), default=0)

    def empty_mask(self) -> np.ndarray:
        """A mask that allows nothing: int32, one bit a token, token 32 i + j in bit j of word i."""
        return np.zeros(self.num_words, dtype=np.int32)

    def packed(self, tokens: np.ndarray) -> np.ndarray:
        """A mask that allows the tokens of an array of ids."""
        flags = np.zeros(self.num_words * 32, dtype=np.uint8)
        flags[tokens] = 1
        return np.packbits(flags, bitorder="little").view(np.int32)

    def unpacked(self, mask: np.ndarray) -> np.ndarray:
        """The ids that a mask allows, ascending, int32."""
        return unpacked(mask)
