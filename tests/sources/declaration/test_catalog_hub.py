"""Every Hub entry of the catalog over the Hub's protocol: repository, configuration, split and revision as declared."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from mmpr_pipeline.sources.declaration.catalog import catalog_names, find_declaration
from mmpr_pipeline.sources.declaration.parts import HubLocation
from mmpr_pipeline.sources.rows import entries
from mmpr_pipeline.sources.rows.mapping import row_id
from tests.hub.repository import Repository
from tests.hub.served import archive_files
from tests.hub.server import HubServer
from tests.sources.declaration.test_catalog_rows import as_parquet, rows_of
from tests.sources.files.test_hub import client
from tests.sources.made import png_bytes

pytestmark = pytest.mark.slow  # the client process imports `datasets`, and asks for every entry

ENTRIES = {name: find_declaration(name)[0] for name in catalog_names() if find_declaration(name)[0].hub}


def location(name: str) -> HubLocation:
    hub = ENTRIES[name].hub
    assert hub
    return hub


def repository(identity: str, names: list[str], folder: Path) -> Repository:
    """A repository with a card, and one Parquet file for each configuration and split that the entries name.

    Entries that name their files have a JSON list there, and the archive that their images lie in.
    """
    files: dict[str, bytes] = {}
    configs: dict[str, list[dict[str, str]]] = defaultdict(list)
    for name in names:
        hub = location(name)
        if hub.files:
            rows = [{**row, "_picture": png_bytes()} for row in rows_of(name)]
            files |= dict(zip((*hub.files, *ENTRIES[name].archives), archive_files(rows).values(), strict=True))
            continue
        config = hub.config or "default"
        if f"{config}/{hub.split}-00000-of-00001.parquet" in files:  # another entry takes other columns of these rows
            assert rows_of(name) == next(rows_of(own) for own in names if location(own) == hub)
            continue
        as_parquet(name, folder, rows_of(name))
        files[f"{config}/{hub.split}-00000-of-00001.parquet"] = (folder / "rows.parquet").read_bytes()
        configs[config].append({"split": hub.split, "path": f"{config}/{hub.split}-*"})
    card = {"configs": [{"config_name": config, "data_files": splits} for config, splits in configs.items()]}
    files["README.md"] = f"---\n{yaml.safe_dump(card)}---\n".encode()
    made = Repository(identity)
    made.put(files, "made", sha=next((location(name).revision for name in names if location(name).revision), None))
    return made


def ids_of(name: str) -> list[str]:
    """The id of each question in the entry's rows."""
    found = []
    for number, row in enumerate(rows_of(name)):
        own = row_id(ENTRIES[name], row) or f"row {number}"
        questions = len(entries.entry_rows(row, ENTRIES[name].columns))
        several = ENTRIES[name].columns.entry_columns()
        found += [f"{own}#{entry}" for entry in range(1, questions + 1)] if several else [own]
    return found


def test_every_entry_is_found_and_read(tmp_path: Path) -> None:
    names: dict[str, list[str]] = defaultdict(list)
    for name in ENTRIES:
        names[location(name).id].append(name)
    server = HubServer()
    server.repositories |= {identity: repository(identity, own, tmp_path) for identity, own in names.items()}
    jobs = [(declared.model_dump(mode="json", exclude_unset=True), 0, 2, True) for declared in ENTRIES.values()]
    try:
        answers = client(tmp_path / "home", server.endpoint, *jobs)
    finally:
        server.close()
    told = dict(zip(ENTRIES, answers, strict=True))
    assert not {name: answer for name, answer in told.items() if "error" in answer}
    for name, answer in told.items():
        expected = ids_of(name)
        assert answer["rows"] == len(expected)
        assert answer["items"] == expected[:2]
        assert answer["revision"] == (location(name).revision or answer["revision"])
