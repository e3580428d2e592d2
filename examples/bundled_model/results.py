"""What tools return, and how the model tells it: every value of the result once, each in a sentence."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ask import Call
from phrasebook import capital, key_words
from tools import made_up_key
from values import make_value
from wordstock import KEYS, Source

FIELDS = "result status total owner code place next name price date time message count state location value".split()
"""Names that results often use."""
REASONS = (
    "not found",
    "no access",
    "timeout",
    "invalid value",
    "not allowed",
    "already exists",
    "out of stock",
    "server error",
)
_KINDS = (
    "person place code date time email title word phrase count count amount amount degrees flag url path state weather "
    "list:word list:person version currency"
).split()  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """The tool's message, what the model says of it, and the values that must be in there."""

    content: str
    answer: str
    cites: tuple[str, ...]
    fields: dict[str, Any] = field(default_factory=dict)


def told(value: Any) -> str:
    """A value in a sentence."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, list):
        parts = [told(item) for item in value]
        return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1]))) if parts else "nothing"
    return str(value)


def _sentences(fields: dict[str, Any], over: str = "") -> list[str]:
    said = []
    for key, value in fields.items():
        words = f"{over}{key_words(key)}"
        if isinstance(value, dict):
            said += _sentences(value, f"{words} ")
        else:
            is_several = isinstance(value, list) and len(value) != 1
            said.append(f"The {words} {'are' if is_several else 'is'} {told(value).removesuffix('.')}.")
    return said


def cites_of(value: Any) -> list[str]:
    """The texts of all values within a value."""
    if isinstance(value, dict):
        return [cite for item in value.values() for cite in cites_of(item)]
    if isinstance(value, list):
        return [cite for item in value for cite in cites_of(item)]
    return [told(value).removesuffix(".")]


def _flat(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if not isinstance(value, dict | bool)}


def _fields(source: Source, call: Call) -> dict[str, Any]:
    rng = source.rng
    if call.tool.result:
        return {key: make_value(source, kind) for key, kind in call.tool.result}
    fields: dict[str, Any] = {}
    if call.tool.noun and call.tool.reads and rng.random() < 0.4:
        fields[call.tool.noun.replace(" ", "_")] = make_value(source, rng.choice(_KINDS))
    if rng.random() < 0.12:
        fields[rng.choice(("ok", "success", "done"))] = True
    if rng.random() < 0.03:
        fields[source.of(KEYS)] = None
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3)) if fields else rng.choice((1, 1, 2, 2, 3, 4))):
        kind, draw = rng.choice(_KINDS), rng.random()
        key = rng.choice(FIELDS) if draw < 0.35 else source.of(KEYS) if draw < 0.6 else made_up_key(source, kind)
        if draw > 0.93 and kind != "flag":
            fields[key] = {
                made_up_key(source, kind): make_value(source, kind),
                source.of(KEYS): make_value(source, "count"),
            }
        else:
            fields[key] = make_value(source, kind)
    if rng.random() < 0.12:  # what was asked comes back
        key, value = rng.choice(list(call.arguments.items()) or [("ok", True)])
        fields = {key: value} | fields
    return fields


def _json(source: Source, value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":") if source.rng.random() < 0.35 else None)


def make_result(source: Source, call: Call) -> Result:
    """What a call returned."""
    rng, draw = source.rng, source.rng.random()
    if call.tool.result and draw > 0.06 and rng.random() < 0.9:
        draw = 1.0
    if draw < 0.06:
        reason = rng.choice(REASONS) if rng.random() < 0.5 else make_value(source, rng.choice(("phrase", "sentence")))
        said = str(reason).rstrip(".")
        content = rng.choice((_json(source, {"error": reason}), f"Error: {reason}"))
        return Result(content, f"I am sorry, that did not work: {said}.", (said,))
    if draw < 0.12:
        text = str(make_value(source, rng.choice(("sentence", "phrase", "word", "code", "person", "place"))))
        return Result(text if rng.random() < 0.7 else _json(source, text), f"The answer is: {text}", (text,))
    if draw < 0.16:
        number = make_value(source, rng.choice(("count", "amount")))
        return Result(str(number), f"The answer is: {number}", (str(number),))
    if draw < 0.24:
        items = make_value(source, rng.choice(("list:word", "list:person", "list:place", "list:code")))
        return Result(_json(source, items), f"I found {told(items)}.", tuple(cites_of(items)))
    if draw < 0.3:
        keys = [made_up_key(source, "word"), source.of(KEYS)]
        kinds = [rng.choice(("person", "word", "code", "place")), rng.choice(("count", "amount", "date", "time"))]
        rows = [
            {key: make_value(source, kind) for key, kind in zip(keys, kinds, strict=True)}
            for _ in range(rng.randint(1, 3))
        ]
        lines = [f"- {', '.join(f'{key_words(key)} {told(value)}' for key, value in row.items())}" for row in rows]
        return Result(_json(source, rows), "\n".join(["I found this:", *lines]), tuple(cites_of(rows)))
    fields = _fields(source, call)
    content = _json(source, {"result": fields} if rng.random() < 0.04 else fields)
    return Result(content, capital(" ".join(_sentences(fields))), tuple(cites_of(fields)), _flat(fields))
