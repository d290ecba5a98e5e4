from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.models.convert.processor import _from_sentencepiece
from mmpr_pipeline.models.convert.run import convert
from mmpr_pipeline.models.convert.weights import Heads, split_wqkv
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.training.data.encode import PairEncoder, end_of_turn
from mmpr_pipeline.training.data.shards import Shards
from mmpr_pipeline.training.policy.families.family import family_of
from mmpr_pipeline.training.policy.load import load_model, load_processor
from tests.dataset.conftest import make_outcome
from tests.packages import need
from tests.training import made, originals


@pytest.mark.parametrize("kind", ["qwen2", "internlm2"])
def test_every_weight_arrives_and_the_model_loads(tmp_path: Path, kind: str) -> None:
    source = originals.original(tmp_path / "original", kind)
    done = convert(source, tmp_path / "native")
    model = load_model(tmp_path / "native")
    assert done.tied is False
    assert done.tensors == len(dict(model.named_parameters()))
    tensors = originals.random_tensors(kind, model.config.text_config.vocab_size)
    assert sum(p.numel() for p in model.parameters()) == sum(t.numel() for t in tensors.values())
    processor = load_processor(tmp_path / "native")
    assert processor.tokenizer.decode([end_of_turn(processor)]) == "<|im_end|>"
    assert not list((tmp_path / "native").glob("*.py"))


def test_internlm2_attention_is_what_its_own_code_computes(tmp_path: Path) -> None:
    """The original reads its joint weight as (kv heads, queries + key + value, channels); ours must give the same."""
    source = originals.original(tmp_path / "original", "internlm2")
    convert(source, tmp_path / "native")
    model = load_model(tmp_path / "native").eval()
    vocabulary = model.config.text_config.vocab_size
    joint = originals.random_tensors("internlm2", vocabulary)["language_model.model.layers.0.attention.wqkv.weight"]
    hidden = torch.randn(5, originals.HIDDEN)
    states = (hidden @ joint.T).view(5, originals.KV, -1, originals.CHANNELS)
    attention = model.model.language_model.layers[0].self_attn
    query = attention.q_proj(hidden).view(5, originals.KV, -1, originals.CHANNELS)
    torch.testing.assert_close(query, states[:, :, :-2])
    torch.testing.assert_close(attention.k_proj(hidden).view(5, originals.KV, -1), states[:, :, -2])
    torch.testing.assert_close(attention.v_proj(hidden).view(5, originals.KV, -1), states[:, :, -1])


def test_splitting_keeps_biases_apart_too() -> None:
    heads = Heads(query=4, kv=2, channels=3)
    query, key, value = split_wqkv(torch.arange(24.0), heads)
    assert query.tolist() == [0, 1, 2, 3, 4, 5, 12, 13, 14, 15, 16, 17]
    assert key.tolist() == [6, 7, 8, 18, 19, 20]
    assert value.tolist() == [9, 10, 11, 21, 22, 23]


@pytest.mark.parametrize(("tied", "said"), [(False, True), (True, False), (True, True)])
def test_tying_is_decided_by_the_weights_not_by_what_the_config_says(tmp_path: Path, tied: bool, said: bool) -> None:
    source = originals.original(tmp_path / "original", tied=tied, said_tied=said)
    assert convert(source, tmp_path / "native").tied is tied
    model = load_model(tmp_path / "native")
    same = model.lm_head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    assert same is tied
    if not tied:
        wanted = originals.random_tensors("qwen2", model.config.text_config.vocab_size)["language_model.lm_head.weight"]
        assert torch.equal(model.lm_head.weight, wanted)


def test_what_cannot_be_converted_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    source = originals.original(tmp_path / "original")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "llm_config": {"model_type": "phi3"}}))
    with pytest.raises(ConfigError, match="phi3"):
        convert(source, tmp_path / "native")
    text = {**config["llm_config"], "intermediate_size": 100}
    (source / "config.json").write_text(json.dumps({**config, "llm_config": text}))
    with pytest.raises(ConfigError, match="shape"):
        convert(source, tmp_path / "native")
    text = {**config["llm_config"], "num_hidden_layers": 3}
    (source / "config.json").write_text(json.dumps({**config, "llm_config": text}))
    with pytest.raises(ConfigError, match=r"lacks 12 weights"):
        convert(source, tmp_path / "native")
    assert [p.name for p in tmp_path.iterdir()] == ["original"]
    (source / "config.json").write_text(json.dumps({**config, "model_type": "internvl"}))
    with pytest.raises(ConfigError, match="native format already"):
        convert(source, tmp_path / "native")


@pytest.mark.parametrize("prefix", [False, True])
def test_a_sentencepiece_tokenizer_splits_as_before_or_is_refused(tmp_path: Path, prefix: bool) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    (tmp_path / "text").write_text("\n".join(originals.PROBES))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"), model_prefix=str(tmp_path / "tokenizer"), vocab_size=360, model_type="bpe",
        byte_fallback=True, add_dummy_prefix=prefix, remove_extra_whitespaces=False, normalization_rule_name="identity",
        minloglevel=2,
    )  # fmt: skip
    if prefix:  # not InternLM2's way; the fast form would treat texts after special tokens otherwise
        with pytest.raises(ConfigError, match="exactly"):
            _from_sentencepiece(tmp_path)
        return
    tokenizer = _from_sentencepiece(tmp_path)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    for text in originals.PROBES[:3]:
        assert tokenizer.encode(text, add_special_tokens=False) == pieces.encode(text)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.campaign
def test_vllm_serves_both_formats_to_the_same_log_probs(tmp_path: Path) -> None:
    need("vllm")
    folders = [tmp_path / kind / form for kind in ("internlm2", "qwen2") for form in ("original", "native")]
    for source, native in zip(folders[::2], folders[1::2], strict=True):
        source.parent.mkdir()
        originals.original(source, source.parent.name)
        convert(source, native)
    found = served(*folders)
    for native, before, after in zip(folders[1::2], found[::2], found[1::2], strict=True):
        assert after["tokens"] == before["tokens"]
        assert len(before["log_probs"]) > 20
        assert after["log_probs"] == pytest.approx(before["log_probs"], abs=2e-4)
        assert len({round(value, 2) for value in before["log_probs"]}) > 10
        assert encoded_for_training(native, native.parent / "data") == tuple(after["tokens"])
    assert found[0]["log_probs"] != pytest.approx(found[2]["log_probs"], abs=2e-4)


def encoded_for_training(model: Path, data: Path) -> tuple[int, ...]:
    """The same question's prompt as training sees it."""
    loaded = load_model(model)
    shards = Shards(open_store(made.dataset(data, [make_outcome(6)], shards=1)))
    group = PairEncoder(load_processor(model), loaded, family_of(loaded), 12).encode(shards[0], 0, 0, 1).group
    assert group is not None
    return group.prompt


def served(*folders: Path) -> list[dict[str, list]]:
    """Of each: token ids of a prompt with an image and their log-probs, by vLLM in a process of its own."""
    command = [sys.executable, "-m", "tests.training.serve_worker", *map(str, folders)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"tokens"')]
