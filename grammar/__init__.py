"""The grammar: from JSON Schema, regex, choice or tool set to a byte automaton, token masks and parse events."""

from espalier.grammar.constraint import (
    AnyConstraint,
    AnyJson,
    Choice,
    Constraint,
    Json,
    Literal,
    OneOf,
    Regex,
    Repeat,
    Sequence,
    Special,
    Text,
)
from espalier.grammar.cursor import Cursor
from espalier.grammar.errors import (
    ConstraintError,
    GrammarError,
    GrammarTooLargeError,
    PatternError,
    RejectedError,
    SchemaError,
    UnsatisfiableError,
    VocabularyError,
)
from espalier.grammar.event import Begun, Ended, Event, Piece
from espalier.grammar.grammar import Grammar, compile_grammar, warm
from espalier.grammar.limits import Limits
from espalier.grammar.rows import MissError, Rows
from espalier.grammar.vocabulary import Vocabulary

__all__ = [
    "AnyConstraint",
    "AnyJson",
    "Begun",
    "Choice",
    "Constraint",
    "ConstraintError",
    "Cursor",
    "Ended",
    "Event",
    "Grammar",
    "GrammarError",
    "GrammarTooLargeError",
    "Json",
    "Limits",
    "Literal",
    "MissError",
    "OneOf",
    "PatternError",
    "Piece",
    "Regex",
    "RejectedError",
    "Repeat",
    "Rows",
    "SchemaError",
    "Sequence",
    "Special",
    "Text",
    "UnsatisfiableError",
    "Vocabulary",
    "VocabularyError",
    "compile_grammar",
    "warm",
]
