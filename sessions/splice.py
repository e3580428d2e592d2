"""Token-exact history: what the model has read and written stays as tokens, and only what is new becomes new ones.

A chat template writes the whole conversation as one text. Where an answer began, a turn has kept a mark of what had
been written by then. If the text of today begins with the same, the tokens up to there are right as they are; the
answer's own tokens follow, and from its end marker on the text is new and is encoded. Templates rewrite history (they
drop reasoning, print a date): then the text of today is encoded from the last mark that still fits, or, with `keep`,
the tokens stay although the template would write another text. Tokens of another vocabulary, of turns that another
model made, never stay.

Markers stand in the text as aliases that no user can write (see `encode`), so that an end marker is the template's own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from espalier.sessions.turn import Mark, Turn
from espalier.sessions.value import DIGEST_BYTES

Reason = Literal["rewritten", "reasoning", "edited"]
"""The text before an answer changed, or its tokens are another model's; the template leaves an answer's reasoning out;
a turn's tokens were forgotten."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The first answer that is not in the context as it was generated, where it began (in tokens), and why."""

    turn_id: str
    token: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Splice:
    """A prompt: the first `kept_len` tokens of the history's context, then `new_ids`. `mark` is the new turn's.

    `lost` is None where every token that was ever generated is still there (lossless).
    """

    kept_len: int
    new_ids: tuple[int, ...]
    mark: Mark
    lost: Lost | None = None


class _Ends:
    """The end markers of answers, by alias, and where they stand in a text."""

    def __init__(self, ids: Mapping[str, int]) -> None:
        self.ids = ids
        self._pattern = re.compile("|".join(map(re.escape, ids))) if ids else None

    def count(self, text: str) -> int:
        return 0 if self._pattern is None else sum(1 for _ in self._pattern.finditer(text))

    def nth(self, text: str, number: int) -> tuple[int, int] | None:
        """Start and token id of the end marker before which `number` others stand."""
        if self._pattern is not None:
            for at, found in enumerate(self._pattern.finditer(text)):
                if at == number:
                    return found.start(), self.ids[found[0]]
        return None


def splice(
    turns: Sequence[Turn],
    rendered: str,
    encode: Callable[[str], Sequence[int]],
    end_markers: Mapping[str, int],
    *,
    keep: bool = False,
    vocabulary: bytes = b"",
) -> Splice:
    """The prompt of a turn that follows `turns`.

    `rendered` is the whole conversation, new messages and the opening of the answer included, as the template writes it
    now; `encode` makes tokens of a part of it; `end_markers` are the aliases of the tokens that end an answer;
    `vocabulary` stands for the one that `encode` uses.
    """
    ends = _Ends(end_markers)
    mark = Mark(len(rendered), _digest(rendered), ends.count(rendered), vocabulary)
    marked = _marked(turns, vocabulary)
    fits, last = _last_fit(marked, rendered), marked[-1][0] if marked else None
    before = lost(turns, frozenset(end_markers.values()))
    if last is not None and (fits is last or keep):
        whole = _after_answer(turns, last, rendered, encode, ends, keep=keep)
        if whole is not None:
            return Splice(whole[0], whole[1], mark, before)
    if fits is None or fits.mark is None:
        first = next((turn for turn in turns if turn.answer is not None), None)
        begins = None if first is None else Lost(first.id, 0, "rewritten")
        return Splice(0, tuple(encode(rendered)), mark, before or begins)
    reason: Reason = "reasoning" if fits is last else "rewritten"
    new_ids = tuple(encode(rendered[fits.mark.length :]))
    return Splice(fits.prompt_len, new_ids, mark, before or Lost(fits.id, fits.prompt_len, reason))


def _after_answer(
    turns: Sequence[Turn],
    last: Turn,
    rendered: str,
    encode: Callable[[str], Sequence[int]],
    ends: _Ends,
    *,
    keep: bool,
) -> tuple[int, tuple[int, ...]] | None:
    """Kept length and new tokens where the last answer stays as it was generated; None where that can't be."""
    assert last.mark is not None
    end = ends.nth(rendered, last.mark.num_ends)
    if end is None:
        return None
    at, end_id = end
    if not keep and not _has_reasoning(last, rendered[last.mark.length : at]):
        return None
    # From the end marker on, so that what follows it is encoded as after a marker, never as a text's beginning.
    new_ids = tuple(encode(rendered[at:]))
    kept_len, output = turns[-1].context_len, last.output_ids
    if output and output[-1] == end_id:
        return kept_len, new_ids[1:]
    # An answer that was cut gets its end marker; one that ended with another marker gets the template's.
    return (kept_len - 1 if output and output[-1] in ends.ids.values() else kept_len), new_ids


def _marked(turns: Sequence[Turn], vocabulary: bytes) -> list[tuple[Turn, Mark]]:
    """The turns, oldest first, that have a mark, whose prompt is in the context still, and whose tokens are known."""
    found: list[tuple[Turn, Mark]] = []
    low = turns[-1].context_len if turns else 0
    for turn in reversed(turns):
        if turn.mark is not None and turn.mark.vocabulary == vocabulary and turn.prompt_len <= low:
            found.append((turn, turn.mark))
        low = min(low, turn.kept_len)
    return found[::-1]


def _last_fit(marked: Sequence[tuple[Turn, Mark]], rendered: str) -> Turn | None:
    """The last turn whose mark is that of a beginning of the text. Every character is read once."""
    hashed, at, found = hashlib.blake2b(digest_size=DIGEST_BYTES), 0, None
    for turn, mark in marked:
        if not at <= mark.length <= len(rendered):
            continue
        hashed.update(rendered[at : mark.length].encode("utf-8", "surrogatepass"))
        at = mark.length
        if hashed.digest() == mark.digest:
            found = turn
    return found


def _has_reasoning(turn: Turn, answer_text: str) -> bool:
    """Whether the template writes what the model thought before this answer, if it did."""
    reasoning = (turn.answer or {}).get("reasoning_content")
    return not isinstance(reasoning, str) or reasoning.strip() in answer_text


def lost(turns: Sequence[Turn], end_ids: frozenset[int]) -> Lost | None:
    """The first answer of a history that is not in its context as it was generated; its end marker does not count."""
    answers: list[tuple[Turn, int]] = []  # where each begins and, rising, where it ends
    for turn in turns:
        if answers and answers[-1][1] > turn.kept_len:
            first = next(earlier for earlier, end in answers if end > turn.kept_len)
            return Lost(first.id, first.prompt_len, "rewritten")
        if turn.answer is not None and turn.mark is None:
            return Lost(turn.id, turn.prompt_len, "edited")
        if output := turn.output_ids:
            answers.append((turn, turn.prompt_len + len(output) - (output[-1] in end_ids)))
    return None


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()
