from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmpr_pipeline.core.errors import EngineError
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.engines.vllm.load import engine_arguments
from mmpr_pipeline.models.resolve import ModelRef, directory_digest, resolve_model


def checkpoint(directory: Path, weights: bytes = b"w" * 100, **config: object) -> Path:
    directory.mkdir()
    base = {"architectures": ["InternVLForConditionalGeneration"], "dtype": "float32"}
    (directory / "config.json").write_text(json.dumps({**base, **config}))
    (directory / "model.safetensors").write_bytes(weights)
    return directory


def resolved(directory: Path, **config: object) -> ModelRef:
    return resolve_model(str(checkpoint(directory, **config)))


def test_a_directory_is_labelled_by_name_and_content(tmp_path: Path) -> None:
    model = resolve_model(str(checkpoint(tmp_path / "mine")))
    assert model.label == f"mine@{directory_digest(tmp_path / 'mine')}"
    assert (model.path, model.revision) == (str(tmp_path / "mine"), None)


def test_the_label_does_not_depend_on_where_the_model_is(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    labels = {resolve_model(str(checkpoint(tmp_path / d / "mine"))).label for d in "ab"}
    assert len(labels) == 1


@pytest.mark.parametrize("weights", [b"v" * 100, b"w" * 101])
def test_other_weights_have_another_label(weights: bytes, tmp_path: Path) -> None:
    assert directory_digest(checkpoint(tmp_path / "a")) != directory_digest(checkpoint(tmp_path / "b", weights))


def test_files_that_are_no_part_of_the_model_do_not_count(tmp_path: Path) -> None:
    before = directory_digest(checkpoint(tmp_path / "a"))
    (tmp_path / "a" / "README.md").write_text("mine")
    (tmp_path / "a" / ".cache.json").write_text("{}")
    assert directory_digest(tmp_path / "a") == before


@pytest.mark.parametrize("model", ["/nowhere/model", "./nowhere", "a/b/c"])
def test_a_missing_directory_is_named(model: str) -> None:
    with pytest.raises(EngineError, match=model.replace(".", r"\.")):
        resolve_model(model)


def test_a_directory_without_config_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no config\.json"):
        resolve_model(str(tmp_path))


def test_a_hub_model_that_cannot_be_reached_is_an_error_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EngineError, match="org/absent"):
        resolve_model("org/absent")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"text_config": {"max_position_embeddings": 4096}}, 4096),
        ({"llm_config": {"max_position_embeddings": 32768}}, 32768),
        ({"max_position_embeddings": 2048}, 2048),
        ({}, None),
    ],
)
def test_context_is_read_from_any_format(config: dict[str, object], expected: int | None, tmp_path: Path) -> None:
    assert resolved(tmp_path / "m", **config).context == expected


def test_a_cpu_step_has_room_for_the_longest_prompt(tmp_path: Path) -> None:
    model = resolved(tmp_path / "m", text_config={"max_position_embeddings": 20000})
    arguments = engine_arguments(EngineSettings(kv_cache_gib=0.5), model, cpu=True)
    assert arguments["enable_chunked_prefill"] is False
    assert arguments["max_num_batched_tokens"] == 20000
    assert arguments["kv_cache_memory_bytes"] == 2**29
    assert arguments["dtype"] == "float32"


def test_gpu_engines_take_their_share_and_their_options(tmp_path: Path) -> None:
    settings = EngineSettings(tensor_parallel=2, gpu_memory=0.8, options={"swap_space": 0, "max_num_seqs": 7})
    arguments = engine_arguments(settings, resolved(tmp_path / "m"), cpu=False)
    assert arguments["gpu_memory_utilization"] == 0.8
    assert arguments["tensor_parallel_size"] == 2
    assert arguments["distributed_executor_backend"] == "mp"
    assert (arguments["swap_space"], arguments["max_num_seqs"]) == (0, 7)
    assert "enable_chunked_prefill" not in arguments


def test_the_engine_plans_for_the_most_tiles_of_any_question(tmp_path: Path) -> None:
    original = resolved(tmp_path / "o", architectures=["InternVLChatModel"])
    assert engine_arguments(EngineSettings(), original, cpu=False)["mm_processor_kwargs"] == {"max_dynamic_patch": 12}
