"""What a run writes for TensorBoard, read back from its event files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.training.run.run_folder import Metrics

pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
CONFIG: dict[str, Any] = {"lr": 5e-6, "model": "nano", "loss": {"dpo": 0.8}, "resume": True}
LINE = {"step": 0, "steps": 2, "loss": 1.5, "loss/dpo": 0.75, "reward/margin": 0.25, "lr": 1e-6, "seconds": 2.0}


def events_of(run: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run / "tensorboard"))
    found.Reload()
    return found


def test_tags_stand_in_groups_beside_samples_and_settings(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path, ("tensorboard",), CONFIG, 0)
    metrics.write(LINE)
    metrics.write({**LINE, "step": 1, "loss": 1.25})
    metrics.watch({"held_out/accuracy": 0.75}, 2)
    said: Any = {"question": "What is <b>this</b>?", "text": "# A heading\n9", "outcome": "correct"}
    unchecked: Any = {"question": "Describe it.", "text": "A bar."}
    metrics.samples([said, unchecked], 2)
    metrics.close()
    events = events_of(tmp_path)
    tags = events.Tags()
    assert set(tags["scalars"]) == {
        "train/loss", "loss/dpo", "reward/margin", "train/lr", "performance/seconds", "held_out/accuracy",
    }  # fmt: skip
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(0, 1.5), (1, 1.25)]
    assert [e.value for e in events.Scalars("held_out/accuracy")] == [0.75]
    texts = {tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in tags["tensors"]}
    sample = next(text for tag, text in texts.items() if tag.startswith("samples/0"))
    assert sample == "    What is <b>this</b>?\n\ncorrect:\n\n    # A heading\n    9", (
        "as code: nothing in it is markup"
    )
    assert any(tag.startswith("samples/1") for tag in texts)
    assert '"dpo": 0.8' in next(text for tag, text in texts.items() if tag.startswith("settings"))
    hparams = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    for name in (b"lr", b"model", b"nano"):
        assert name in hparams
    assert b"held_out/accuracy" in events.summary_metadata["_hparams_/experiment"].plugin_data.content


def test_a_resumed_run_takes_back_the_steps_that_it_computes_again(tmp_path: Path) -> None:
    first = Metrics(tmp_path, ("tensorboard",), CONFIG, 0)
    for step in range(4):
        first.write({**LINE, "step": step, "loss": 9.0})
    first.close()
    resumed = Metrics(tmp_path, ("tensorboard",), CONFIG, 2)
    resumed.write({**LINE, "step": 2, "loss": 1.0})
    resumed.close()
    found = [(e.step, e.value) for e in events_of(tmp_path).Scalars("train/loss")]
    assert found == [(0, 9.0), (1, 9.0), (2, 1.0)]
