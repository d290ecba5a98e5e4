"""Options of strategies: declared as every setting is, and wrong ones stop before any work."""

from __future__ import annotations

from typing import Any

import pytest

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.settings import declared_settings
from mmpr_pipeline.pairing.settings import STRATEGY_OPTIONS, PairingSettings
from mmpr_pipeline.pipeline.config import BuildConfig, load_config


def test_the_blind_filters_flag_is_declared_by_its_field() -> None:
    by_flag = {each.flag: each for each in declared_settings(BuildConfig) if each.flag}
    assert by_flag["--blind-filter"].path == "pairing.options.blind.samples"
    assert by_flag["--blind-filter"].shown_default == "off"
    config = load_config(None, {"sources": ["nano_grid"], "pairing.options.blind.samples": 3})
    assert config.pairing.strategies == ("blind", "correctness", "dropout_ntp")


def test_every_option_of_our_own_strategies_is_declared() -> None:
    paths = {each.path for each in declared_settings(PairingSettings)}
    for name, group in STRATEGY_OPTIONS.items():
        assert {f"options.{name}.{field}" for field in group.model_fields} <= paths


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"blind": {"samples": 0}}, "blind.samples"),
        ({"step": {"sample": 3}}, "step.sample"),
        ({"vote": 7}, "vote"),
        ({"format": {"pairs": "many"}}, "format.pairs"),
    ],
)
def test_a_wrong_option_stops_at_once(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_config(None, {"sources": ["nano_grid"], "pairing.options": options})


def test_options_of_installed_strategies_are_theirs() -> None:
    config = load_config(None, {"sources": ["nano_grid"], "pairing.options.mine.anything": 3})
    assert config.pairing.options == {"mine": {"anything": 3}}
