"""How two models compare, in words: always the model minus the other one."""

from __future__ import annotations

from typing import Literal

from mmpr_pipeline.evaluation.results import DifferenceFields

Verdict = Literal["better", "worse", "same"]


def verdict(difference: DifferenceFields, better: str = "higher") -> Verdict:
    """Better or worse where the interval lies on one side of 0; otherwise no difference can be shown."""
    low, high = difference["low"], difference["high"]
    if better == "neither" or not (low > 0 or high < 0):
        return "same"
    return "better" if (low > 0) == (better == "higher") else "worse"


SHOWN: dict[Verdict, str] = {"better": "better", "worse": "worse", "same": "no difference shown"}
COLOURS: dict[Verdict, str] = {"better": "green", "worse": "red", "same": "dim"}


def signed(difference: DifferenceFields, scale: float = 1.0) -> str:
    """`+9.0 [2.5, 16.0]`."""
    value, low, high = (scale * end for end in (difference["value"], difference["low"], difference["high"]))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def sentence(model: str, other: str, difference: DifferenceFields, scale: float = 1.0) -> str:
    """`trained − nano: +9.0 [2.5, 16.0], better; higher on 33 questions, lower on 15`."""
    return (
        f"{model} − {other}: {signed(difference, scale)}, {SHOWN[verdict(difference)]}; "
        f"higher on {difference['better']} questions, lower on {difference['worse']}"
    )
