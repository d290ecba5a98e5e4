"""How many rollouts an engine decodes at once, and which go first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mmpr_pipeline.engines.vllm import admission
from mmpr_pipeline.engines.vllm.admission import ActiveLimit, Observer, Turns

KV_TOKENS = 420_000


def limit_after(*lengths: int, max_tokens: int = 32_768) -> ActiveLimit:
    limit = ActiveLimit(KV_TOKENS, 512)
    limit.asked(max_tokens, 0)
    for length in lengths:
        limit.ended(length)
    return limit


def test_before_any_has_ended_half_of_the_longest_response_is_expected() -> None:
    assert limit_after().now() == int(KV_TOKENS / 16_384)
    assert limit_after(max_tokens=2048).now() == 410
    assert limit_after(max_tokens=1024).now() == 512, "never more than the engine has places for"


def test_the_limit_follows_the_lengths_of_those_that_ended() -> None:
    assert limit_after(*[1000] * 300).now() == pytest.approx(1.2 * KV_TOKENS / 1000, abs=1)
    assert limit_after(*[16_000] * 300).now() == pytest.approx(1.2 * KV_TOKENS / 16_000, abs=1)
    assert limit_after(*[1000] * 300, *[16_000] * 2000).now() < 32, "the latest count"


def test_rollouts_that_still_run_tell_that_the_others_will_be_long() -> None:
    """The first that end are the short ones."""
    few = limit_after(*[2000] * 5)
    assert few.now() > 200
    assert few.now(mean_age=5000) < 60
    assert limit_after().now(mean_age=20_000) < limit_after().now()


def test_prompts_take_their_part_and_no_engine_stands_still() -> None:
    limit = ActiveLimit(KV_TOKENS, 512)
    limit.asked(2048, 27_648)
    assert limit.now() == int(KV_TOKENS / (1024 + 27_648 / 4))
    limit = ActiveLimit(1000, 512)
    limit.asked(32_768, 0)
    assert limit.now() == admission.FEWEST


def test_an_engine_that_does_not_tell_its_cache_has_no_other_limit() -> None:
    limit = ActiveLimit(None, 256)
    limit.asked(32_768, 0)
    assert limit.now() == 256


def test_all_requests_of_a_question_have_its_place_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "REMEMBERED_QUESTIONS", 2)
    turns = Turns()
    assert [turns.of(name) for name in ("a", "b", "a", "b")] == [0, 1, 0, 1]
    assert turns.of("c") == 2
    assert turns.of("a") == 3, "forgotten: it comes last"


def test_vllms_scheduler_is_told_how_many_may_run() -> None:
    """`max_num_active_reqs`: what it lets in, beside the places that the model runner has."""
    running = [SimpleNamespace(num_output_tokens=tokens) for tokens in (200, 400)]
    scheduler = SimpleNamespace(running=running, max_num_active_reqs=64)
    engine: Any = SimpleNamespace(engine_core=SimpleNamespace(engine_core=SimpleNamespace(scheduler=scheduler)))
    observer, limit = Observer(engine), ActiveLimit(4096, 64)
    limit.asked(400, 0)
    observer.admit(limit)
    assert scheduler.max_num_active_reqs == observer.seen.capacity == int(4096 / (1.5 * 300))
