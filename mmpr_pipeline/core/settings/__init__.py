"""Settings: one declaration a setting, from which files, flags, pages and schemas are made."""

from mmpr_pipeline.core.settings.base import OPERATIONAL, S, Settings, differences, group_of, identity_of
from mmpr_pipeline.core.settings.declared import (
    ASK,
    MEASURED,
    MODEL,
    PAIRS,
    RUN,
    SAMPLING,
    SCREENING,
    TRAINING,
    Declared,
    OptionGroups,
    declared_settings,
    flag,
)
from mmpr_pipeline.core.settings.reading import load_settings, read_yaml
from mmpr_pipeline.core.settings.wrong import explain_settings_error

__all__ = [
    "ASK",
    "MEASURED",
    "MODEL",
    "OPERATIONAL",
    "PAIRS",
    "RUN",
    "SAMPLING",
    "SCREENING",
    "TRAINING",
    "Declared",
    "OptionGroups",
    "S",
    "Settings",
    "declared_settings",
    "differences",
    "explain_settings_error",
    "flag",
    "group_of",
    "identity_of",
    "load_settings",
    "read_yaml",
]
