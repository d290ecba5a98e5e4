"""Original InternVL checkpoints with random weights: the layout of the original modelling code, made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

HIDDEN, QUERY, KV, CHANNELS, MLP, LAYERS = 128, 4, 2, 32, 96, 2
WIDTH, VISION_LAYERS, SIDE, PATCH = 64, 1, 112, 14
PROBES = ["Think step by step: 3 + 4 = 7. (A) left", " two  spaces Final answer: 12\n", "请一步一步推理"] * 30


def random_tensors(
    kind: str, vocabulary: int, seed: int = 0, tied: bool = False, big: bool = False
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def weight(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) * (shape[-1] ** -0.5 if len(shape) > 1 else 0.1)

    def norm(*shape: int) -> Tensor:
        return 1 + 0.2 * torch.randn(shape, generator=generator)

    out = {
        "vision_model.embeddings.class_embedding": weight(1, 1, WIDTH),
        "vision_model.embeddings.position_embedding": weight(1, (SIDE // PATCH) ** 2 + 1, WIDTH),
        "vision_model.embeddings.patch_embedding.weight": torch.randn(WIDTH, 3, PATCH, PATCH, generator=generator) / 24,
        "vision_model.embeddings.patch_embedding.bias": weight(WIDTH),
        "mlp1.0.weight": norm(4 * WIDTH), "mlp1.0.bias": weight(4 * WIDTH),
        "mlp1.1.weight": weight(HIDDEN, 4 * WIDTH), "mlp1.1.bias": weight(HIDDEN),
        "mlp1.3.weight": weight(HIDDEN, HIDDEN), "mlp1.3.bias": weight(HIDDEN),
        "language_model.model.norm.weight": norm(HIDDEN),
    }  # fmt: skip
    for i in range(VISION_LAYERS):
        layer = f"vision_model.encoder.layers.{i}."
        out |= {
            f"{layer}attn.qkv.weight": weight(3 * WIDTH, WIDTH), f"{layer}attn.qkv.bias": weight(3 * WIDTH),
            f"{layer}attn.proj.weight": weight(WIDTH, WIDTH), f"{layer}attn.proj.bias": weight(WIDTH),
            f"{layer}mlp.fc1.weight": weight(128, WIDTH), f"{layer}mlp.fc1.bias": weight(128),
            f"{layer}mlp.fc2.weight": weight(WIDTH, 128), f"{layer}mlp.fc2.bias": weight(WIDTH),
            f"{layer}norm1.weight": norm(WIDTH), f"{layer}norm1.bias": weight(WIDTH),
            f"{layer}norm2.weight": norm(WIDTH), f"{layer}norm2.bias": weight(WIDTH),
            f"{layer}ls1": norm(WIDTH), f"{layer}ls2": norm(WIDTH),
        }  # fmt: skip
        if big:
            for name in ("attn.qkv.bias", "norm1.bias", "norm2.bias"):
                del out[f"{layer}{name}"]
            out |= {f"{layer}attn.{name}_norm.weight": norm(WIDTH) for name in ("q", "k")}
    make = {"internlm2": _internlm2, "llama": _llama}.get(kind, _qwen2)
    names = ("tok_embeddings", "output") if kind == "internlm2" else ("embed_tokens", "lm_head")
    out[f"language_model.model.{names[0]}.weight"] = weight(vocabulary, HIDDEN) * 5
    if not tied:
        out[f"language_model.{names[1]}.weight"] = weight(vocabulary, HIDDEN)
    for i in range(LAYERS):
        out |= make(f"language_model.model.layers.{i}.", weight, norm)
    return {name: value.contiguous() for name, value in out.items()}


def _internlm2(layer: str, weight: Any, norm: Any) -> dict[str, Tensor]:
    return {
        f"{layer}attention.wqkv.weight": weight((QUERY + 2 * KV) * CHANNELS, HIDDEN),
        f"{layer}attention.wo.weight": weight(HIDDEN, QUERY * CHANNELS),
        f"{layer}feed_forward.w1.weight": weight(MLP, HIDDEN),
        f"{layer}feed_forward.w3.weight": weight(MLP, HIDDEN),
        f"{layer}feed_forward.w2.weight": weight(HIDDEN, MLP),
        f"{layer}attention_norm.weight": norm(HIDDEN),
        f"{layer}ffn_norm.weight": norm(HIDDEN),
    }


def _llama(layer: str, weight: Any, norm: Any) -> dict[str, Tensor]:
    return {name: value for name, value in _qwen2(layer, weight, norm).items() if not name.endswith(".bias")}


def _qwen2(layer: str, weight: Any, norm: Any) -> dict[str, Tensor]:
    return {
        f"{layer}self_attn.q_proj.weight": weight(QUERY * CHANNELS, HIDDEN),
        f"{layer}self_attn.q_proj.bias": weight(QUERY * CHANNELS),
        f"{layer}self_attn.k_proj.weight": weight(KV * CHANNELS, HIDDEN),
        f"{layer}self_attn.k_proj.bias": weight(KV * CHANNELS),
        f"{layer}self_attn.v_proj.weight": weight(KV * CHANNELS, HIDDEN),
        f"{layer}self_attn.v_proj.bias": weight(KV * CHANNELS),
        f"{layer}self_attn.o_proj.weight": weight(HIDDEN, QUERY * CHANNELS),
        f"{layer}mlp.gate_proj.weight": weight(MLP, HIDDEN),
        f"{layer}mlp.up_proj.weight": weight(MLP, HIDDEN),
        f"{layer}mlp.down_proj.weight": weight(HIDDEN, MLP),
        f"{layer}input_layernorm.weight": norm(HIDDEN),
        f"{layer}post_attention_layernorm.weight": norm(HIDDEN),
    }


def original(
    directory: Path, kind: str = "qwen2", *, tied: bool = False, said_tied: bool = False, big: bool = False
) -> Path:
    """A whole original checkpoint; `tied`: it has no output layer, `said_tied`: its config says so.

    `big`: its vision tower is built as InternViT-6B (norms of queries and keys, RMSNorm, no bias there), and its
    config leaves these fields out, as their values are the authors' defaults.
    """
    names = {"internlm2": "InternLM2ForCausalLM", "llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}
    from safetensors.torch import save_file

    from tests.engines import models

    models.original(directory)
    config = json.loads((directory / "config.json").read_text())
    text = {
        "architectures": [names[kind]], "model_type": kind,
        "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": QUERY, "num_key_value_heads": KV,
        "intermediate_size": MLP, "vocab_size": config["llm_config"]["vocab_size"], "max_position_embeddings": 1024,
        "tie_word_embeddings": said_tied, "rms_norm_eps": 1e-5, "rope_theta": 1_000_000.0, "hidden_act": "silu",
        "torch_dtype": "float32",
    }  # fmt: skip
    if kind == "internlm2":
        text |= {"bias": False, "rope_scaling": {"type": "dynamic", "factor": 2.0}}
        remote = (directory / "configuration_internvl_chat.py").read_text()
        (directory / "configuration_internvl_chat.py").write_text(
            remote.replace("Qwen2Config(**(llm_config or {}))", "LlamaConfig(**(llm_config or {}))").replace(
                "import PretrainedConfig, Qwen2Config", "import LlamaConfig, PretrainedConfig"
            )
        )
    config["llm_config"] = text
    for name in ("qkv_bias", "qk_normalization", "norm_type") if big else ():
        config["vision_config"].pop(name, None)
    (directory / "config.json").write_text(json.dumps(config))
    tensors = random_tensors(kind, text["vocab_size"], tied=tied, big=big)
    half = len(tensors) // 2
    for number, names in enumerate((list(tensors)[:half], list(tensors)[half:]), start=1):  # type: ignore[assignment]
        save_file({n: tensors[n] for n in names}, directory / f"model-{number:05d}-of-00002.safetensors")
    index = {"weight_map": {n: f"model-{1 + (i >= half):05d}-of-00002.safetensors" for i, n in enumerate(tensors)}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    return directory
