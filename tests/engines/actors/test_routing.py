"""Where requests go, and how many engines are given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from mmpr_pipeline.engines.actors.routing import (
    CROWD,
    HEADROOM,
    MOST_QUESTIONS,
    SHARE,
    SLACK,
    ExpectedLengths,
    ExpectedWork,
    Router,
    questions_each,
)
from mmpr_pipeline.engines.engine import ContinueRequest, EngineInfo, SampleRequest
from mmpr_pipeline.rollouts.sampling import Decoding
from tests.engines.contract import ask, ask_on
from tests.records import a_question, a_rollout


def holding(sequences: int | None = None, kv_tokens: int | None = None) -> EngineInfo:
    return EngineInfo(
        engine="scripted", model="m", context=None, can_continue=True, sequences=sequences, kv_tokens=kv_tokens
    )


def choose(router: Router, question_id: str, alive: Iterable[int], *, begun: bool) -> int | None:
    """The engine that a request goes to, by what the worker has heard."""
    return router.least_busy(router.candidates(question_id, alive, begun=begun), begun=begun)


def fill(router: Router, work: ExpectedWork, most: int = 1000) -> int:
    """Questions that the engines are given before all are full."""
    for count in range(most):
        which = choose(router, f"q{count}", range(len(router._own)), begun=False)
        if which is None:
            return count
        router.take(which, f"q{count}", work)
    return most


def test_the_engine_with_the_least_outstanding_tokens_is_chosen_not_the_one_with_the_fewest_requests() -> None:
    router = Router(2, None)
    router.take(0, "long", ExpectedWork(5000, 1))
    for i in range(4):
        router.take(1, f"short{i}", ExpectedWork(500, 1))
    assert choose(router, "next", (0, 1), begun=False) == 1
    router.take(1, "short4", ExpectedWork(3500, 1))
    assert choose(router, "next", (0, 1), begun=False) == 0


def test_equal_engines_are_taken_in_turn() -> None:
    router = Router(3, None)
    chosen = []
    for i in range(9):
        which = choose(router, f"q{i}", range(3), begun=False)
        assert which is not None
        router.take(which, f"q{i}", ExpectedWork(100, 1))
        chosen.append(which)
    assert [chosen.count(which) for which in range(3)] == [3, 3, 3]


def test_a_question_stays_where_its_image_is_until_that_engine_is_much_busier() -> None:
    router = Router(2, None)
    router.take(0, "mine", ExpectedWork(10, 1))
    router.take(0, "others", ExpectedWork(5000, SLACK - 1))
    assert choose(router, "mine", (0, 1), begun=True) == 0
    assert choose(router, "new", (0, 1), begun=True) == 1
    router.take(0, "more", ExpectedWork(1, 1))
    assert choose(router, "mine", (0, 1), begun=True) == 1
    assert choose(router, "mine", (1,), begun=True) == 1, "its own is dead"


def test_engines_are_given_what_they_hold_and_a_little_more() -> None:
    assert fill(Router(1, holding(sequences=64)), ExpectedWork(1, 8)) == CROWD * 64 / 8
    assert fill(Router(2, holding(sequences=64)), ExpectedWork(1, 8)) == 2 * CROWD * 64 / 8
    assert fill(Router(1, holding(sequences=64, kv_tokens=1000)), ExpectedWork(100, 1)) == HEADROOM * 10, (
        "the cache decides"
    )
    assert fill(Router(1, holding()), ExpectedWork(1e6, 100)) == 1000, "without limits for engines that tell none"


def test_short_answers_let_more_questions_in_and_long_ones_fewer() -> None:
    request = ask(a_question(), n=8, decoding=Decoding(max_tokens=2048))
    given = []
    for tokens in (None, 100, 1000):
        router = Router(1, holding(kv_tokens=50_000))
        if tokens:
            router.lengths.learn("test", [a_rollout(a_question(), 0, "x", tokens=tokens, prompt_tokens=300)])
        given.append(fill(router, router.lengths.expect(request)))
    unknown, short, long = given
    assert short > 3 * unknown
    assert long < unknown


def test_a_question_that_was_begun_is_not_held_back() -> None:
    router = Router(1, holding(sequences=4))
    fill(router, ExpectedWork(1, 1))
    assert choose(router, "new", [0], begun=False) is None
    assert choose(router, "q0", [0], begun=True) == 0


def test_a_question_larger_than_an_engine_is_let_in_where_nothing_else_is() -> None:
    assert fill(Router(1, holding(sequences=4)), ExpectedWork(1, 32)) == 1


def test_the_work_of_other_workers_counts_but_never_shuts_one_out() -> None:
    router = Router(2, holding(sequences=64))
    router.heard(0, ExpectedWork(9000, 256))
    assert [router.has_room(which) for which in (0, 1)] == [True, True], "its own share"
    router.take(0, "q", ExpectedWork(100, int(SHARE * 64)))
    assert [router.has_room(which) for which in (0, 1)] == [False, True]
    assert choose(router, "r", (0, 1), begun=False) == 1


def test_workers_do_not_all_run_to_the_engine_that_they_heard_is_idle() -> None:
    first = []
    for worker in range(64):
        router = Router(16, None, turn=worker)
        for which in range(16):
            router.heard(which, ExpectedWork(100.0 * which, which))
        which = choose(router, "q", range(16), begun=False)  # type: ignore[assignment]
        assert which is not None
        first.append(which)
    assert 1 <= first.count(0) < 20, "an eighth of them look at it"
    assert sum(first) / len(first) < 6.5, "and still the busy ones are passed by: 7.5 by chance"


def test_what_others_had_in_an_engine_is_lost_with_it() -> None:
    router = Router(1, holding(sequences=64))
    router.heard(0, ExpectedWork(9000, 256))
    router.take(0, "q", ExpectedWork(100, int(SHARE * 64)))
    assert not router.has_room(0)
    router.lost(0)
    assert router.load(0) == ExpectedWork(100, int(SHARE * 64)), "what others had there is gone with it"


def test_what_an_engine_tells_holds_ones_own_work_too() -> None:
    router = Router(1, None)
    router.take(0, "a", ExpectedWork(300, 3))
    router.heard(0, ExpectedWork(1000, 10))
    assert router.load(0) == ExpectedWork(1000, 10)
    router.give(0, ExpectedWork(300, 3))
    assert router.load(0) == ExpectedWork(700, 7)


def test_old_homes_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmpr_pipeline.engines.actors.routing.REMEMBERED_QUESTIONS", 2)
    router = Router(1, None)
    for name in ("a", "b", "a", "c"):
        router.take(0, name, ExpectedWork())
    assert (router.home("a"), router.home("b"), router.home("c")) == (0, None, 0)


def sampled(tokens: int, **fields: Any) -> SampleRequest | ContinueRequest:
    return ask(a_question(), decoding=Decoding(max_tokens=tokens), **fields)


def test_the_prompt_is_counted_once_and_no_response_above_its_limit() -> None:
    lengths = ExpectedLengths()
    lengths.learn("test", [a_rollout(a_question(), i, "x", tokens=200, prompt_tokens=300) for i in range(2)])
    assert lengths.expect(sampled(1000, n=4)) == ExpectedWork(300 + 4 * 200, 4)
    assert lengths.expect(sampled(50, n=4)) == ExpectedWork(300 + 4 * 50, 4)
    request = ask(a_question())
    continuation = ask_on(request, a_rollout(request.question, 0, "x"), decoding=Decoding(max_tokens=1000))
    assert lengths.expect(continuation) == ExpectedWork(500, 1)


def test_expectations_follow_what_is_seen_and_recorded_rollouts_teach_nothing() -> None:
    lengths = ExpectedLengths()
    lengths.learn("test", [a_rollout(a_question(), 0, "x", tokens=0)])
    unknown = lengths.expect(sampled(4096, n=1))
    for _ in range(300):
        lengths.learn("test", [a_rollout(a_question(), 0, "x", tokens=40, prompt_tokens=10)])
    assert lengths.expect(sampled(4096, n=1)).tokens == pytest.approx(50)
    assert unknown.tokens > 500
    for _ in range(300):
        lengths.learn("test", [a_rollout(a_question(), 0, "x", tokens=400, prompt_tokens=10)])
    assert lengths.expect(sampled(4096, n=1)).tokens > 390


@pytest.mark.parametrize(
    ("sequences", "engines", "workers", "rollouts", "expected"),
    [
        (256, 1, 2, 4, 128),
        (256, 8, 4, 4, 512),
        (256, 512, 4, 4, MOST_QUESTIONS),
        (8, 1, 8, 8, 16),
        (None, 8, 2, 4, None),
    ],
)
def test_workers_have_as_many_questions_in_flight_as_fill_the_engines(
    sequences: int | None, engines: int, workers: int, rollouts: int, expected: int | None
) -> None:
    assert questions_each(holding(sequences).model_copy(update={"engines": engines}), workers, rollouts) == expected
