"""Settings of a YAML file with flags on top."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.settings.base import load_yaml
from mmpr_pipeline.pipeline.config import load_config


@pytest.mark.parametrize("written", ["engine:", "engine: vllm"])
def test_a_flag_within_what_is_no_group_is_refused(tmp_path: Path, written: str) -> None:
    file = tmp_path / "build.yaml"
    file.write_text(f"sources: [geoqa]\nout: out\n{written}\n")
    with pytest.raises(ConfigError, match="engine is not a group of settings"):
        load_config(file, {"engine.model": "nano"})


def test_only_true_and_false_are_booleans() -> None:
    """Of settings and of declarations alike."""
    text = "on: ray\nlanguage: no\nanswers: [yes, Off, y]\nvideo: True\ndedup: false\n"
    assert load_yaml(text) == {
        "on": "ray", "language": "no", "answers": ["yes", "Off", "y"], "video": True, "dedup": False
    }  # fmt: skip
