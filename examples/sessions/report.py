"""What was found after kills, and how a session's turns are judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from espalier.sessions import Path, Turn

Text = Callable[[int], str]


@dataclass
class Report:
    """Counts."""

    kills: int = 0
    phases: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    lost: int = 0
    half: int = 0
    duplicates: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, half or double."""
        return not (self.lost or self.half or self.duplicates)

    def judge(
        self, path: Path, num_acknowledged: int, question: Callable[[int], str], answer: Callable[[int], str]
    ) -> None:
        """Compare a session with what was acknowledged: turns asked `question(0)`, `question(1)`, ..."""
        asked = [str(turn.messages[0]["content"]) for turn in path.turns]
        self.duplicates += len(asked) - len(set(asked))
        self.lost += sum(question(number) not in asked for number in range(num_acknowledged))
        self.half += path.session.running is not None
        self.half += sum(not _is_whole(turn, question(at), answer(at)) for at, turn in enumerate(path.turns))

    def __str__(self) -> str:
        inside = self.kills - self.phases["idle"]
        return (
            f"{self.kills} kills, {inside} inside a write ({dict(self.phases)}); "
            f"{self.acknowledged} turns acknowledged, {self.lost} lost, {self.half} half turns visible, "
            f"{self.duplicates} duplicates"
        )


def _is_whole(turn: Turn, question: str, answer: str) -> bool:
    messages: Sequence[object] = turn.messages
    said = (turn.answer or {}).get("content")
    return (turn.state, list(messages), said) == ("complete", [{"role": "user", "content": question}], answer)
