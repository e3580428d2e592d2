"""A compiled constraint over a vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from espalier.grammar.alphabet import ALPHABET_URI, Alphabet
from espalier.grammar.compiler import Compiler, Formats
from espalier.grammar.constraint import AnyConstraint, AnyJson, Json
from espalier.grammar.culprit import culprit
from espalier.grammar.cursor import Cursor
from espalier.grammar.dialect import BY_NAME
from espalier.grammar.errors import GrammarTooLargeError, SchemaError, UnsatisfiableError, VocabularyError
from espalier.grammar.formula import TRUE, Space
from espalier.grammar.frames import Frames
from espalier.grammar.inspection import inspect
from espalier.grammar.limits import Limits
from espalier.grammar.mask import Masks
from espalier.grammar.program import Program
from espalier.grammar.spelling import Spelling
from espalier.grammar.spot import Spots
from espalier.grammar.state import State
from espalier.grammar.thread import FrameKeys, closure
from espalier.grammar.value import Json as JsonData
from espalier.grammar.value import nesting, parse
from espalier.grammar.vocabulary import Vocabulary

# Bytes that a grammar takes, and that each character of its schemas, each formula, state and frame adds.
_GRAMMAR, _TEXT, _FORMULA, _STATE, _FRAME = 8_000, 12, 900, 1_200, 300


class Grammar:
    """Made by `compile_grammar`; may be shared by any number of cursors of one thread of execution."""

    def __init__(
        self,
        constraint: AnyConstraint,
        vocabulary: Vocabulary,
        end_tokens: tuple[int, ...],
        limits: Limits,
        pause: Callable[[], None],
    ) -> None:
        self._pause = pause
        self.constraint, self.vocabulary, self.limits = constraint, vocabulary, limits
        self._ends = end_tokens
        self.end_tokens = frozenset(end_tokens)
        self._compilers: list[Compiler] = []
        self._frames: list[Frames] = []
        self._text_len = 0  # of schemas and documents
        inspect(constraint, vocabulary, self.end_tokens, limits)
        self._alphabet = Alphabet(vocabulary)
        self._program = Program(constraint, self._json, self._alphabet.texts, limits)
        self.has_parts = self._program.has_parts
        self.keys = FrameKeys()
        self.masks = Masks(vocabulary, self.keys, self.end_tokens, limits)
        self.spots = Spots(self.keys, limits.spot_bytes)
        self._start = tuple(closure(self._program.start(), self.keys))
        self._pause = _go_on
        for frames in self._frames:
            frames.search.pause = _go_on
        if self.num_states > limits.states:
            raise GrammarTooLargeError("states", limits.states, "the grammar")

    @property
    def end_token(self) -> int:
        """The first of the end tokens, which ends an answer where nobody draws one. ValueError if there is none."""
        if not self._ends:
            raise ValueError("the grammar has no end token")
        return self._ends[0]

    def start(self) -> Cursor:
        """A cursor before the first token."""
        return Cursor(self, self._start)

    def _json(self, part: Json | AnyJson) -> State:
        if isinstance(part, AnyJson) and self._alphabet.schema is not None:
            part = Json(True)
        if isinstance(part, AnyJson):
            frames = Frames(Space(), Spelling(), self.limits, self.vocabulary.quoted)
            self._frames.append(frames)
            return frames.value((TRUE,))
        data = load(str(part.schema), self.limits)
        documents = {str(uri): load(str(text), self.limits) for uri, text in dict(part.documents).items()}
        self._text_len += len(str(part.schema)) + sum(len(str(text)) for text in dict(part.documents).values())
        if self._alphabet.schema is not None:
            documents[ALPHABET_URI] = self._alphabet.schema
        formats = Formats(part.assert_formats, part.formats_can_yield)
        compiler = Compiler(data, documents, BY_NAME[part.draft], formats, self.limits, self._pause)
        self._compilers.append(compiler)
        spelling = Spelling(part.property_order, part.white_space, part.escapes, part.words)
        frames = Frames(compiler.space, spelling, self.limits, self.vocabulary.quoted)
        self._frames.append(frames)
        frames.search.pause = self._pause
        formula = compiler.root if self._alphabet.schema is None else compiler.beside(ALPHABET_URI)
        if frames.search.value(formula) is None:
            if frames.search.value(compiler.root) is not None:
                raise VocabularyError("no value of the schema can be spelled with the bytes that are tokens")
            if frames.search.bounded:
                raise GrammarTooLargeError("digits", 64, "no number of the schema can be spelled")
            raise UnsatisfiableError("no value satisfies the schema", culprit(compiler, frames.search.is_empty))
        return frames.value((formula,))

    @property
    def num_states(self) -> int:
        """States of its JSON values made so far; they are made where generation goes."""
        return sum(frames.num_states for frames in self._frames)

    @property
    def num_bytes(self) -> int:
        """Roughly what it takes in memory now, from counts alone: the same for the same use. It grows with use."""
        formulas = sum(frames.space.num_formulas for frames in self._frames)
        parts = _FORMULA * formulas + _STATE * self.num_states + _FRAME * len(self.keys)
        return _GRAMMAR + _TEXT * self._text_len + parts + self.masks.num_bytes + self.spots.num_bytes

    def coverage(self) -> dict[str, list[str]]:
        """Which keywords are enforced, which are annotations, and which were ignored because the draft says so."""
        return {
            name: sorted(set().union(*(getattr(compiler, name) for compiler in self._compilers)))
            for name in ("enforced", "annotations", "ignored")
        }


def warm(vocabulary: Vocabulary) -> None:
    """Makes what the grammars of a vocabulary share: at a server's start, so that no request waits for it.

    Takes a second for 131,072 tokens.
    """
    cursor, out = compile_grammar(AnyJson(), vocabulary).start(), vocabulary.empty_mask()
    for byte in b'{"a":["b",0,-1.5e+10,1e-3,true,false,null,{}],"c":"d"}':
        cursor.fill(out)
        cursor.accept_bytes(bytes([byte]))


def load(text: str, limits: Limits) -> JsonData:
    """A schema's JSON. SchemaError if it is none, GrammarTooLargeError if it is too long or too deep."""
    if len(text) > limits.schema_bytes:
        raise GrammarTooLargeError("schema_bytes", limits.schema_bytes, "the schema")
    if nesting(text) > limits.nesting:
        raise GrammarTooLargeError("nesting", limits.nesting, "the schema")
    try:
        return parse(text)
    except ValueError as error:
        raise SchemaError(f"a schema has to be JSON: {error}") from None


def compile_grammar(
    constraint: AnyConstraint,
    vocabulary: Vocabulary | Sequence[bytes | None],
    end_tokens: Sequence[int] = (),
    limits: Limits | None = None,
    pause: Callable[[], None] | None = None,
) -> Grammar:
    """The grammar of a constraint over a vocabulary: the bytes of each token, None for a special one.

    `end_tokens` are allowed exactly when the constraint is complete; one brought to its end gets the first. `pause` is
    called again and again at places where nothing that other grammars share is half done: who has other things to do
    can do them there. Raises the errors of `errors`: what is malformed, what nothing satisfies, what is over a limit.
    """
    known = vocabulary if isinstance(vocabulary, Vocabulary) else Vocabulary(vocabulary)
    return Grammar(constraint, known, tuple(end_tokens), limits or Limits(), pause or _go_on)


def _go_on() -> None:
    """No pause."""
