"""The arithmetic of mixtures."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.pipeline.config import load_config, split_share
from mmpr_pipeline.rollouts.sampling import sampling_seed
from mmpr_pipeline.screening.mixture import repetitions, share_mask, taken
from mmpr_pipeline.screening.settings import Share

unhurried = hypothesis_settings(deadline=None)
shares = st.builds(
    Share,
    weight=st.floats(0, 1, exclude_min=True),
    cap=st.none() | st.integers(1, 3000),
    repeat=st.integers(1, 5),
)


def keys(n: int, seed: int = 0) -> np.ndarray:
    raw = b"".join(hashlib.sha256(f"{seed}/{i}".encode()).digest()[:16] for i in range(n))
    return np.frombuffer(raw, np.uint64).reshape(-1, 2)


@unhurried
@given(st.integers(0, 5000), shares)
def test_a_share_takes_its_part_and_never_more_than_its_cap(questions: int, share: Share) -> None:
    count = taken(questions, share)
    assert 0 <= count <= min(questions, share.cap or questions)
    if count != share.cap:
        assert abs(count - questions * share.weight) <= 0.5 + 1e-9


@unhurried
@given(st.integers(0, 400), shares)
def test_exactly_so_many_are_chosen(questions: int, share: Share) -> None:
    assert share_mask(keys(questions), share).sum() == taken(questions, share)


@unhurried
@given(st.integers(1, 400), st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_greater_weight_keeps_what_a_smaller_one_chose(questions: int, one: float, other: float) -> None:
    small, great = sorted((one, other))
    found = keys(questions)
    assert not (share_mask(found, Share(weight=small)) & ~share_mask(found, Share(weight=great))).any()


@unhurried
@given(st.integers(1, 300), shares, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(questions: int, share: Share, random) -> None:  # type: ignore[no-untyped-def]
    found = keys(questions)
    order = np.array(random.sample(range(questions), questions))
    assert (share_mask(found[order], share) == share_mask(found, share)[order]).all()


def test_the_choice_is_spread_over_the_source() -> None:
    chosen = share_mask(keys(10_000), Share(weight=0.3))
    assert all(abs(part.sum() - 300) < 70 for part in np.split(chosen, 10))


@unhurried
@given(st.integers(1, 6))
def test_each_repeat_has_an_id_and_seeds_of_its_own(times: int) -> None:
    asked = repetitions(Question(question_id="ab" * 16, source="s", source_id="1", text="?", kind="none"), times)
    assert len({question.question_id for question in asked}) == len(asked) == times
    assert len({sampling_seed(0, question.question_id, 0) for question in asked}) == times
    assert asked[0].question_id == "ab" * 16
    assert {question.source_id for question in asked} == {"1"}


@pytest.mark.parametrize(
    ("text", "source", "share"),
    [
        ("geoqa", "geoqa", {}),
        ("geoqa:0.5", "geoqa", {"weight": "0.5"}),
        ("chartqa@10000*2", "chartqa", {"cap": "10000", "repeat": "2"}),
        ("a/b-c.yaml*3:.25", "a/b-c.yaml", {"repeat": "3", "weight": ".25"}),
        ("C:/data/x.yaml", "C:/data/x.yaml", {}),
        ("x@home/y.yaml@7", "x@home/y.yaml", {"cap": "7"}),
    ],
)
def test_a_share_may_stand_behind_its_source(text: str, source: str, share: dict[str, str]) -> None:
    assert split_share(text) == (source, share)


def settings(**given: object) -> dict[str, object]:
    return {"out": "o", "engine.name": "scripted", **given}


def test_both_ways_of_writing_a_mixture_mean_the_same() -> None:
    behind = load_config(None, settings(sources=["geoqa:0.5@100", "chartqa*2", "dvqa"]))
    beside = load_config(
        None,
        settings(
            sources=["geoqa", "chartqa", "dvqa"],
            mixture={"geoqa": {"weight": 0.5, "cap": 100}, "chartqa": {"repeat": 2}},
        ),
    )
    assert behind == beside
    assert behind.sources == ("geoqa", "chartqa", "dvqa")
    assert load_config(None, behind.model_dump(mode="json")) == behind


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"sources": ["geoqa:0"]}, "greater than 0"),
        ({"sources": ["geoqa:1.5"]}, "at most 1"),
        ({"sources": ["geoqa*0"]}, "at least 1"),
        ({"sources": ["geoqa:0.5:0.7"]}, "weight twice"),
        ({"sources": ["geoqa:0.5"], "mixture": {"geoqa": {"cap": 3}}}, "given twice"),
        ({"sources": ["geoqa*2"], "engine.name": "replay", "engine.rollouts": "r.jsonl"}, "remove repeat for geoqa"),
    ],
)
def test_a_share_that_cannot_work_stops_at_once(given: dict[str, object], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load_config(None, settings(**given))
