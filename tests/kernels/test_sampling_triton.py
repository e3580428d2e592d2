"""The fused kernel draws what its twin draws, whatever is mixed in a batch, and takes what a multiprocessor has."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from espalier.kernels.sampling import Ragged, Sampled, Settings, sample
from tests.kernels.sampling_case import (
    COMBINATIONS,
    LOGITS,
    Case,
    assert_follows,
    case_of,
    distance_from_boundary,
    probabilities,
    random_case,
    rows_of,
    seeded,
    settings_of,
)
from tests.kernels.triton_compile import SHARED_BYTES_OF_SM90, Kernel, compile_all

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
ROUNDING = 1e-5


def on(settings: Settings, device: str) -> Settings:
    """The settings on a device."""

    def move(value: object) -> object:
        if isinstance(value, Ragged):
            return Ragged(value.start.to(device), value.token.to(device), value.value.to(device))
        return value.to(device) if isinstance(value, Tensor) else value

    return Settings(**{field.name: move(getattr(settings, field.name)) for field in fields(settings)})  # type: ignore[arg-type]


def by_twin(logits: Tensor, settings: Settings, patch: pytest.MonkeyPatch) -> Sampled:
    with patch.context() as context:
        context.setenv("ESPALIER_KERNELS", "torch")
        return sample(logits, settings)


def assert_same(
    logits: Tensor, cases: list[Case], numbers: np.ndarray[tuple[int], np.dtype[np.float64]], drawn: Sampled,
    wanted: Sampled,
) -> None:  # fmt: skip
    """Equal but where rounding decides, which is counted, and close where they are floats."""
    assert torch.equal(drawn.is_valid.cpu(), wanted.is_valid)
    assert torch.equal(drawn.is_blocked.cpu(), wanted.is_blocked)
    differ = (drawn.token.cpu() != wanted.token).nonzero().squeeze(1).tolist()
    for row in differ:
        assert distance_from_boundary(logits[row].double().numpy(), cases[row], numbers[row]) < ROUNDING
    assert len(differ) <= 1 + len(cases) // 50
    if wanted.logprob is not None and wanted.top_token is not None and wanted.top_logprob is not None:
        assert drawn.logprob is not None and drawn.top_token is not None and drawn.top_logprob is not None
        same = [row for row in range(len(cases)) if row not in differ]
        torch.testing.assert_close(drawn.logprob.cpu()[same], wanted.logprob[same], equal_nan=True)
        assert torch.equal(drawn.top_token.cpu(), wanted.top_token)
        torch.testing.assert_close(drawn.top_logprob.cpu(), wanted.top_logprob, equal_nan=True)


def check_random(
    vocab: int, rows: int, dtype: torch.dtype, device: str, patch: pytest.MonkeyPatch, *, spread: float = 3.0
) -> None:
    """Rows of any settings, their logits and masks strided, by the kernel and by its twin."""
    random = np.random.default_rng(vocab + rows)
    cases = [random_case(random, vocab) for _ in range(rows)]
    numbers = seeded(rows, vocab)
    settings = settings_of(cases, vocab, numbers, num_top=5)
    wide = torch.from_numpy(random.normal(size=(rows, vocab + 11)) * spread).to(dtype)
    if settings.mask is not None:
        words = settings.mask.shape[1]
        table = torch.zeros(rows, words + 9, dtype=torch.int32)
        table[:, 4 : 4 + words] = settings.mask
        settings = replace(settings, mask=table[:, 4 : 4 + words])
    wanted = by_twin(wide[:, 3 : 3 + vocab], settings, patch)
    moved = on(settings, device)
    drawn = sample(wide.to(device)[:, 3 : 3 + vocab], moved)
    assert_same(wide[:, 3 : 3 + vocab], cases, numbers, drawn, wanted)


@pytest.mark.parametrize(
    ("vocab", "rows", "dtype"),
    [(1, 3, 0), (31, 8, 1), (33, 8, 2), (128, 1, 0), (1000, 17, 1), (3072, 12, 0), (4097, 12, 2)],
)
@pytest.mark.parametrize("programs", [1, 10_000])
def test_the_kernel_draws_what_its_twin_draws(
    triton_device: str, monkeypatch: pytest.MonkeyPatch, vocab: int, rows: int, dtype: int, programs: int
) -> None:
    monkeypatch.setattr("espalier.kernels.triton.sampling.PROGRAMS", programs)
    monkeypatch.setattr("espalier.kernels.triton.sampling.SCAN", 8)
    check_random(vocab, rows, DTYPES[dtype], triton_device, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("vocab", "rows"), [(1, 257), (31, 64), (33, 257), (127, 64), (1000, 257), (3072, 100), (4097, 64), (50_257, 16)]
)
def test_the_kernel_draws_what_its_twin_draws_in_larger_batches(
    triton_device: str, monkeypatch: pytest.MonkeyPatch, vocab: int, rows: int, dtype: torch.dtype
) -> None:
    check_random(vocab, rows, dtype, triton_device, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.01, 1.0, 6.0])
@pytest.mark.parametrize("vocab", [131_072, 262_144])
def test_the_kernel_draws_what_its_twin_draws_from_large_vocabularies(
    triton_device: str, monkeypatch: pytest.MonkeyPatch, vocab: int, spread: float
) -> None:
    check_random(vocab, 12, torch.bfloat16, triton_device, monkeypatch, spread=spread)


FLAT_CASES = [
    Case(top_p=0.7),
    Case(top_p=0.9, min_p=0.3),
    Case(top_k=700),
    Case(top_k=5000, top_p=0.5),
    Case(min_p=0.4),
    Case(top_k=40),
    Case(top_p=0.5, bias=((7, 0.01), (9, -math.inf))),
]


@pytest.mark.parametrize(
    ("count", "vocab"),
    [(1, 140), (128, 700), (129, 700), (512, 1000), (513, 1000)]
    + [pytest.param(count, 5000, marks=pytest.mark.slow) for count in (4096, 4097)],
)
def test_lists_are_drawn_from_at_the_borders_of_each_way(
    triton_device: str, monkeypatch: pytest.MonkeyPatch, count: int, vocab: int
) -> None:
    # So many equals above the rest, next to each other or anywhere; some rows are cut among them.
    random = np.random.default_rng(count)
    logits = torch.full((4, vocab), -6.0)
    for row, logits_v in enumerate(logits):
        at = np.arange(count) + 100 if row % 2 else random.permutation(vocab)[:count]
        logits_v[torch.from_numpy(at)] = 3.0
    cases = [Case(min_p=0.5), Case(top_k=count), Case(top_k=count + 1), Case(top_k=max(count - 1, 1), top_p=0.9)]
    settings = settings_of(cases, vocab, seeded(4, count))
    drawn = sample(logits.to(triton_device), on(settings, triton_device))
    assert_same(logits, cases, seeded(4, count), drawn, by_twin(logits, settings, monkeypatch))


@pytest.mark.parametrize(("vocab", "room"), [(1100, 512), pytest.param(4700, 4096, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["narrow", "equal"])
def test_flat_logits_fill_more_than_the_list(
    triton_device: str, monkeypatch: pytest.MonkeyPatch, kind: str, vocab: int, room: int
) -> None:
    monkeypatch.setattr("espalier.kernels.triton.sampling.LIST", room)
    rows = len(FLAT_CASES)
    random = np.random.default_rng(0)
    spread = 0.5 if kind == "narrow" else 0.0
    logits = torch.from_numpy(1 + random.normal(size=(rows, vocab)) * spread).to(torch.bfloat16)
    numbers = seeded(rows, 4)
    settings = settings_of(FLAT_CASES, vocab, numbers)
    wanted = by_twin(logits, settings, monkeypatch)
    drawn = sample(logits.to(triton_device), on(settings, triton_device))
    assert_same(logits, FLAT_CASES, numbers, drawn, wanted)


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 8))])
def test_the_kernel_inverts_the_exact_distribution_of_combined_settings(triton_device: str, part: int) -> None:
    cases = [case_of(names) for names in COMBINATIONS[part::8]]
    numbers = seeded(len(cases), 11 + part)
    logits = torch.tensor(LOGITS, dtype=torch.float32, device=triton_device).expand(len(cases), -1)
    tokens = sample(logits, on(settings_of(cases, len(LOGITS), numbers), triton_device)).token.tolist()
    for case, number, token in zip(cases, numbers, tokens, strict=True):
        running = np.cumsum(probabilities(LOGITS, case))
        before = running[token - 1] if token else 0.0
        assert before - ROUNDING <= number <= running[token] + ROUNDING


@pytest.mark.gpu
@pytest.mark.parametrize("names", COMBINATIONS, ids=lambda names: "+".join(sorted(names)) or "plain")
def test_the_kernel_s_draws_follow_the_exact_distribution(triton_device: str, names: frozenset[str]) -> None:
    case, rows = case_of(names), 20_000
    logits = torch.tensor(LOGITS, dtype=torch.float32, device=triton_device).expand(rows, -1)
    settings = on(settings_of([case] * rows, len(LOGITS), seeded(rows)), triton_device)
    assert_follows(sample(logits, settings), probabilities(LOGITS, case))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["temperature", "top_p", "mask"])
def test_the_interpreted_kernel_s_draws_follow_the_exact_distribution(triton_device: str, name: str) -> None:
    case, rows = case_of(frozenset({name})), 1500
    logits = torch.tensor(LOGITS, dtype=torch.float32, device=triton_device).expand(rows, -1)
    settings = on(settings_of([case] * rows, len(LOGITS), seeded(rows)), triton_device)
    assert_follows(sample(logits, settings), probabilities(LOGITS, case))


def test_a_row_draws_the_same_from_the_kernel_alone_and_in_a_batch(triton_device: str) -> None:
    random = np.random.default_rng(6)
    cases = [random_case(random, 500) for _ in range(10)]
    logits = torch.from_numpy(random.normal(size=(10, 500)) * 2).to(torch.bfloat16).to(triton_device)
    settings = settings_of(cases, 500, seeded(10), num_top=2)
    together = sample(logits, on(settings, triton_device))
    for row in range(10):
        alone = sample(logits[row : row + 1], on(rows_of(settings, slice(row, row + 1)), triton_device))
        assert alone.token.tolist() == together.token[row : row + 1].tolist()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_kernel_tells_rows_of_no_numbers_from_rows_that_nothing_is_left_of(
    triton_device: str, monkeypatch: pytest.MonkeyPatch, temperature: float
) -> None:
    logits = torch.zeros(7, 200)
    logits[:3, 150] = torch.tensor([math.nan, math.inf, -math.inf])
    logits[2] = -math.inf
    logits[3, 150] = math.nan
    logits[6, 150] = math.nan
    case = Case(temperature=temperature)
    cases = [
        *[case] * 3,
        replace(case, allowed=frozenset({4, 151})),
        replace(case, allowed=frozenset()),
        replace(case, allowed=frozenset({4, 5}), bias=((4, -math.inf), (5, -math.inf))),
        replace(case, allowed=frozenset({4}), logprobs=True),
    ]
    settings = settings_of(cases, 200, seeded(7), num_top=2)
    drawn = sample(logits.to(triton_device), on(settings, triton_device))
    assert drawn.is_valid.tolist() == [False, False, False, True, False, False, False]
    assert drawn.is_blocked.tolist() == [False, False, False, False, True, True, False]
    assert_same(logits, cases, seeded(7), drawn, by_twin(logits, settings, monkeypatch))


def test_the_best_tokens_may_be_as_many_as_there_are(triton_device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.from_numpy(np.random.default_rng(2).integers(-40, 40, size=(3, 700))).float()
    logits[1, 5:] = -math.inf
    cases = [Case(logprobs=True)] * 3
    for count in (1, 20, 1000):
        settings = settings_of(cases, 700, seeded(3), num_top=count)
        drawn = sample(logits.to(triton_device), on(settings, triton_device))
        assert_same(logits, cases, seeded(3), drawn, by_twin(logits, settings, monkeypatch))


SIGNATURE = {
    "logits": "*bf16", "row_stride": "i32", "vocab": "i32", "temperature": "*fp32", "top_k": "*i32", "top_p": "*fp32",
    "min_p": "*fp32", "uniform": "*fp64", "mask": "*i32", "mask_stride": "i32", "num_words": "i32",
    "is_masked": "*i1", "seen_start": "*i32", "seen_token": "*i32", "seen_value": "*fp32", "repetition": "*fp32",
    "presence": "*fp32", "frequency": "*fp32", "bias_start": "*i32", "bias_token": "*i32", "bias_value": "*fp32",
    "patched": "*i32", "patch_value": "*fp32", "wants_logprob": "*i1", "num_top": "i32", "floats": "*fp32",
    "integers": "*i32", "split_blocks": "i32", "num_splits": "i32", "token_out": "*i64", "is_valid_out": "*i1",
    "is_blocked_out": "*i1", "logprob_out": "*fp32", "top_token_out": "*i64", "top_logprob_out": "*fp32",
}  # fmt: skip
OPTIONAL = {
    "HAS_MASK": ["mask"],
    "SOME_MASKED": ["is_masked"],
    "HAS_SEEN": ["seen_start", "seen_token", "seen_value", "repetition", "presence", "frequency"],
    "HAS_BIAS": ["bias_start", "bias_token", "bias_value"],
    "HAS_LOGPROB": ["wants_logprob", "logprob_out", "top_token_out", "top_logprob_out"],
}


def compiled(dtype: str, shift: int, flags: frozenset[str], blocks: int, top: int = 0) -> list[Kernel]:
    """Both kernels as `sample_fused` launches them."""
    from espalier.kernels.triton import sampling

    constants: dict[str, object] = {name: name in flags for name in OPTIONAL}
    absent = [argument for name, arguments in OPTIONAL.items() if name not in flags for argument in arguments]
    if not flags & {"HAS_SEEN", "HAS_BIAS"}:
        absent += ["patched", "patch_value"]
    signature = {name: kind for name, kind in SIGNATURE.items() if name not in absent} | {"logits": dtype}
    constants |= {"TOP": top, "BLOCKS": blocks, "LIST": sampling.LIST, "TILE": sampling.TILE, "SHIFT": shift}
    constants |= {"SCAN": sampling.SCAN, "STAGES": sampling.STAGES, "CHAINED": sampling.CHAINED}
    aligned = [name for name, kind in signature.items() if kind.startswith("*")] + ["row_stride", "vocab"]
    return [
        Kernel(
            "espalier.kernels.triton.sampling",
            "sample_kernel",
            signature,
            constants | dict.fromkeys(absent) | {"IS_FIRST": is_first},
            num_warps=sampling.SCAN_WARPS if is_first else sampling.draw_warps(blocks),
            max_registers=None if is_first else sampling.DRAW_REGISTERS,
            aligned=aligned,
        )
        for is_first in (True, False)
    ]


EVERYTHING = frozenset(OPTIONAL)
MASKED = frozenset({"HAS_MASK", "SOME_MASKED"})


def assert_fits(kernels: list[Kernel]) -> None:
    for report in compile_all(kernels):
        assert report.spill_bytes == 0
        assert report.shared_bytes <= SHARED_BYTES_OF_SM90


def test_the_kernel_compiles_for_sm_90_without_spills() -> None:
    assert_fits(compiled("*bf16", 16, MASKED, 1024))


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "shift"), [("*fp32", 0), ("*bf16", 16), ("*fp16", 13)])
@pytest.mark.parametrize("blocks", [512, 1024, 2048, 4096])
def test_every_size_of_the_kernel_compiles_for_sm_90_without_spills(dtype: str, shift: int, blocks: int) -> None:
    assert_fits(
        [
            *compiled(dtype, shift, frozenset(), blocks),
            *compiled(dtype, shift, MASKED, blocks),
            *compiled(dtype, shift, MASKED | {"HAS_SEEN", "HAS_BIAS"}, blocks),
            *compiled(dtype, shift, EVERYTHING, blocks, 1024),
        ]
    )
