"""A tiny model folder and a small dataset to train it on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.core.records import QuestionOutcome
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.summary import summarise
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.training.settings import LaunchSettings, TrainConfig
from tests.dataset.conftest import IDENTITY, make_image, make_outcome, write_shard

HERE = LaunchSettings(device="cpu")
TEXTS = ["The bars are read one by one. Reading 1 of 3. Final answer: 0\nThink step by step. How tall is bar?"] * 20


def model_folder(directory: Path, seed: int = 0, layers: int = 2, mlp: int = 64) -> Path:
    """A native InternVL of 0.2M random weights with its processor: one layer each, tiles of 112 px, 16 tokens each."""
    from transformers import InternVLConfig, InternVLForConditionalGeneration, Qwen2Config

    from mmpr_pipeline.nano.model import SPECIALS, make_tokenizer, nano_processor
    from tests.training.tiny import scale_up

    tokenizer = make_tokenizer(TEXTS)
    text = Qwen2Config(
        hidden_size=64, intermediate_size=mlp, num_hidden_layers=layers, num_attention_heads=2, num_key_value_heads=1,
        vocab_size=len(tokenizer), max_position_embeddings=1024, tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    vision = {
        "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": [112, 112], "patch_size": [14, 14], "layer_scale_init_value": 1.0, "attention_bias": True,
    }  # fmt: skip
    config = InternVLConfig(
        vision_config=vision,
        text_config=text.to_dict(),
        image_token_id=tokenizer.convert_tokens_to_ids(SPECIALS["context_image_token"]),
        image_seq_length=16,
        tie_word_embeddings=False,
    )
    model = InternVLForConditionalGeneration(config)
    scale_up(model, seed)
    model.save_pretrained(directory)
    nano_processor(tokenizer).save_pretrained(directory)
    return directory


def large_folder(directory: Path) -> None:
    """Config and weights of a native InternVL of 0.13B parameters, in bfloat16, in two files; nothing else."""
    import torch
    from transformers import InternVLConfig, InternVLForConditionalGeneration, LlamaConfig

    text = LlamaConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=7, num_attention_heads=8, num_key_value_heads=8,
        vocab_size=4096, tie_word_embeddings=False,
    )  # fmt: skip
    vision = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = InternVLConfig(vision_config=vision, text_config=text.to_dict(), tie_word_embeddings=False)
    InternVLForConditionalGeneration(config).to(torch.bfloat16).save_pretrained(directory, max_shard_size="150MB")


def dataset(directory: Path | str, outcomes: list[QuestionOutcome] | None = None, shards: int = 3) -> Any:
    """A finished dataset; by default of 20 questions, 12 of them paired (20 pairs of both strategies)."""
    made = outcomes if outcomes is not None else [make_outcome(n, "bars" if n % 3 else "grids") for n in range(20)]
    store = open_store(directory)
    store.write(layout.CONFIG, json_bytes({"digest": IDENTITY, "identity": {}}))
    for shard in range(shards):
        write_shard(store, shard, shards, made[shard::shards])
    store.write(layout.SUMMARY, json_bytes(summarise(store, shards)))
    return directory


def outcomes_of_images() -> list[QuestionOutcome]:
    """Twenty questions with one image, none or two."""
    made = []
    for number in range(20):
        outcome = make_outcome(number)
        count = (1, 0, 2)[number % 3]
        if outcome.row.status == "rejected" or count == 1:
            made.append(outcome)
            continue
        images = (outcome.images[0], make_image(number + 50))[:count]
        prompt = outcome.row.prompt.replace("<image>\n", "<image>\n" * count)
        changed = {"images": tuple(image.sha256 for image in images), "prompt": prompt}
        pairs = tuple(pair.model_copy(update=changed) for pair in outcome.pairs)
        made.append(replace(outcome, row=outcome.row.model_copy(update=changed), images=images, pairs=pairs))
    return made


def settings(model: Path, data: Path | str, run: Path, **more: Any) -> TrainConfig:
    """Settings of a short run with a rate that moves the weights."""
    base: dict[str, Any] = {
        "data": str(data), "model": str(model), "run_dir": str(run), "batch": 5, "lr": 1e-2, "warm_up": 0.25,
        "token_budget": 512, "checkpoint_every": 1, "window": 2, "launch": HERE,
    }  # fmt: skip
    return TrainConfig.model_validate({**base, **more})
