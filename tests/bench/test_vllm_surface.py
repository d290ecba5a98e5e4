"""What we use of vLLM's insides is there in the version that is installed, and what is gone from one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.loaded import load

surface = load("vllm_surface")


def test_the_installed_version_has_all_that_the_engine_uses() -> None:
    place = surface.installed()
    if place is None:
        pytest.skip("no vLLM")
    assert surface.missing(surface.reader(place)) == []


def test_what_is_gone_or_takes_other_arguments_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    place = surface.installed()
    if place is None:
        pytest.skip("no vLLM")
    read = surface.reader(place)
    changes = {
        "v1/engine/llm_engine.py": ("priority: int", "urgency: int"),
        "v1/core/kv_cache_manager.py": ("def usage(", "def use("),
        "sampling_params.py": ("FINAL_ONLY", "LAST_ONLY"),
    }

    def later(name: str) -> str:
        if name == "renderers/params.py":
            raise KeyError(name)
        text = read(name)
        return text.replace(*changes[name]) if name in changes else text

    assert surface.missing(later) == [
        "v1/engine/llm_engine: add_request no longer takes priority",
        "v1/core/kv_cache_manager: KVCacheManager.usage is gone",
        "renderers/params: ChatParams is gone",
        "sampling_params: RequestOutputKind.FINAL_ONLY is gone",
        """renderers/params: "This model's maximum context length is " is gone""",
    ]


def test_an_unknown_place_is_no_version(tmp_path: Path) -> None:
    assert surface.main([str(tmp_path)]) == 1
