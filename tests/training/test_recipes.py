"""Published recipes: defaults under a name, and a warning where a rate does not belong to a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.training.recipes import RECIPES, recipe_of, warning
from mmpr_pipeline.training.settings import TrainConfig, load_train_config

PLACES = {"data": "pairs", "run_dir": "run"}


@pytest.mark.parametrize(
    ("name", "lr", "batch", "beta"),
    [
        ("internvl2", 5e-6, 256, 0.1),
        ("internvl2.5", 1e-6, 256, 0.1),
        ("internvl3", 2e-7, 256, 0.1),
        ("internvl3.5", 2e-7, 256, 0.1),
        ("nemotron", 8e-7, 256, 0.05),
    ],
)
def test_a_recipe_sets_what_its_source_says(name: str, lr: float, batch: int, beta: float) -> None:
    config = load_train_config(None, {**PLACES, "recipe": name})
    assert (config.lr, config.batch, config.beta) == (lr, batch, beta)
    assert RECIPES[name].source


def test_nemotrons_has_no_sft_term_a_rate_that_ends_above_zero_and_a_moving_delta() -> None:
    config = load_train_config(None, {**PLACES, "recipe": "nemotron"})
    assert config.weights() == {"dpo": 0.8, "bco": 0.2}
    assert (config.lr_end, config.delta_decay) == (2e-9, 0.99)


def test_the_default_recipe_is_the_papers() -> None:
    plain, named = TrainConfig.model_validate(PLACES), TrainConfig.model_validate({**PLACES, "recipe": "internvl2"})
    assert plain.model_dump(exclude={"recipe"}) == named.model_dump(exclude={"recipe"})


def test_settings_and_flags_win_over_a_recipe(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("recipe: nemotron\nbatch: 64\nbeta: 0.2\n")
    config = load_train_config(file, {**PLACES, "beta": 0.3})
    assert (config.lr, config.batch, config.beta) == (8e-7, 64, 0.3)
    assert load_train_config(file, {**PLACES, "loss": "dpo"}).weights() == {"dpo": 1.0}


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(ConfigError, match="internvl9"):
        load_train_config(None, {**PLACES, "recipe": "internvl9"})


@pytest.mark.parametrize(
    ("name", "text", "recipe"),
    [
        ("OpenGVLab/InternVL2-8B", "llama", "internvl2"),
        ("/models/InternVL2_5-78B-hf", "qwen2", "internvl2.5"),
        ("OpenGVLab/InternVL3-8B-hf", "qwen2", "internvl3"),
        ("OpenGVLab/InternVL3_5-30B-A3B-HF", "qwen3_moe", "internvl3.5"),
        ("/converted", "qwen3", "internvl3.5"),
        ("/converted", "qwen2", None),
        ("nvidia/Nemotron-3-Nano-Omni-30B-A3B", None, "nemotron"),
    ],
)
def test_a_models_generation_is_told_by_its_name_or_its_language_model(
    name: str, text: str, recipe: str | None
) -> None:
    assert recipe_of(name, text) == recipe


@pytest.mark.parametrize(
    ("lr", "name", "kinds", "said"),
    [
        (5e-6, "OpenGVLab/InternVL3-8B-hf", ("internvl", "qwen2"), "--recipe internvl3,"),
        (5e-6, "OpenGVLab/InternVL3_5-8B-HF", ("internvl", "qwen3"), "--recipe internvl3.5"),
        (5e-6, "OpenGVLab/InternVL2_5-8B", ("internvl", "llama"), "--recipe internvl2.5"),
        (5e-6, "Qwen/Qwen3-VL-8B-Instruct", ("qwen3_vl", "qwen3_vl_text"), "--lr 1e-6"),
        (5e-6, "OpenGVLab/InternVL2-8B", ("internvl", "llama"), None),
        (2e-7, "OpenGVLab/InternVL3-8B-hf", ("internvl", "qwen2"), None),
        (1e-6, "Qwen/Qwen3-VL-8B-Instruct", ("qwen3_vl", "qwen3_vl_text"), None),
        (3e-4, "nano", ("internvl", "qwen2"), None),
    ],
)
def test_a_rate_that_belongs_to_an_older_model_is_warned_of(
    lr: float, name: str, kinds: tuple[str, str], said: str | None
) -> None:
    found = warning(lr, name, *kinds)
    assert (found is None) if said is None else (said in (found or ""))
