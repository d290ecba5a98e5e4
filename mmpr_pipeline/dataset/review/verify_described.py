"""Checks the files of an output that no manifest covers: settings, summary, and what screening decided."""

from __future__ import annotations

import json
from collections.abc import Callable

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.core.settings import group_of
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.sealed import damaged, read_sealed
from mmpr_pipeline.dataset.files.summary import summarise
from mmpr_pipeline.screening import REPORT
from mmpr_pipeline.storage import Store

Add = Callable[[str, str, str], None]
"""Takes the name of a problem, where it is and what was seen."""

_NAMES = {layout.CONFIG: "bad_config", layout.SUMMARY: "bad_summary", REPORT: "bad_screening"}


def check_described(store: Store, keys: set[str], num_shards: int, identity: str | None, add: Add) -> None:
    """Check them against each other, against the manifests' `identity`, and against their own checksums."""
    sound: dict[str, dict[str, object]] = {}
    for key in _NAMES:
        if key in keys:
            try:
                sound[key] = read_sealed(store, key)
            except DatasetError as error:
                add(_NAMES[key], key, error.message)
    config, summary, report = (sound.get(key, {}) for key in (layout.CONFIG, layout.SUMMARY, REPORT))
    if config and identity is not None and config.get("digest") != identity:
        add("other_identity", layout.CONFIG, "the shards were built with other settings")
    if report and config and report.get("plan", config.get("digest")) != config.get("digest"):
        add("other_identity", REPORT, "the rows were screened for other settings")
    if layout.SUMMARY in sound:
        try:
            totals = json.loads(json_bytes(summarise(store, num_shards)))
        except DatasetError:
            totals = {}  # the manifests are reported already
        if wrong := [name for name, value in totals.items() if summary.get(name) != value]:
            add("bad_summary", layout.SUMMARY, f"differs from the manifests in {', '.join(wrong)}")
    for key in damaged(store, {**group_of(report, "hashes"), **group_of(summary, "hashes")}):
        if key in keys and (key in sound or key not in _NAMES):  # a broken seal is noted already
            add("bad_hash", key, "the content is not what was written")
        elif key not in keys and key not in layout.expected(num_shards):
            add("missing_file", key, "")
    if "hashes" in summary:
        for key in sorted(keys & set(layout.SCREENED) - group_of(summary, "hashes").keys()):
            add("extra_file", key, "no build wrote it here")
