"""The plan of an engine's memory, against sizes that are known."""

from __future__ import annotations

import pytest

from mmpr_pipeline.core.errors import EngineError
from mmpr_pipeline.engines.vllm.memory import fit_engine, sizes_of

LLAMA_70B = {
    "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8,
    "intermediate_size": 28672, "vocab_size": 128265, "max_position_embeddings": 8192,
}  # fmt: skip
INTERNVIT_6B = {"hidden_size": 3200, "num_hidden_layers": 45, "intermediate_size": 12800}
MODEL_76B = {"llm_config": LLAMA_70B, "vision_config": INTERNVIT_6B}
INTERNLM_7B = {
    "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "intermediate_size": 14336, "vocab_size": 92553,
}  # fmt: skip
INTERNVIT_300M = {"hidden_size": 1024, "num_hidden_layers": 24, "intermediate_size": 4096}
MODEL_8B = {"llm_config": INTERNLM_7B, "vision_config": INTERNVIT_300M}


def test_parameters_and_cache_are_those_of_the_published_models() -> None:
    small, large = sizes_of(MODEL_8B), sizes_of(MODEL_76B)
    assert small.parameters == pytest.approx(8.08e9, rel=0.02)
    assert small.kv_bytes == 131_072
    assert large.parameters == pytest.approx(76.2e9, rel=0.02)
    assert large.kv_bytes == 327_680


def test_the_review_of_the_estimates_agrees() -> None:
    """8B on one H100: 420,000 tokens; 76B on four: 330,000, and 20 rollouts of 16,000 tokens."""
    assert fit_engine(sizes_of(MODEL_8B), 80e9, 1, 0.9, 325, 1900).kv_tokens == pytest.approx(405_000, rel=0.05)
    wide = fit_engine(sizes_of(MODEL_76B), 80e9, 4, 0.9, 16_000, 1900)
    assert 300_000 < wide.kv_tokens < 400_000
    assert 18 <= wide.rollouts <= 30
    assert fit_engine(sizes_of(MODEL_76B), 80e9, 8, 0.9, 16_000, 1900).rollouts > 3 * wide.rollouts


def test_nine_images_of_24_tiles_and_32k_of_thinking_by_hand() -> None:
    """76B on eight GPUs: 8 x 69 GB - 152 GB at 327,680 bytes a token; nine images of twelve tiles are 27.6k tokens."""
    sizes, thrifty = sizes_of(MODEL_76B), sizes_of(MODEL_76B, kv_element=1)
    assert (sizes.tile_tokens, sizes.prompt(1, 6)) == (256, 1900)
    assert sizes.prompt(9, 12) - 9 * 256 == pytest.approx(27_600, rel=0.01)  # the review's has no thumbnails
    assert sizes.prompt(9, 24) == 9 * 25 * 256 + 108 == 57_708
    plain = fit_engine(sizes, 80e9, 8, 0.9, 16_384, sizes.prompt(9, 24))
    assert plain.kv_tokens == pytest.approx((8 * 69e9 - 152.4e9) / 327_680, rel=0.01)
    assert plain.rollouts == int(1.2 * plain.kv_tokens / (16_384 + 57_708 / 4)) == 47
    # The review holds eight GPUs to 68 rollouts of 16,000 tokens with short prompts, and asks for fp8 and 64 sequences.
    assert 60 <= fit_engine(sizes, 80e9, 8, 0.9, 16_000, 1900).rollouts / 1.2 <= 80
    assert fit_engine(thrifty, 80e9, 8, 0.9, 16_384, sizes.prompt(9, 24)).rollouts == pytest.approx(95, abs=1)


def test_a_model_that_does_not_fit_holds_nothing() -> None:
    assert fit_engine(sizes_of(MODEL_76B), 80e9, 1, 0.9, 325, 1900).kv_tokens == 0


def test_a_config_that_says_too_little_is_an_error_with_its_field() -> None:
    with pytest.raises(EngineError, match="intermediate_size"):
        sizes_of({"hidden_size": 1, "num_hidden_layers": 1, "num_attention_heads": 1})
