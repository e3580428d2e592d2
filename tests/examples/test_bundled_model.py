"""The bundled model: its tokenizer, template and data, and the script that trains it."""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path
from queue import Queue
from random import Random
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import TemplateError
from tokenizers import Tokenizer

from espalier.engine.template_environment import make_environment

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = ROOT / "engine" / "bundled"
SCRIPTS = ROOT / "examples" / "bundled_model"
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|pad|>",
    "<tool_call>",
    "</tool_call>",
    "<think>",
    "</think>",
)


def _script(name: str) -> ModuleType:
    """A module of the example, which runs as scripts beside each other do."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(SCRIPTS))


words, dialogues, rendering, dataset, network, train, export, evaluate, optimizer = (
    _script(name)
    for name in ("words", "dialogues", "rendering", "dataset", "network", "train", "export", "evaluate", "optimizer")
)
TASKS = sorted(dialogues.TASKS)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(BUNDLED / "tokenizer.json"))


@pytest.fixture
def tiny() -> Any:
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "head_dim": 8,
        "intermediate_size": 48,
    }
    torch.manual_seed(0)
    return network.Network(network.Shape(**sizes))


TEMPLATE = make_environment().from_string((BUNDLED / "chat_template.jinja").read_text())


def _render(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None, prompt: bool = False) -> str:
    """By the template that ships."""
    return TEMPLATE.render(messages=messages, tools=tools or None, add_generation_prompt=prompt)


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_any_text_comes_back_from_its_tokens(text: str) -> None:
    tokenizer = Tokenizer.from_file(str(BUNDLED / "tokenizer.json"))
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_every_byte_and_every_mark_is_one_token(tokenizer: Tokenizer) -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    assert len(ByteLevel.alphabet()) == 256
    assert all(tokenizer.token_to_id(letter) is not None for letter in ByteLevel.alphabet())
    assert all(len(tokenizer.encode(mark).ids) == 1 for mark in SPECIAL)


def test_the_configuration_agrees_with_the_tokenizer(tokenizer: Tokenizer) -> None:
    config = json.loads((BUNDLED / "config.json").read_text())
    generation = json.loads((BUNDLED / "generation_config.json").read_text())
    assert config["vocab_size"] == tokenizer.get_vocab_size()
    assert config["max_position_embeddings"] == 8192
    assert config["eos_token_id"] == tokenizer.token_to_id("<|im_end|>")
    assert generation["eos_token_id"] == [tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")]
    assert sum(path.stat().st_size for path in BUNDLED.iterdir()) <= 16 * 2**20


@pytest.mark.parametrize("task", TASKS)
def test_a_longer_conversation_starts_with_the_shorter_one(task: str) -> None:
    for seed in range(20):
        dialogue = dialogues.make_dialogue(Random(seed), task, held_out=seed % 2 == 0)
        whole = _render(dialogue.messages, dialogue.tools)
        for count in range(1, len(dialogue.messages)):
            is_answered = dialogue.messages[count]["role"] == "assistant"
            assert whole.startswith(_render(dialogue.messages[:count], dialogue.tools, prompt=is_answered))


def test_arguments_read_the_same_as_an_object_and_as_text() -> None:
    def call(arguments: Any) -> str:
        function = {"name": "find", "arguments": arguments}
        return _render(
            [{"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": function}]}]
        )

    assert call({"a": "<b> & 'é'"}) == call('{"a": "<b> & \'é\'"}')
    assert call({}) == call("") == call(None)


def test_content_parts_are_joined_and_a_developer_is_a_system() -> None:
    parts = [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]
    assert _render([{"role": "developer", "content": parts}]) == _render([{"role": "system", "content": "Be brief."}])


def test_the_template_refuses_what_the_model_cannot_read() -> None:
    with pytest.raises(TemplateError, match="image_url"):
        _render([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}])
    with pytest.raises(TemplateError, match="narrator"):
        _render([{"role": "narrator", "content": "Once"}])


def test_what_a_user_writes_is_never_run() -> None:
    hostile = "{{ 7 * 7 }}{% for x in y %}{{ messages.__class__ }}"
    assert f"<|im_start|>user\n{hostile}<|im_end|>" in _render([{"role": "user", "content": hostile}])


@pytest.mark.parametrize("task", TASKS)
def test_a_seed_decides_the_dialogues(task: str) -> None:
    first, again = (list(evaluate.held_out(task, 5, seed=3)) for _ in range(2))
    assert first == again
    assert first != list(evaluate.held_out(task, 5, seed=4))


def test_training_never_shows_a_held_out_name() -> None:
    kept = {*words.NAMES_HELD_OUT, *words.CITIES_HELD_OUT}
    rng = Random(0)
    shown = " ".join(rendering.render(dialogues.make_dialogue(rng)) for _ in range(500))
    assert not [name for name in kept if f" {name} " in shown or f'"{name}"' in shown]


@pytest.mark.parametrize("task", TASKS)
def test_training_writes_what_the_template_writes(task: str) -> None:
    for seed in range(30):
        dialogue = dialogues.make_dialogue(Random(seed), task, held_out=seed % 2 == 0)
        for prompt in (False, True):
            fast = rendering.render(dialogue, add_generation_prompt=prompt)
            assert fast == _render(dialogue.messages, dialogue.tools, prompt)


def test_extractions_are_json() -> None:
    rng = Random(0)
    for _ in range(100):
        json.loads(dialogues.make_dialogue(rng, "extraction").messages[-1]["content"])


def test_the_answer_mask_covers_what_the_assistant_says(tokenizer: Tokenizer) -> None:
    text = _render([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}])
    ids = np.array(tokenizer.encode(text).ids)
    assert (
        tokenizer.decode(list(ids[rendering.answer_mask(ids, tokenizer)]), skip_special_tokens=False)
        == "Hello!<|im_end|>"
    )


RECIPE = dataset.Recipe(chunk_tokens=6000, batch_tokens=2000, row_len=300, drill_chunks=2, long_every=3)


@pytest.mark.parametrize("number", [0, 2, 5])
def test_a_chunk_is_a_function_of_its_number(tokenizer: Tokenizer, number: int) -> None:
    first, again, other = (dataset.RowMaker(tokenizer).chunk(1, at, RECIPE) for at in (number, number, number + 1))
    assert all(np.array_equal(a.token_ids, b.token_ids) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a.token_ids, b.token_ids) for a, b in zip(first, other, strict=False))
    for batch in first:
        rows, width = batch.token_ids.shape
        assert rows > 1 and (width - 1) % dataset.ROUND == 0
        assert len(batch.wanted) == len(batch.weights) and batch.weights.min() > 0
        # Nothing behind a row's end counts.
        assert (batch.token_ids[:, 1:].reshape(-1)[batch.wanted] != 0).mean() > 0.99


def test_processes_make_the_rows_that_one_would(tokenizer: Tokenizer) -> None:
    alone = next(dataset.chunks(BUNDLED / "tokenizer.json", 1, RECIPE))[0]
    with dataset.batch_source(BUNDLED / "tokenizer.json", 1, RECIPE, 1) as source:
        assert np.array_equal(next(source).token_ids, alone.token_ids)
    with dataset.batch_source(BUNDLED / "tokenizer.json", 1, RECIPE, 0) as source:
        assert np.array_equal(next(source).token_ids, alone.token_ids)


def test_what_was_shown_comes_again_while_nothing_is_ready_and_no_oftener_than_told() -> None:
    ready: Queue[tuple[Any, Any, Any]] = Queue()
    arrays = [np.full((1, 2), number, dtype=np.int32) for number in range(dataset.LEAST_KEPT + 5)]
    for array in arrays:
        ready.put((array, array, array))
    shown = dataset.in_turn([ready], 1)
    assert [int(next(shown).token_ids[0, 0]) for _ in arrays] == list(range(len(arrays)))
    assert [int(next(shown).token_ids[0, 0]) for _ in arrays] == list(range(len(arrays)))
    ready.put((arrays[-1], arrays[-1], arrays[-1]))
    assert next(shown).token_ids is arrays[-1]


def test_a_drill_counts_only_what_came_before() -> None:
    row, weight = dataset.drill_row(Random(1), 200, 3072)
    counted = np.flatnonzero(weight)
    assert len(counted) > 20
    assert all(row[at] in row[:at] for at in counted)


def test_the_rate_rises_stays_and_falls_to_zero() -> None:
    by_time, by_steps = train.Plan(200.0, None, 0.5, 0.1), train.Plan(None, 100, 0.5, 0.1)
    assert [by_time.done(elapsed, 10**6) for elapsed in (0.0, 50.0, 200.0, 300.0)] == [0.0, 0.25, 1.0, 1.0]
    assert [by_steps.done(10.0**6, step) for step in (0, 25, 100)] == [0.0, 0.25, 1.0]
    assert [by_time.rate(done) for done in (0.05, 0.1, 0.4, 0.75, 1.0)] == [0.5, 1.0, 1.0, 0.5, 0.0]


def _batches(count: int) -> list[Any]:
    generator = np.random.default_rng(0)
    return [
        dataset.Batch(
            generator.integers(0, 64, (2, 17), dtype=np.int32),
            np.arange(0, 32, 2, dtype=np.int32),
            np.ones(16, dtype=np.float32),
        )
        for _ in range(count)
    ]


def _small_training() -> Any:
    torch.manual_seed(1)
    sizes = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 1, "head_dim": 8, "intermediate_size": 16}
    return train.Training(network.Network(network.Shape(**sizes)), "cpu", 0.02, 0.004, "float32")


def test_training_resumes_bit_for_bit(tmp_path: Path) -> None:
    batches = _batches(3)
    straight, halted, resumed = (_small_training() for _ in range(3))
    losses = [float(straight.learn([batch], 1.0)) for batch in batches]
    again = [float(halted.learn([batches[0]], 1.0))]
    halted.save(tmp_path / "training.pt")
    resumed.load(tmp_path / "training.pt")
    again += [float(resumed.learn([batch], 1.0)) for batch in batches[1:]]
    assert losses == again
    assert (resumed.step, resumed.tokens) == (straight.step, straight.tokens) == (3, 96)
    for name, tensor in straight.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name


def test_training_learns_its_batch_by_heart() -> None:
    training, batches = _small_training(), _batches(2)
    losses = [float(training.learn(batches, 1.0)) for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0]


def test_stacked_matrices_are_made_orthogonal() -> None:
    torch.manual_seed(0)
    for shape in ((3, 8, 8), (2, 24, 8), (2, 8, 24)):
        values = torch.linalg.svdvals(optimizer.orthogonalised(torch.randn(shape), torch.float32))
        assert values.min() > 0.4 and values.max() < 1.4


def test_muon_steps_as_the_library_does() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(shape, generator=generator) for shape in ((6, 4), (6, 4), (4, 6))]
    ours, theirs = ([torch.nn.Parameter(tensor.clone()) for tensor in drawn] for _ in range(2))
    steppers = (
        optimizer.Muon(ours, lr=0.02),
        torch.optim.Muon(theirs, lr=0.02, momentum=0.95, weight_decay=0.01, adjust_lr_fn="original"),
    )
    for _ in range(3):
        gradients = [torch.randn(tensor.shape, generator=generator) for tensor in drawn]
        for parameters, stepper in zip((ours, theirs), steppers, strict=True):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient.clone()
            stepper.step()
    # The library iterates in bfloat16.
    assert all(torch.allclose(a, b, atol=2e-3) for a, b in zip(ours, theirs, strict=True))


def test_an_export_gives_the_same_logits_in_transformers(tmp_path: Path, tiny: Any) -> None:
    from transformers import Qwen3ForCausalLM

    export.export(tiny, tmp_path)
    peer = Qwen3ForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    ours = export.load_checkpoint(tmp_path)
    token_ids = torch.randint(0, 3072, (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(ours(token_ids), peer(token_ids).logits, rtol=1e-4, atol=1e-5)


def test_transformers_reads_the_shipped_template_alike() -> None:
    from transformers import AutoTokenizer

    peer = AutoTokenizer.from_pretrained(BUNDLED)
    dialogue = dialogues.make_dialogue(Random(1), "tool_calls")
    theirs = peer.apply_chat_template(dialogue.messages, tools=dialogue.tools, tokenize=False)
    assert theirs == _render(dialogue.messages, dialogue.tools)


def test_the_score_of_a_seer_and_of_a_guesser(tokenizer: Tokenizer) -> None:
    text = next(evaluate.held_out("recall", 1))
    truth = torch.tensor(tokenizer.encode(text).ids)
    seer = evaluate.score(lambda ids: 100.0 * torch.nn.functional.one_hot(truth[1:], 3072), tokenizer, text)
    guesser = evaluate.score(lambda ids: torch.zeros(len(ids), 3072), tokenizer, text)
    assert (seer.accuracy, seer.perplexity) == (1.0, 1.0)
    assert guesser.accuracy == 0.0
    assert math.isclose(guesser.answer_perplexity, 3072, rel_tol=1e-4)


def test_the_shipped_checkpoint_loads_and_answers(tokenizer: Tokenizer) -> None:
    shipped = export.load_checkpoint(BUNDLED)
    assert 3_000_000 <= sum(parameter.numel() for parameter in shipped.parameters()) <= 8_000_000
    prompt = _render([{"role": "user", "content": "Hello!"}], prompt=True)
    ids = tokenizer.encode(prompt).ids
    with torch.inference_mode():
        while len(ids) < 100 and ids[-1] != tokenizer.token_to_id("<|im_end|>"):
            ids.append(int(shipped(torch.tensor([ids]))[0, -1].argmax()))
    assert "help" in tokenizer.decode(ids[len(tokenizer.encode(prompt).ids) :]) or "do for you" in tokenizer.decode(ids)
