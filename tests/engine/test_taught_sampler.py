"""Teacher forcing: a lesson comes out whole, whatever the model would have said."""

from __future__ import annotations

from espalier.engine import Engine, EngineOptions, Generate, SamplingParams
from espalier.engine.loader import load
from espalier.engine.taught_sampler import Lesson, TaughtSampler
from espalier.grammar import Json

OPTIONS = EngineOptions(kv_memory_bytes=4 * 2**20, threads=1, max_context=256)
TEXT = '{"name":"Größe","list":[1,2.5,null]}'


def test_a_lesson_is_said_free_and_constrained() -> None:
    loaded = load(OPTIONS)
    token_ids = tuple(loaded.tokenizer.encode(TEXT))
    lesson = Lesson(TEXT.encode(), token_ids)
    taught = TaughtSampler(loaded.tokenizer.end_token_ids, loaded.tokenizer, {"free": lesson, "bound": lesson})
    engine = Engine(OPTIONS, loaded=loaded, sampler=taught)
    for _ in range(2):
        taught.forget()
        free = SamplingParams(max_tokens=len(token_ids), ignore_eos=True)
        engine.submit(Generate("free", [5, 6], free))
        engine.submit(Generate("bound", [7, 8], SamplingParams(max_tokens=100, constraint=Json({"type": "object"}))))
        said = {"free": "", "bound": ""}
        while engine.has_work():
            for output in engine.step().outputs:
                said[output.request_id] += output.text
        assert said == {"free": TEXT, "bound": TEXT}
