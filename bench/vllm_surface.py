"""What mmpr_pipeline uses of vLLM's insides, looked up in a version of vLLM by its syntax trees: nothing is imported.

    python bench/vllm_surface.py vllm-0.33.0-...whl     # a wheel of `pip download --no-deps vllm==0.33.0`
    python bench/vllm_surface.py                        # the vLLM that is installed

Prints each name that is gone or no longer takes an argument that we pass, and ends with 1 where there is one. Found
names prove that calls reach what they reached; what vLLM does there only a run proves.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

Read = Callable[[str], str]
"""The text of a file by its path within the package; raises KeyError or OSError where there is none."""

MOVED = {"renderers/chat_utils": ("renderers/chat_utils/chat_message", "entrypoints/chat_utils")}
"""Where else a module that we do not import may be: a folder since 0.33, at another place before 0.32."""

DISPENSABLE = {"max_num_active_reqs", "use_v2_model_runner", "repetition"}
"""What the engine does without: its own limit on rollouts, a word in the provenance, a reason to end."""


@dataclass(frozen=True)
class Used:
    """A class or function of a module, and what is used of it."""

    module: str
    name: str
    members: tuple[str, ...] = ()
    """Attributes, properties and methods."""
    takes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the arguments passed, by method; `""`: to the function or class itself."""


ENGINE_ARGUMENTS = (
    "model", "revision", "dtype", "max_model_len", "trust_remote_code", "max_num_seqs", "tensor_parallel_size",
    "pipeline_parallel_size", "seed", "disable_log_stats", "scheduling_policy", "generation_config",
    "gpu_memory_utilization", "max_num_batched_tokens", "distributed_executor_backend", "mm_processor_kwargs",
    "kv_cache_memory_bytes", "kv_cache_dtype", "block_size", "enable_chunked_prefill", "enforce_eager",
    "worker_cls",
)  # fmt: skip
SAMPLING = ("n", "temperature", "top_p", "max_tokens", "seed", "output_kind", "detokenize", "logprobs")

USED = (
    Used("engine/arg_utils", "EngineArgs", ENGINE_ARGUMENTS),
    Used("platforms/interface", "Platform", ("is_cpu", "get_device_name")),
    Used(
        "v1/engine/llm_engine", "LLMEngine",
        ("step", "get_tokenizer", "renderer", "model_config", "vllm_config", "engine_core"),
        {"from_engine_args": ("engine_args",), "add_request": ("request_id", "prompt", "params", "priority")},
    ),
    Used("v1/engine/core_client", "InprocClient", ("engine_core", "shutdown")),
    Used("v1/engine/core", "EngineCore", ("scheduler",)),
    Used("v1/core/sched/scheduler", "Scheduler",
         ("running", "kv_cache_manager", "max_num_active_reqs", "_preempt_request")),
    Used("v1/core/kv_cache_manager", "KVCacheManager", ("usage", "prefix_cache_stats", "log_stats")),
    Used("v1/metrics/stats", "PrefixCacheStats", ("queries", "hits")),
    Used("v1/request", "Request", ("num_output_tokens",)),
    Used("v1/worker/cpu_worker", "CPUWorker"),
    Used("renderers/params", "ChatParams", ("chat_template_kwargs",)),
    Used("renderers/base", "BaseRenderer",
         takes={"render_chat": ("conversations", "chat_params", "prompt_extras")}),
    Used("renderers/hf", "resolve_chat_template_content_format",
         takes={"": ("chat_template", "tools", "given_format", "tokenizer", "model_config")}),
    Used("model_executor/model_loader/utils", "get_model_cls", takes={"": ("model_config",)}),
    Used("model_executor/models/internvl", "InternVLChatModel", ("get_placeholder_str",)),
    Used("exceptions", "VLLMValidationError"),
    Used("sampling_params", "SamplingParams", SAMPLING),
    Used("sampling_params", "RequestOutputKind", ("FINAL_ONLY",)),
    Used("outputs", "RequestOutput", ("request_id", "outputs", "finished")),
    Used("outputs", "CompletionOutput", ("index", "token_ids", "logprobs", "finish_reason")),
    Used("config/vllm", "VllmConfig", ("model_config", "cache_config", "scheduler_config", "parallel_config",
                                       "use_v2_model_runner")),
    Used("config/model", "ModelConfig", ("model", "hf_config", "max_model_len", "is_multimodal_model",
                                         "multimodal_config")),
    Used("config/cache", "CacheConfig", ("kv_cache_size_tokens",)),
    Used("config/scheduler", "SchedulerConfig", ("max_num_seqs",)),
    Used("config/parallel", "ParallelConfig", ("tensor_parallel_size",)),
    Used("config/multimodal", "MultiModalConfig", ("mm_processor_kwargs",)),
)  # fmt: skip

WORDS = {
    "__init__": ("LLM", "SamplingParams"),
    "platforms/__init__": ("current_platform",),
    "model_executor/model_loader/__init__": ("get_model_cls",),
    "entrypoints/openai/api_server": ("__main__",),
    "config/scheduler": ("priority",),
    "v1/engine/__init__": ("stop", "length", "abort", "error", "repetition"),
    "renderers/chat_utils": ("image_pil", "uuid"),
    "renderers/params": ("This model's maximum context length is ",),
    "envs": (
        "VLLM_ENABLE_V1_MULTIPROCESSING", "VLLM_USE_FLASHINFER_SAMPLER", "VLLM_LOGGING_LEVEL", "VLLM_NO_USAGE_STATS",
        "VLLM_CPU_OMP_THREADS_BIND", "VLLM_BATCH_INVARIANT", "VLLM_CPU_KVCACHE_SPACE",
    ),
}  # fmt: skip
"""Strings and names that a module must hold somewhere: values, keys, names of the environment."""


def missing(read: Read) -> list[str]:
    """What a version of vLLM lacks of `USED` and `WORDS`, a line each."""

    @cache
    def tree(module: str) -> ast.Module | None:
        try:
            return ast.parse(read(f"{module}.py"))
        except (KeyError, OSError):
            return None

    lines = []
    for used in USED:
        found = tree(used.module) and next(_definitions(tree, used.module, used.name), None)
        if not found:
            lines.append(f"{used.module}: {used.name} is gone")
            continue
        members = _members(tree, used.module, used.name)
        lines += [f"{used.module}: {used.name}.{name} is gone" for name in used.members if name not in members]
        for method, names in used.takes.items():
            function = members.get(method) if method else found
            if not isinstance(function, ast.FunctionDef):
                lines.append(f"{used.module}: {used.name}.{method} is gone")
                continue
            given = function.args
            taken = {each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)}
            lines += [
                f"{used.module}: {method or used.name} no longer takes {name}"
                for name in names
                if name not in taken and not given.kwarg
            ]
    for module, words in WORDS.items():
        read_from = next(filter(None, map(tree, (module, *MOVED.get(module, ())))), ast.Module([], []))
        there = {text for node in ast.walk(read_from) for text in _texts(node)}
        lines += [f"{module}: {word!r} is gone" for word in words if not any(word in text for text in there)]
    return lines


Tree = Callable[[str], ast.Module | None]


def _definitions(tree: Tree, module: str, name: str) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    for node in ast.walk(tree(module) or ast.Module([], [])):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            yield node


def _members(tree: Tree, module: str, name: str) -> dict[str, ast.AST]:
    """Names of a class and its bases in the same module: methods, class attributes, and what `self` is given."""
    found: dict[str, ast.AST] = {}
    for owner in _definitions(tree, module, name):
        if not isinstance(owner, ast.ClassDef):
            continue
        for base in owner.bases:
            found |= _members(tree, module, base.id) if isinstance(base, ast.Name) else {}
        for node in ast.walk(owner):
            if isinstance(node, ast.FunctionDef):
                found[node.name] = node
            elif isinstance(node, ast.AnnAssign | ast.Assign):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    found |= {each.id: node for each in ast.walk(target) if isinstance(each, ast.Name)}
                    found |= {each.attr: node for each in ast.walk(target) if isinstance(each, ast.Attribute)}
    return found


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.alias):
        yield node.asname or node.name


def reader(place: Path) -> Read:
    """Files of a wheel, or of a folder that is the package."""
    if place.suffix == ".whl":
        wheel = zipfile.ZipFile(place)
        return lambda name: wheel.read(f"vllm/{name}").decode()
    return lambda name: (place / name).read_text("utf-8")


def installed() -> Path | None:
    """The folder of the vLLM that is installed; it is not imported."""
    spec = importlib.util.find_spec("vllm")
    return Path(spec.origin).parent if spec and spec.origin else None


def main(places: list[str]) -> int:
    """The exit code: 1 where a version lacks anything."""
    chosen = [Path(place) for place in places] or [found for found in (installed(),) if found]
    if not chosen:
        print("No vLLM is installed: name a wheel.")
        return 2
    names = sum(1 + len(used.members) + sum(map(len, used.takes.values())) for used in USED) + sum(
        map(len, WORDS.values())
    )
    gone = 0
    for place in chosen:
        lines = missing(reader(place))
        needed = [line for line in lines if not any(name in line for name in DISPENSABLE)]
        gone += len(needed)
        print(f"{place.name}: {names - len(lines)} of {names} names are as we use them")
        for line in lines:
            print(f"  {line}{'' if line in needed else ' (the engine does without)'}")
    return 1 if gone else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
