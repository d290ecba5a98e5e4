from __future__ import annotations

import builtins
import json
from pathlib import Path

import pytest

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.training.policy.load import load_model, load_processor
from tests.training import made

CODE = """
from pathlib import Path
Path(__file__).with_name("ran").touch()
Path({ran!r}).touch()
from transformers import PretrainedConfig, PreTrainedModel, ProcessorMixin
class Config(PretrainedConfig):
    model_type = "evil"
class Model(PreTrainedModel):
    config_class = Config
class Processor(ProcessorMixin):
    pass
"""


@pytest.fixture
def armed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model folder that ships code which leaves a file `ran`, and a user who says yes to whatever is asked."""
    folder = made.model_folder(tmp_path / "model")
    (folder / "evil.py").write_text(CODE.format(ran=str(tmp_path / "ran")))
    classes = {
        "AutoConfig": "evil.Config",
        "AutoModelForImageTextToText": "evil.Model",
        "AutoProcessor": "evil.Processor",
    }
    for name in ("config.json", "processor_config.json", "tokenizer_config.json", "preprocessor_config.json"):
        if (folder / name).is_file():
            fields = json.loads((folder / name).read_text())
            fields |= {"auto_map": classes, "model_type": "evil", "processor_class": "Evil"}
            (folder / name).write_text(json.dumps(fields))
    monkeypatch.setattr(builtins, "input", lambda prompt="": "y")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    return folder


@pytest.mark.parametrize("load", [load_model, load_processor])
def test_code_that_a_model_ships_is_never_run(load: object, armed: Path, tmp_path: Path) -> None:
    assert callable(load)
    with pytest.raises(ConfigError):
        load(armed)
    assert not (tmp_path / "ran").exists()
