from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.sources import open_source
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration, load_declaration
from tests.sources.made import BASE

GOOD: dict[str, Any] = {**BASE, "files": "rows.jsonl"}


def written(tmp_path: Path, data: object) -> Path:
    path = tmp_path / "made.yaml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data), "utf-8")
    return path


def refused(tmp_path: Path, data: object) -> str:
    path = written(tmp_path, data)
    with pytest.raises(ConfigError) as caught:
        load_declaration(path)
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    return str(caught.value)


def test_a_good_declaration(tmp_path: Path) -> None:
    declaration = load_declaration(written(tmp_path, GOOD))
    assert declaration.files == ("rows.jsonl",)
    assert declaration.column_names() == ["question", "id", "image", "choices", "answer", "meta.kind"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"colour": "red"}, "colour"),
        ({"columns": {**GOOD["columns"], "solution": "s"}}, "columns.solution"),
        ({"kind": "poem"}, "kind"),
        ({"kind": {"column": "k", "values": {"free": "poem"}}}, "kind"),
        ({"tiles": 0}, "tiles"),
        ({"name": "Not A Name"}, "name"),
        ({"role": "both"}, "role"),
        ({"answer_form": "word"}, "answer_form"),
        ({"files": None}, "files, hub and generated"),
        ({"generated": {"name": "nano_grid", "rows": 5}}, "files, hub and generated"),
        ({"answer_form": None}, "answer_form"),
        ({"columns": {"question": "q", "image": "i"}}, "answer column"),
        ({"columns": {"question": "q", "answer": "a"}}, "image column"),
        ({"columns": {"question": "q", "image": "i", "images": "j", "answer": "a"}}, "image or images"),
        ({"files": None, "hub": {"id": "no-slash"}}, "hub.id"),
        ({"groups": ["Two Words"]}, "groups"),
        ({"columns": {**GOOD["columns"], "image_path": "{id}.png"}}, "image_path"),
        ({"columns": {"question": "q", "answer": "a", "image_path": "1.png"}}, "names no column"),
        ({"kind": {"column": "k", "contains": {"Choices": "poem"}}}, "kind"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    data = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
    assert field in refused(tmp_path, data)


def test_several_faults_are_named_at_once(tmp_path: Path) -> None:
    message = refused(tmp_path, {**GOOD, "tiles": 0, "colour": "red"})
    assert "tiles" in message
    assert "colour" in message


def test_a_file_that_is_no_declaration(tmp_path: Path) -> None:
    assert "not YAML" in refused(tmp_path, "a: [")
    assert "not a mapping" in refused(tmp_path, "- a\n- b\n")
    with pytest.raises(ConfigError, match="nowhere"):
        load_declaration(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 50_000, "- " * 50_000 + "x", "name: [" + "[" * 70 + "]" * 70])
def test_deep_yaml_is_an_error_that_names_the_file(text: str, tmp_path: Path) -> None:
    """libyaml's loader died of the first, with the process that read it."""
    path = tmp_path / "deep.yaml"
    path.write_text(text)
    for load in (load_declaration, lambda file: load_config(file, {})):
        with pytest.raises(ConfigError, match=r"deep\.yaml.*nests deeper than 64"):
            load(path)


@pytest.mark.parametrize("text", ["a: 2026-13-99", "a: !!timestamp x", "a: !!float x", "{[1]: 2}", "a: !!int ''"])
def test_yaml_values_that_are_none_are_an_error_that_names_the_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    for load in (load_declaration, lambda file: load_config(file, {})):
        with pytest.raises(ConfigError, match=r"bad\.yaml"):
            load(path)


def test_long_yaml_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "long.yaml").write_text("a: " + "x" * 4_000_000)
    with pytest.raises(ConfigError, match=r"long\.yaml.*characters"):
        load_declaration(tmp_path / "long.yaml")


def test_yaml_cannot_make_objects(tmp_path: Path) -> None:
    assert "not YAML" in refused(tmp_path, "!!python/object/apply:os.system ['true']")


def test_a_name_that_is_not_in_the_catalog_is_told_with_its_neighbours() -> None:
    with pytest.raises(ConfigError) as caught:
        open_source("mathvist")
    assert "Did you mean mathvista" in str(caught.value)


def test_identity_leaves_out_what_is_only_told() -> None:
    plain = SourceDeclaration.model_validate(GOOD)
    told = SourceDeclaration.model_validate(
        {
            **GOOD,
            "description": "Other words.",
            "licence": "MIT",
            "groups": ["math"],
            "example": {"a": 1},
            "other_example": {"a": 2},
        }
    )
    other = SourceDeclaration.model_validate({**GOOD, "tiles": 12})
    assert plain.identity() == told.identity()
    assert plain.identity() != other.identity()
