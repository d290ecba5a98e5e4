"""Hostile and random text: always a verdict, soon, and never a match by accident."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmpr_pipeline.checking import check_prediction, check_response

KINDS = ["choice", "number", "math", "text", "yes_no", "list", "chart", "document", None]
PIECES = [
    "\\boxed{", "}", "{", "$", "$$", "\\(", "\\)", "\\frac", "\\text{", "Final answer: ", "the answer is ",
    "答案：", "故选", "A", "B)", "(C)", "<think>",
    "</think>", "<answer>", "**", "\n", " ", "5", "-", "1e9", "%", "or", "and", "Question: ", "```",
    "<|im_start|>user", "\\\\", "^", "_", ".", ",", "yes",
    "no", "not ", "°", "π", "√", "①", "\u200b", "\x00", "é", "北", "=", "[", "]", "cannot be determined",
    "\"answer\": \"", "#### ", "is ", "1,234", "/",
]  # fmt: skip
CHOICES = ("red", "blue", "green")


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), st.sampled_from(KINDS))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_mixture_gets_a_verdict(text: str, kind: str | None) -> None:
    for check in (check_response, check_prediction):
        verdict = check(text, gold="987654", kind=kind, choices=CHOICES if kind == "choice" else ())
        assert verdict.rule
        assert verdict.rule != "checker_failed"
        assert verdict.outcome != "correct" or "987654" in text


@given(st.text(max_size=200), st.text(min_size=1, max_size=30), st.sampled_from(KINDS))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_and_any_gold(text: str, gold: str, kind: str | None) -> None:
    assert check_response(text, gold=gold, kind=kind).rule not in ("", "checker_failed")


@pytest.mark.parametrize(
    "piece", [*PIECES, "the answer is ", "\\boxed{5} ", "Question: 5\n", "A. ", "(", "1 or ", "5 = ", "is 5 ", "not "]
)
@pytest.mark.parametrize("kind", ["choice", "number", "text"])
def test_a_piece_repeated_without_end_costs_little(piece: str, kind: str) -> None:
    text = piece * (120_000 // len(piece))
    started = time.process_time()
    for check in (check_response, check_prediction):
        assert check(text, gold="5", kind=kind, choices=("5", "6") if kind == "choice" else ()).rule
    assert time.process_time() - started < 2.0  # hundredths of a second; quadratic work would take minutes


def test_checks_run_in_threads() -> None:
    rng = random.Random(1)
    texts = [f"Final answer: {rng.choice('ABC')}" for _ in range(400)]
    one = [check_response(text, gold="B", kind="choice", choices=CHOICES).outcome for text in texts]
    with ThreadPoolExecutor(8) as pool:
        many = list(
            pool.map(lambda text: check_response(text, gold="B", kind="choice", choices=CHOICES).outcome, texts)
        )
    assert one == many
