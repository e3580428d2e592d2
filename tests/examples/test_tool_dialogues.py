"""The dialogues with tools that train the bundled model: what is kept back stays back, and every call is valid."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

SCRIPTS = Path(__file__).resolve().parents[2] / "examples" / "bundled_model"


def _script(name: str) -> ModuleType:
    """A module of the example, which runs as scripts beside each other do."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(SCRIPTS))


(
    asking, composition, dialogues, evaluate_calls, free_sentence, further_asks, further_memories, memories,
    phrasebook, rendering, scenarios, toolbox, tools, values, wordstock,
) = (
    _script(name)
    for name in (
        "asking", "composition", "dialogues", "evaluate_calls", "free_sentence", "further_asks", "further_memories",
        "memories", "phrasebook", "rendering", "scenarios", "toolbox", "tools", "values", "wordstock",
    )
)  # fmt: skip
SCENARIOS = sorted(scenarios.MEASURED)
SIDES = [(False, False), (True, False), (True, True)]


def _source(seed: int, is_unseen: bool = False, has_unseen_patterns: bool = False) -> Any:
    return wordstock.Source(Random(seed), is_unseen, has_unseen_patterns)


def _calls(messages: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for message in messages:
        for call in message.get("tool_calls", []):
            yield call["function"]["name"], json.loads(call["function"]["arguments"])


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("scenario", [*SCENARIOS, "agent"])
def test_every_call_is_of_a_tool_that_is_offered_and_satisfies_its_schema(
    scenario: str, side: tuple[bool, bool]
) -> None:
    for seed in range(40):
        dialogue = getattr(scenarios, scenario)(_source(seed, *side))
        schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in dialogue.tools}
        assert len(schemas) == len(dialogue.tools) <= 8
        for name, arguments in _calls(dialogue.messages):
            Draft202012Validator(schemas[name]).validate(arguments)
            assert [key for key in schemas[name]["properties"] if key in arguments] == list(arguments)


@pytest.mark.parametrize("side", SIDES)
def test_what_a_call_says_was_said_before(side: tuple[bool, bool]) -> None:
    small_numbers = {str(number) for number in range(1, 13)}  # people write these in letters, too
    for seed in range(150):
        said = ""
        for message in scenarios.agent(_source(seed, *side)).messages:
            for _, arguments in _calls([message]):
                for value in arguments.values():
                    items = value if isinstance(value, list) else [value]
                    texts = [str(item) for item in items if not isinstance(item, bool)]
                    texts = [text for text in texts if text not in small_numbers]
                    assert all(text in said or text.replace("_", " ") in said for text in texts), (said, arguments)
            said += str(message["content"])


@pytest.mark.parametrize("side", SIDES)
def test_answers_and_memories_hold_what_they_have_to(side: tuple[bool, bool]) -> None:
    seen = 0
    for seed in range(60):
        for make in (scenarios.agent, scenarios.recall):
            for message in make(_source(seed, *side)).messages:
                if "cites" in message:
                    seen += 1
                    assert message["cites"] and all(cite in message["content"] for cite in message["cites"])
    assert seen > 100


def test_what_was_said_is_asked_for_three_turns_later() -> None:
    for seed in range(60):
        messages = scenarios.recall(_source(seed)).messages
        users = [at for at, message in enumerate(messages) if message["role"] == "user"]
        first = next(at for at, message in enumerate(messages) if message.get("kind") == "recall")
        assert len([at for at in users if at < first]) >= 3


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]+", text.lower()))


def test_training_never_shows_what_is_kept_back() -> None:
    rng, shown = Random(5), ""
    for _ in range(1500):
        shown += rendering.render(dialogues.make_dialogue(rng)).lower() + "\n"
    seen, names = _words(shown), set(re.findall(r"[\w.-]+", shown))
    for seed in range(40):
        dialogue = scenarios.single_call(_source(seed, True, True))
        for tool in dialogue.tools:
            function = tool["function"]
            assert function["name"].lower() not in names
            assert not {key.lower() for key in function["parameters"]["properties"]} & names
        for _, arguments in _calls(dialogue.messages):
            for value in arguments.values():
                if isinstance(value, str) and len(value) > 3 and value.isalpha():
                    assert value.lower() not in seen


@pytest.mark.parametrize("kind", sorted(values.KINDS))
def test_values_lie_on_one_side_of_the_line(kind: str) -> None:
    shown = {json.dumps(values.make_value(_source(seed), kind)) for seed in range(80)}
    kept = {json.dumps(values.make_value(_source(seed, True), kind)) for seed in range(80)}
    both = {one for one in shown & kept if not re.fullmatch(r"true|false|\[?-?\d(\.0)?(, \d(\.0)?)*\]?", one)}
    assert not both
    assert {type(json.loads(one)).__name__ for one in shown | kept} <= {
        "string": {"str"}, "integer": {"int"}, "number": {"int", "float"}, "boolean": {"bool"}, "array": {"list"},
    }[values.KINDS[kind][0]]  # fmt: skip


def test_sentence_patterns_are_on_one_side_each() -> None:
    patterns = phrasebook.load_patterns()
    flat = {kind: parts for kind, parts in patterns.items() if kind not in ("bare", "reply")}
    for kind, parts in flat.items():
        assert parts["train"] and parts["held_out"], kind
        assert not set(parts["train"]) & set(parts["held_out"]), kind
    bare = patterns["bare"]
    assert set(bare["train"]) == set(bare["held_out"])
    assert all(not set(bare["train"][kind]) & set(bare["held_out"][kind]) for kind in bare["train"])


PLACES = {
    "command": {"verb", "noun"},
    "question": {"noun"},
    "two": {"first", "second"},
    "both": {"value", "other"},
    "follow_value": {"value"},
    "follow_named": {"value", "key"},
    "told": {"thing", "value"},
    "asked": {"thing"},
    "styles": {"value", "key"},
    "pair": {"value", "key"},
    "line": {"value", "key"},
    "bare": {"value"},
    "true": {"key"},
    "false": {"key"},
    "flag_true": {"key"},
    "flag_false": {"key"},
}
FURTHER = {
    "clause": {"verb", "noun"}, "clause_read": {"noun"}, "ellipsis": {"noun"}, "twice": {"first", "second"},
    "sentences": {"first", "second"}, "another": set(), "follow_pairs": set(),
    "about_parameter": set(), "about_optional": set(),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(PLACES | FURTHER))
def test_a_composed_pattern_has_the_places_of_its_kind_once(kind: str) -> None:
    composer = composition.Composer(Random(kind))
    for _ in range(2000):
        places = [place.lower() for place in re.findall(r"\{(\w+)\}", composer.disturbed(kind, composer.pattern(kind)))]
        if kind in ("command", "question", "clause", "clause_read", "ellipsis", "follow_pairs"):
            # What stands in front may leave some arguments to the end of the sentence.
            assert len({"args", "pairs", "lines"} & set(places)) == 1 or "front" in places
            places = [place for place in places if place not in ("args", "pairs", "lines", "front")]
        if kind in ("about_parameter", "about_optional"):
            assert set(places) & {"words", "noun"}
        else:
            assert sorted(places) == sorted((PLACES | FURTHER)[kind])


def test_training_never_composes_a_held_out_pattern() -> None:
    patterns = phrasebook.load_patterns()
    held_out = {
        kind: {composition.plain(one) for one in patterns[kind]["held_out"]} for kind in PLACES if kind != "bare"
    }
    for seed in range(300):
        book = phrasebook.Phrasebook(_source(seed))
        for kind, kept in held_out.items():
            pattern = book.pattern(kind)
            assert composition.plain(pattern) not in kept or pattern in patterns[kind]["train"]


def test_what_is_measured_is_never_composed() -> None:
    for has_unseen_patterns in (False, True):
        source = _source(0, True, has_unseen_patterns)
        part = phrasebook.load_patterns()["command"]["held_out" if has_unseen_patterns else "train"]
        assert all(phrasebook.Phrasebook(source).pattern("command") in part for _ in range(100))


def test_parts_say_no_word_that_is_kept_back_for_tools() -> None:
    kept = {word for listed in (wordstock.NOUNS, wordstock.MODIFIERS, wordstock.KEYS) for word in listed[1]}
    said = " ".join(part for rule in composition.load_parts().values() for part in rule)
    assert not _words(re.sub(r"<\w+>|\{\w+\}", " ", said)) & kept


def test_a_sentence_without_a_pattern_says_its_values_in_order() -> None:
    for seed in range(200):
        said = free_sentence.free_sentence(composition.Composer(Random(seed)), "fetch", "tulip", ["Oslo", "42", "x@y"])
        assert re.search("Oslo.*42.*x@y", said) and "tulip" in said and "fetch" in said.lower()


def test_what_stands_in_front_of_a_sentence_keeps_its_values() -> None:
    said = [phrasebook.Said("path", "./a-b.txt", "path"), phrasebook.Said("offset", -20, "degrees")]
    for seed in range(200):
        book = phrasebook.Phrasebook(_source(seed))
        filled = book.fill("{Front}, {verb} it{args}.", said, True, {"verb": "fetch"})
        assert "./a-b.txt" in filled and "-20" in filled and re.match(r"[^\s,;:]", filled)


def test_training_says_once_what_two_calls_share() -> None:
    kinds, composer = set(), composition.Composer(Random(0))
    for seed in range(60):
        source = _source(seed)
        asker = asking.Asker(source, phrasebook.Phrasebook(source))
        verbs = ("rotate", "spin")
        first, second = (tools.made_up_tool(source, verbs=verbs, noun=noun) for noun in ("tulip", "pebble"))
        shared = further_asks.elliptical(asker, composer, first, second)
        assert [call.tool for call in shared.calls] == [first, second]
        assert "tulip" in shared.sentence.lower() and "pebble" in shared.sentence.lower()
        again = further_asks.twice(asker, composer, first)
        if again:
            kinds.add("twice")
            assert again.calls[0] != again.calls[1] and again.sentence.lower().count("tulip") == 1
        more = further_asks.follow_further(asker, composer, shared.calls[0])
        if more:
            kinds.add(f"{len(more.calls)} more")
            assert all(call != shared.calls[0] and call.tool == first for call in more.calls)
    assert kinds == {"twice", "1 more", "2 more"}


def test_a_known_sentence_may_be_begun_by_somebody_else() -> None:
    composer = composition.Composer(Random(0))
    for pattern in ("Book a table at {place}.", "What is on at {place}?"):
        drawn = {further_asks.wrapped(composer, pattern) for _ in range(100)}
        assert len(drawn) > 90 and all(pattern[1:].rstrip(".?") in one for one in drawn)


def test_training_alone_tells_memories_in_further_words() -> None:
    further = {one for _, asked in further_memories.FURTHER.values() for one in asked}
    for held_out in (False, True):
        rng = Random(0)
        told = [one for _ in range(150) for one in memories.memories(rng, held_out)]
        assert all(one.value.lower() in one.statement.lower() for one in told)
        assert (sum(one.question in further for one in told) > len(told) / 3) is not held_out


def test_training_alone_has_short_keys_hints_and_lists_of_numbers() -> None:
    for is_unseen in (False, True):
        drawn = [one for seed in range(300) for one in tools.made_up_tool(_source(seed, is_unseen)).parameters]
        for has_it in (
            any(one.called and one.called != one.key for one in drawn),
            any(one.hints for one in drawn),
            any(one.schema().get("items") == {"type": "integer"} for one in drawn),
        ):
            assert has_it is not is_unseen


def test_known_tools_are_on_one_side_each() -> None:
    train, kept = ({tool["name"] for tool in toolbox.toolbox(part)} for part in ("train", "held_out"))
    assert train and kept and not train & kept


def test_a_renamed_tool_is_called_by_its_new_words_alone() -> None:
    """Whatever word of a tool's name or arguments is exchanged, sentences and places follow."""
    source = _source(0)
    for entry in toolbox.toolbox("train"):
        new = toolbox.renamed(source, entry)
        keys = {key.rstrip("?") for key in new["parameters"]}
        required = {key for key in new["parameters"] if not key.endswith("?")}
        assert list(new["parameters"].values()) == list(entry["parameters"].values())
        for ask in new["ask"]:
            assert required <= set(re.findall(r"\{(\w+)\}", ask)) <= keys
    book = {
        "name": "getPrice", "description": "Gets prices of priceless things", "parameters": {"priceLimit": "count"},
        "ask": ["Price at most {priceLimit}?", "Prices up to {priceLimit}", "Not above {priceLimit}"], "result": {},
    }  # fmt: skip
    drawn = (toolbox.renamed(source, book) for _ in range(100))
    new = next(one for one in drawn if one["name"] != "getPrice")
    word = new["name"].removeprefix("get").lower()
    assert new["description"] == f"Gets {word}s of priceless things"
    assert new["ask"] == [
        f"{word.capitalize()} at most {{{word}Limit}}?",
        f"{word.capitalize()}s up to {{{word}Limit}}",
    ]


def test_options_of_a_known_tool_may_be_other_words() -> None:
    entry = {"name": "rent_car", "description": "", "parameters": {"size": "small|large", "city": "place"}}
    source = _source(0)
    for _ in range(2000):
        parameters = toolbox.other_options(source, entry)["parameters"]
        assert parameters["city"] == "place" and len({"small", "large", *parameters["size"].split("|")}) == 4


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_seed_decides_the_dialogue(scenario: str) -> None:
    first, again, other = (scenarios.MEASURED[scenario](_source(seed, True, True)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_no_two_tools_of_an_offer_are_asked_for_alike() -> None:
    for seed in range(100):
        offered = scenarios.offer(_source(seed))
        assert not any(one.resembles(other) for at, one in enumerate(offered) for other in offered[:at])


def _said(message: dict[str, Any]) -> str:
    text: str = rendering.render_messages([message], [])
    return text.removeprefix("<|im_start|>assistant\n").removesuffix("<|im_end|>\n")


@pytest.mark.parametrize("name", sorted(evaluate_calls.KINDS))
def test_the_right_words_are_right_and_others_are_not(name: str) -> None:
    cases = list(evaluate_calls.make_cases(name, 20, _source(1, True, True)))
    swapped = 0
    for case, other in zip(cases, [*cases[1:], cases[0]], strict=True):
        assert case.messages and case.is_right(_said(case.expected))
        swapped += case.is_right(_said(other.expected))
        assert not case.is_right("") and not case.is_right("<tool_call>\n{oops\n</tool_call>")
    assert swapped <= 1  # a small number may stand in another's answer


def test_numbers_are_compared_by_value_and_calls_in_any_order() -> None:
    def case(*calls: tuple[str, str]) -> Any:
        made = [{"function": {"name": name, "arguments": arguments}} for name, arguments in calls]
        return evaluate_calls.Case([], [], {"role": "assistant", "content": "", "tool_calls": made})

    def said(*calls: str) -> str:
        return "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in calls)

    a, b = '{"name": "a", "arguments": {"x": 3.0, "y": true}}', '{"name": "b", "arguments": {}}'
    assert case(("a", '{"y":true,"x":3}'), ("b", "{}")).is_right(said(b, a))
    assert not case(("a", '{"y":1,"x":3}'), ("b", "{}")).is_right(said(b, a))
    assert not case(("b", "{}")).is_right(said(b, b))
