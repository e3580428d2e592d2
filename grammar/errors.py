"""What can be wrong with a constraint.

    GrammarError
    ├── ConstraintError      no options, more at least than at most, a value of the wrong type
    ├── SchemaError          the schema itself is malformed, or refers to what is not there
    │   └── PatternError     a regular expression that is malformed or cannot be translated
    ├── UnsatisfiableError   well-formed, but no value satisfies it
    ├── GrammarTooLargeError a limit was reached: the limit is named
    ├── VocabularyError      the vocabulary lacks a byte or a special token that the grammar needs
    └── RejectedError        a cursor was given a token or byte that its mask does not allow

A `path` is a JSON pointer into the schema ("" is its root).
"""

from __future__ import annotations


class GrammarError(ValueError):
    """The root of everything this folder raises."""


class ConstraintError(GrammarError):
    """A constraint that makes no sense."""


class SchemaError(GrammarError):
    """The schema is not one: a keyword of the wrong type, a reference without target, an unknown draft."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{message} (at {path or 'the root'} of the schema)")
        self.path = path


class PatternError(SchemaError):
    """A regular expression is malformed, or needs what no automaton can do.

    `position` counts code points from the start of the pattern.
    """

    def __init__(self, message: str, pattern: str, position: int, path: str = "") -> None:
        super().__init__(f"pattern {pattern[:200]!r}, position {position}: {message}", path)
        self.pattern, self.position = pattern, position


class UnsatisfiableError(GrammarError):
    """No value satisfies the schema; `path` points at what makes it so."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{message} (at {path or 'the root'} of the schema)")
        self.path = path


class GrammarTooLargeError(GrammarError):
    """A limit was reached; `limit` is the name of the field of `Limits`."""

    def __init__(self, limit: str, most: float, what: str) -> None:
        super().__init__(f"{what}: over the limit {limit} = {most:,}")
        self.limit = limit


class VocabularyError(GrammarError):
    """The vocabulary cannot spell what the grammar needs."""


class RejectedError(GrammarError):
    """A token or byte that the grammar does not allow here."""
