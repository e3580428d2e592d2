"""A small vocabulary that is awkward on purpose, and masks by brute force: each token read on a copy of the cursor."""

from __future__ import annotations

from random import Random

from espalier.grammar import Cursor, Grammar, RejectedError, Vocabulary

_ACROSS = (
    '": ": " ":" ", ", " "} "}, "}] "]} {" {"a {"a": [{ [{" [[ ]] ]}, }} }}, },{ },{" ],[ [" "," [] {} "" '
    "true, false] null} tru tr fal nul true false 12 1.5 .0 e1 e+1 -1 00 0. 10 123456 "
    '1, 2] 3} \\n \\u \\u0 \\u00 \\u0061 61 d83d \\ud83d \\" '
    '\\\\ \\" a" ab abc aab" b":1 call answer <end> </ < end> the a b aa ba :1 :"a :{ :[ ,"b ,"b": #'
).split(" ")
_SPACED = (
    " ",
    "\n",
    " {",
    '": "',
    ", ",
    ': "',
    "\n ",
    "\n  ",
    "{\n",
    ",\n",
    "  ",
    "\n\n",
    " }",
    "\t",
    "] ",
    " a",
    '", "',
)
_UNICODE = ("é", 'é"', "aé", "€", "😀", '😀",', "ü", "日本")
_PARTS = ("é", 1), ("€", 1), ("€", 2), ("😀", 2), ("😀", 3)  # characters that end, and begin, within a token
_BYTES = (
    *(text.encode()[:length] for text, length in _PARTS),
    *(text.encode()[length:] for text, length in _PARTS),
    b"a\xc3",
    b'\xa9"',
    b'\xac"}',
    b'\x80":',
    b'"\xc3',
    b"\xff\xfe",
    b"\x00\x01",
)

TOKENS: list[bytes | None] = [
    None,  # 0: <s>
    None,  # 1: </s>
    *(bytes([byte]) for byte in range(256)),
    None,  # 258: [CALL]
    b"",  # 259
    *(text.encode() for text in _ACROSS if text),
    *(text.encode() for text in _SPACED),
    *(text.encode() for text in _UNICODE),
    *_BYTES,
    b'"',  # again
    b"a",
    b'":',
    b"true",
    b"",
    None,  # <|end|>
    None,  # [THINK]
]
END, CALL = 1, 258
OTHER_END, THINK = len(TOKENS) - 2, len(TOKENS) - 1
SMALL = Vocabulary(TOKENS)
BYTES = Vocabulary([bytes([byte]) for byte in range(256)])


def brute(cursor: Cursor, vocabulary: Vocabulary = SMALL) -> list[int]:
    """The ids of all tokens that a copy of a cursor accepts."""
    allowed, known = list[int](), dict[bytes, Cursor | None]({b"": cursor})
    for token, text in enumerate(vocabulary.tokens):
        accepted = _read(text, known) is not None if text else _accepts(cursor, token)
        if accepted:
            allowed.append(token)
    return allowed


def _read(text: bytes, known: dict[bytes, Cursor | None]) -> Cursor | None:
    """A cursor behind a text, byte by byte; None if that is not allowed. What tokens begin with is read once."""
    if text not in known:
        before = _read(text[:-1], known)
        after = None if before is None else before.copy()
        if after is not None:
            try:
                after.accept_bytes(text[-1:])
            except RejectedError:
                after = None
        known[text] = after
    return known[text]


def _accepts(cursor: Cursor, token: int) -> bool:
    try:
        cursor.copy().accept(token)
    except RejectedError:
        return False
    return True


def masked(cursor: Cursor, vocabulary: Vocabulary = SMALL) -> list[int]:
    """The ids that the mask allows; `allowed`, its list and `fill` say the same."""
    allowed = cursor.allowed()
    tokens: list[int] = vocabulary.unpacked(allowed.mask).tolist()
    assert allowed.tokens is None or allowed.tokens.tolist() == tokens
    out = vocabulary.empty_mask() - 1
    cursor.fill(out)
    assert (out == allowed.mask).all()
    return tokens


def drawn(cursor: Cursor, tokens: list[int], random: Random, vocabulary: Vocabulary = SMALL) -> int:
    """One of some tokens: any of them, or now and then one that leads to the end, so that walks get on."""
    if random.random() < 0.5:
        tail = cursor.shortest_completion()
        onward = [t for t in tokens if (text := vocabulary.tokens[t]) is not None and tail.startswith(text)]
        if onward:
            return random.choice(onward)
    return random.choice(tokens)


def walk(grammar: Grammar, random: Random, num_tokens: int, vocabulary: Vocabulary = SMALL) -> list[int]:
    """The tokens of a random walk."""
    cursor, found = grammar.start(), list[int]()
    for _ in range(num_tokens):
        tokens = masked(cursor, vocabulary)
        if not tokens:
            break
        found.append(drawn(cursor, tokens, random, vocabulary))
        cursor.accept(found[-1])
    return found
