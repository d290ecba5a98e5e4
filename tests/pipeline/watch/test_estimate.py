"""What a dry run says that a build costs: the questions' own rollouts, strategies beside them, long thinking."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.plans.from_sources import BuildPlan, make_build_plan
from mmpr_pipeline.pipeline.watch.estimate import BuildEstimate, estimate_build, estimate_table
from tests.pipeline.made import make_source

EIGHT_B = {
    "architectures": ["InternVLForConditionalGeneration"], "model_type": "internvl", "tie_word_embeddings": False,
    "text_config": {"hidden_size": 4096, "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
                    "intermediate_size": 12288, "vocab_size": 151936, "max_position_embeddings": 32768,
                    "dtype": "bfloat16"},
    "vision_config": {"hidden_size": 1024, "num_hidden_layers": 24, "intermediate_size": 4096},
}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that says what an 8B model is."""
    (tmp_path / "eight").mkdir()
    (tmp_path / "eight" / "config.json").write_text(json.dumps(EIGHT_B))
    return tmp_path / "eight"


def planned(tmp_path: Path, model: Path, **settings: Any) -> BuildPlan:
    source = make_source(tmp_path / "source", questions=10)
    given = {"sources": [str(source)], "out": str(tmp_path / "out"), "screening.decontaminate": False,
             "engine.model": str(model), "engine.actors": 2, "engine.tensor_parallel": 4}  # fmt: skip
    return make_build_plan(load_config(None, {**given, **settings}))


def said(plan: BuildPlan, bounds: BuildEstimate) -> str:
    console = Console(width=200, record=True)
    console.print(estimate_table(plan, bounds))
    return console.export_text()


def test_strategies_beside_the_question_are_counted(tmp_path: Path, model: Path) -> None:
    plain = estimate_build(planned(tmp_path, model), response_tokens=100)
    assert (plain.rollouts, plain.generated_tokens) == (320, 32_000)
    plan = planned(
        tmp_path,
        model,
        **{"pairing.strategies": ["correctness", "step"], "pairing.options.blind.samples": 3,
           "pairing.options.step": {"responses": 2, "steps": 5, "samples": 8}},
    )  # fmt: skip
    bounds = estimate_build(plan, tokens_per_second=1000, response_tokens=100)
    assert [(part.name, part.rollouts, part.tokens) for part in bounds.parts] == [
        ("questions", 320, 32_000), ("blind filter", 30, 3_000), ("step data", 10 * 2 * 4 * 8, 32_000),
    ]  # fmt: skip
    assert bounds.hours == pytest.approx(67_000 / 1000 / 3600 / 2)
    shown = said(plan, estimate_build(plan, tokens_per_second=1, response_tokens=100))
    assert "blind filter: up to 30 rollouts, 3,000 tokens, 3.3 GPU hours" in shown  # on four GPUs
    assert "step data: up to 640 rollouts, 32,000 tokens, 35.6 GPU hours" in shown


def test_long_thinking_is_not_taken_for_the_papers_300_tokens(tmp_path: Path, model: Path) -> None:
    thinking = {"sampling.style": "cot-think", "sampling.decoding.max_tokens": 16_384}
    bounds = estimate_build(planned(tmp_path, model, **thinking))
    assert bounds.response_tokens == 4096
    assert estimate_build(planned(tmp_path, model)).response_tokens == 325
    assert estimate_build(planned(tmp_path, model, **thinking), response_tokens=9000).response_tokens == 9000
    assert "does not hold" not in said(planned(tmp_path, model, **thinking), bounds)
    longer = planned(tmp_path, model, **{**thinking, "sampling.decoding.max_tokens": 32_768})
    assert "a context of 32,768 tokens does not hold" in said(longer, estimate_build(longer))


def test_nine_images_of_24_tiles_and_32k_tokens_are_planned_with_the_arithmetic_shown(
    tmp_path: Path, model: Path
) -> None:
    source = make_source(tmp_path / "wide", questions=10)
    source.write_text(source.read_text() + "tiles: 24\n")
    thinking = {"sampling.style": "cot-think", "sampling.decoding.max_tokens": 32_768, "engine.max_model_len": 65_536}
    plan = planned(tmp_path, model, sources=[str(source)], **thinking)
    shown = " ".join(said(plan, estimate_build(plan, images=9)).split())
    assert "A prompt has about 57,708 tokens: 9 image(s) of 24 tiles and a thumbnail, 256 tokens each" in shown
    assert "4 x (80 x 0.9 - 3 of activations) - 17 of weights = 259 GB of KV cache" in shown
    assert "a token takes 2 x 36 layers x 8 heads x 128 x 2 bytes = 147 kB" in shown
    assert int(1.2 * 259e9 / 147_456 / (8192 + 57_708 / 4)) == 93
    assert "about 93 rollouts of 8,192 tokens at once" in shown
    assert "a context of 65,536 tokens does not hold a prompt of 57,708 (assumed) and a response of 32,768" in shown
    short = planned(tmp_path, model, sources=[str(source)], **{**thinking, "engine.options.kv_cache_dtype": "fp8"})
    assert "8 heads x 128 x 1 bytes = 74 kB" in " ".join(said(short, estimate_build(short, images=9)).split())
