"""Measures what users get from the engine: calls, follow-ups, memory and answers, greedily, under the server's grammar.

    python examples/bundled_model/evaluate_calls.py --each 100 --seed 7
    python examples/bundled_model/evaluate_calls.py --patterns my_patterns.json --toolbox my_tools.json

Every word that matters (tools, arguments, values) is one that training never shows. The columns are sentence patterns
that training shows, patterns that it does not, and an untrained network on these. `--patterns` and `--toolbox` take
files like patterns.json and toolbox.json, of which the `held_out` parts are used.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import torch
from dialogue import Dialogue, Message
from export import export
from network import Network, Shape
from phrasebook import Patterns, load_patterns
from rendering import BUNDLED
from scenarios import MEASURED
from wordstock import Source

from espalier.engine import LLM
from espalier.engine.messages import Generate, Output, SamplingParams
from espalier.gateway.options import GatewayOptions
from espalier.gateway.turn import Tool, ToolChoice, Turn
from espalier.gateway.turn_constraint import AnswerFormat

KINDS = {
    "single": ("single_call", "single"),
    "known tools": ("known_call", "single"),
    "two calls": ("two_calls", "two_call"),
    "follow-up": ("follow_up", "follow_up"),
    "answer from the result": ("single_call", "answer"),
    "recall": ("recall", "recall"),
}
"""What is measured: in dialogues of which scenario, by messages of which kind."""
_CALL = re.compile(r"<tool_call>\n(.*?)\n</tool_call>", re.DOTALL)
MOST_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Case:
    """A conversation up to where the model has to speak, and what it should say there."""

    messages: list[Message]
    tools: list[Message]
    expected: Message

    def is_right(self, said: str) -> bool:
        """Whether the calls are the expected ones, or the text holds what it has to hold."""
        calls = self.expected.get("tool_calls")
        if not calls:
            return not _CALL.search(said) and all(_holds(said, cite) for cite in self.expected["cites"])
        try:
            made = [json.loads(call) for call in _CALL.findall(said)]
        except ValueError:
            return False
        wanted = [(one["function"]["name"], _canonical(json.loads(one["function"]["arguments"]))) for one in calls]
        return sorted((one["name"], _canonical(one["arguments"])) for one in made) == sorted(wanted)


def _holds(said: str, cite: str) -> bool:
    """Whether a text has a value in it, and not as a part of a longer word or number."""
    return re.search(rf"(?<!\w){re.escape(cite)}(?!\w)", said) is not None


def _canonical(value: Any) -> str:
    """Equal for equal JSON values: 3.0 is 3, and the order of members does not matter."""
    return json.dumps(_whole(value), sort_keys=True)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def make_cases(name: str, each: int, source: Source, patterns: Patterns | None = None) -> Iterator[Case]:
    """`each` cases of one of KINDS."""
    scenario, kind = KINDS[name]
    for _ in range(each):
        dialogue: Dialogue = MEASURED[scenario](source, patterns)
        at = max(i for i, message in enumerate(dialogue.messages) if message.get("kind") == kind)
        yield Case(dialogue.messages[:at], dialogue.tools, dialogue.messages[at])


@dataclass(slots=True)
class Candidate:
    """A loaded model, and how it writes calls."""

    llm: LLM
    answers: AnswerFormat = field(init=False)

    def __post_init__(self) -> None:
        self.answers = AnswerFormat.of(self.llm.tokenizer, self.llm.chat_template, GatewayOptions())

    def request(self, request_id: str, case: Case, mode: Any) -> Generate:
        """What the server would send its engine for a case."""
        told = [
            Tool(one["function"]["name"], one["function"]["parameters"], one["function"].get("description"))
            for one in case.tools
        ]
        turn = Turn((), tuple(told), ToolChoice(mode if case.expected.get("tool_calls") else "auto"))
        template = self.llm.chat_template
        assert template is not None
        prompt = template.encode(case.messages, tools=[one.told() for one in told] or None)
        params = SamplingParams(temperature=0.0, max_tokens=MOST_TOKENS, constraint=self.answers.constraint(turn))
        return Generate(request_id, prompt, params)

    def say(self, cases: list[Case], mode: str) -> list[str]:
        """The model's words for each case."""
        said: list[list[int]] = [[] for _ in cases]
        for at, case in enumerate(cases):
            self.llm.engine.submit(self.request(str(at), case, mode))
        while self.llm.engine.has_work():
            for output in self.llm.engine.step().outputs:
                said[int(output.request_id)] += _token_ids(output)
        return [self.llm.tokenizer.decode(ids, skip_special=False).removesuffix("<|im_end|>") for ids in said]


def _token_ids(output: Output) -> list[int]:
    """What a step added: the tokens, as named parts of an answer leave the markers out."""
    if output.finish_reason == "error":
        raise RuntimeError(f"{output.error_code}: {output.error_message}")
    return output.token_ids


def untrained(folder: Path, checkpoint: Path) -> Path:
    """A checkpoint like another one, with random weights."""
    torch.manual_seed(0)
    export(Network(Shape()), folder, checkpoint / "tokenizer.json")
    return folder


def share_right(candidate: Candidate, cases: list[Case], mode: str, *, show: int = 0) -> float:
    """How many of the cases are right, from 0 to 1; prints up to `show` of the others."""
    right = 0
    for case, said in zip(cases, candidate.say(cases, mode), strict=True):
        if case.is_right(said):
            right += 1
        elif show > 0:
            show -= 1
            calls = [call["function"] for call in case.expected.get("tool_calls", [])]
            print(f"  user: {case.messages[-1]['content']}\n  said: {said}\n  want: {calls or case.expected['cites']}")
    return right / len(cases)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    parser.add_argument("--each", type=int, default=100, help="cases of each kind in each column")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patterns", type=Path, help="sentence patterns to take in place of those of patterns.json")
    parser.add_argument("--toolbox", type=Path, help="tools to take in place of those of toolbox.json")
    parser.add_argument("--tool-choice", choices=("auto", "required"), default="auto")
    parser.add_argument("--show", type=int, default=0, help="print so many wrong answers of each kind")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    """Print a table."""
    given = arguments()
    patterns = load_patterns(given.patterns) if given.patterns else None
    with tempfile.TemporaryDirectory() as scratch:
        options: dict[str, Any] = {"threads": given.threads, "kv_memory_bytes": 512 * 2**20}
        trained = Candidate(LLM(str(given.checkpoint), **options))
        random = Candidate(LLM(str(untrained(Path(scratch), given.checkpoint)), **options))
        print(f"{'':24}{'trained patterns':>18}{'unseen patterns':>18}{'untrained network':>19}")
        for name in KINDS:
            shares = []
            for candidate, is_new in ((trained, False), (trained, True), (random, True)):
                source = Source(Random(f"{name}:{is_new}:{given.seed}"), True, is_new, toolbox=given.toolbox)
                cases = list(make_cases(name, given.each, source, patterns if is_new else None))
                show = given.show if candidate is trained and is_new else 0
                shares.append(share_right(candidate, cases, given.tool_choice, show=show))
            print(
                f"{name:24}"
                + "".join(f"{share:>{width}.1%}" for share, width in zip(shares, (18, 18, 19), strict=True)),
                flush=True,
            )


if __name__ == "__main__":
    main()
