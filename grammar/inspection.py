"""Refuses constraints that make no sense, and vocabularies that cannot spell them.

Whatever is live has an end that is spelled byte by byte, so every byte that an end may take has to be a token of its
own. What strings and patterns may say is kept to such bytes (see `alphabet.py`); what JSON is made of beside
them, texts and markers have to be there as a whole. Patterns are the program's to inspect.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from espalier.grammar.constraint import (
    AnyConstraint,
    AnyJson,
    Choice,
    Json,
    Literal,
    OneOf,
    Repeat,
    Sequence,
    Special,
    Text,
)
from espalier.grammar.errors import ConstraintError, GrammarTooLargeError, VocabularyError
from espalier.grammar.limits import Limits
from espalier.grammar.vocabulary import Vocabulary

_SYNTAX = frozenset(b'{}[],:"-+.0123456789eEtruefalsnull\\bfnrtuabcdef')


def inspect(constraint: AnyConstraint, vocabulary: Vocabulary, end_tokens: frozenset[int], limits: Limits) -> None:
    """ConstraintError, GrammarTooLargeError or VocabularyError if a constraint is refused."""
    for token in end_tokens:
        if not 0 <= token < len(vocabulary):
            raise VocabularyError(f"end token {token}: expected an id of the vocabulary, 0 to {len(vocabulary) - 1}")
    pending = [(constraint, 0)]
    while pending:
        part, depth = pending.pop()
        if depth > limits.constraints:
            raise GrammarTooLargeError("constraints", limits.constraints, "constraints inside each other")
        _inspect_types(part)
        _inspect_sense(part)
        _inspect_vocabulary(part, vocabulary)
        pending.extend((inner, depth + 1) for inner in _inside(part))


def _inside(part: AnyConstraint) -> Iterator[AnyConstraint]:
    if isinstance(part, Sequence):
        yield from part.items
    elif isinstance(part, OneOf):
        yield from part.options
    elif isinstance(part, Repeat):
        yield part.item


_SHALLOW = {Sequence: "items", OneOf: "options", Repeat: "item"}  # what is looked at by itself


def _inspect_types(part: AnyConstraint) -> None:
    """Nobody checks the types of what is made in Python: an unknown word would be taken for the default."""
    if not isinstance(part, AnyConstraint):
        raise ConstraintError(f"expected a constraint, got {part!r:.200}")
    for field in msgspec.structs.fields(part):
        value = getattr(part, field.name)
        if _SHALLOW.get(type(part)) == field.name:
            is_right = isinstance(value, tuple) or field.name == "item"
        elif field.name in ("schema", "documents"):
            is_right = True  # made into texts already
        else:
            is_right = not isinstance(value, list) and _is_of(value, field.type)
        if not is_right:
            raise ConstraintError(f"{type(part).__name__}.{field.name}: {value!r:.200} is not what it has to be")


def _is_of(value: object, kind: object) -> bool:
    try:
        msgspec.convert(value, kind, strict=True, builtin_types=(bytes,))
    except msgspec.ValidationError:
        return False
    return True


def _inspect_sense(part: AnyConstraint) -> None:
    if isinstance(part, Json) and part.formats_can_yield and not part.assert_formats:
        raise ConstraintError("Json.formats_can_yield: expected assert_formats, without which formats say nothing")
    if isinstance(part, OneOf) and not part.options:
        raise ConstraintError("OneOf.options: expected at least one, since nothing satisfies none")
    if isinstance(part, Choice) and not part.texts:
        raise ConstraintError("Choice.texts: expected at least one, since nothing satisfies none")
    if isinstance(part, Text) and part.until == b"":
        raise ConstraintError("Text.until: expected a marker, got an empty one")
    if isinstance(part, Repeat) and not 0 <= part.least <= (part.least if part.most is None else part.most):
        raise ConstraintError(f"Repeat: expected 0 <= least <= most, got {part.least} and {part.most}")


def _inspect_vocabulary(part: AnyConstraint, vocabulary: Vocabulary) -> None:
    special = part.token if isinstance(part, Special) else part.until if isinstance(part, Text) else None
    if isinstance(special, int) and not _is_special(vocabulary, special):
        raise VocabularyError(f"token {special}: expected the id of a token without bytes")
    missing = _needs(part) - vocabulary.single_bytes
    if missing:
        raise VocabularyError(f"{type(part).__name__} needs bytes that are no tokens: {bytes(sorted(missing))!r}")


def _is_special(vocabulary: Vocabulary, token: int) -> bool:
    return 0 <= token < len(vocabulary) and vocabulary.tokens[token] is None


def _needs(part: AnyConstraint) -> frozenset[int]:
    """Bytes that an end may take."""
    if isinstance(part, Json):
        spaces = b" " if part.white_space == "spaced" else b""
        return _SYNTAX.union(spaces, b"TFNo" if part.words == "python" else b"")
    if isinstance(part, AnyJson):
        return _SYNTAX
    if isinstance(part, Literal):
        return frozenset(part.text)
    if isinstance(part, Choice):
        return frozenset(b"".join(part.texts))
    return frozenset(part.until) if isinstance(part, Text) and isinstance(part.until, bytes) else frozenset()
