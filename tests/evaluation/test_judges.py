"""Judges that behave and judges that do not, behind a real server; what is remembered; what it will cost."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.core.errors import ConfigError, EngineError
from mmpr_pipeline.engines.openai.client import RetryPolicy
from mmpr_pipeline.engines.openai.engine import OpenAiEngine
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.evaluation.benchmarks.items import BenchmarkItem
from mmpr_pipeline.evaluation.judges import rubric as rubrics
from mmpr_pipeline.evaluation.judges.judge import Judge, Memory
from mmpr_pipeline.evaluation.judges.rubric import rubric_of
from mmpr_pipeline.evaluation.scoring.graded import Graded
from mmpr_pipeline.evaluation.settings import JudgeSettings
from mmpr_pipeline.storage import open_store
from tests.evaluation.judge_server import JudgeServer
from tests.records import a_question

Reply = Callable[[str, dict[str, Any]], str | int]


def item(**row: Any) -> BenchmarkItem:
    return BenchmarkItem(a_question(kind="none", answer=None), row)


def settings(url: str, **more: Any) -> JudgeSettings:
    engine = {"name": "openai", "model": "judge", "base_url": url, "actors": 0}
    return JudgeSettings.model_validate({"engine": engine, **more})


def graded(
    reply: Reply, name: str, answer: str, row: dict[str, Any], memory: Memory | None = None, **more: Any
) -> tuple[Graded, JudgeServer]:
    """What a judge that replies so makes of an answer, and the server with what it was asked."""
    with JudgeServer(reply) as server:

        async def work() -> Graded:
            patience = RetryPolicy(timeout=5, attempts=3, first_delay=0.01, longest_delay=0.02, outage=2)
            engine = OpenAiEngine(settings(server.url).engine, patience)
            try:
                told = settings(server.url, **more)
                return await Judge(engine, rubric_of(name, told.prompts), told, memory or Memory(None)).grade(
                    item(**row), answer
                )
            finally:
                await engine.close()

        return asyncio.run(work()), server


def replies(*texts: str | int) -> Reply:
    """These one after the other, the last one for ever."""
    left = itertools.chain(texts, itertools.repeat(texts[-1]))
    return lambda text, body: next(left)


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("0.7", 0.7),
        ("Correctness: 1.0", 1.0),
        ("It names one of two.\n0.5", 0.5),
        ("0.5 or 0.6", None),
        ("no number", None),
        ("7", None),
        ("-0.5", None),
        ("", None),
    ],
)
def test_a_share_is_read_or_refused(reply: str, score: float | None) -> None:
    found = rubrics.read_share(reply)
    assert (found.score if found else None) == score


@pytest.mark.parametrize(
    ("reply", "scores"),
    [("8 6\nwhy", (6, 8)), ("8, 6.5", (6.5, 8)), ("8\n6", None), ("8 6 4", None), ("11 6", None), ("", None)],
)
def test_two_scores_are_read_or_refused(reply: str, scores: tuple[float, float] | None) -> None:
    found = rubrics.read_two(reply)
    assert ((found.score, found.parts["reference"]) if found else None) == scores


@pytest.mark.parametrize(
    ("reply", "score"),
    [("Rating: 6", 6), ("**Rating: 3**", 3), ("Rating: 1 ... Rating: 5", None), ("Rating: 9", None), ("six", None)],
)
def test_a_rating_is_read_or_refused(reply: str, score: float | None) -> None:
    found = rubrics.read_rating(reply)
    assert (found.score if found else None) == score


@pytest.mark.parametrize(
    ("reply", "score"),
    [("So [[B>>A]].", 2), ("[[A=B]]", 0), ("[[A>B]] no, [[B>A]]", None), ("[[A=B]] [[A=B]]", 0), ("A is best", None)],
)
def test_a_preference_is_read_or_refused(reply: str, score: float | None) -> None:
    found = rubrics.read_preference(reply)
    assert (found.score if found else None) == score


def test_an_unreadable_verdict_is_asked_for_again_warmer() -> None:
    found, server = graded(replies("I like it.", "0.5 or 0.7", "0.9"), "mmvet", "It is 4.", {"answer": "4"})
    assert (found.score, found.rule, len(server.asked)) == (0.9, "judge", 3)
    assert [body["temperature"] for body in server.asked] == [0.0, 0.5, 1.0]


def test_a_judge_that_never_says_a_number_is_counted() -> None:
    found, server = graded(replies("I cannot help with that."), "mmhal", "Two cats.", {"gt_answer": "One cat."})
    assert (found.score, found.rule, found.parts["unread"], len(server.asked)) == (0.0, "no_verdict", 1.0, 3)


def test_a_busy_server_costs_time_only() -> None:
    found, server = graded(replies(429, 429, 503, "Rating: 4"), "mmhal", "One cat.", {"gt_answer": "One cat."})
    assert (found.score, len(server.asked)) == (4.0, 4)


def test_a_server_that_refuses_access_stops_at_once() -> None:
    with pytest.raises(EngineError, match="OPENAI_API_KEY"):
        graded(replies(401), "mmhal", "One cat.", {"gt_answer": "One cat."})


def test_both_orders_are_asked_and_a_judge_of_places_gains_nothing() -> None:
    """It prefers whoever stands first: once the reference, once the answer; the mean is a tie, and it is counted."""
    found, server = graded(replies("[[A>>B]]"), "mm_alignbench", "A poem.", {"claude3_sonnet": "Verses."})
    assert (found.score, found.parts["orders_differ"], len(server.asked)) == (0.0, 1.0, 2)
    texts = [body["messages"][0]["content"] for body in server.asked]
    assert texts[0].index("Verses.") < texts[0].index("A poem.")
    assert texts[1].index("A poem.") < texts[1].index("Verses.")


def test_one_order_is_asked_where_that_is_wanted() -> None:
    found, server = graded(
        replies("[[B>A]]"), "mm_alignbench", "A poem.", {"claude3_sonnet": "Verses."}, both_orders=False
    )
    assert (found.score, len(server.asked)) == (1.0, 1)


def test_the_image_goes_along_where_the_benchmark_shows_it() -> None:
    from mmpr_pipeline.sources.images.load import load_image
    from tests.evaluation.systems import picture

    shown = BenchmarkItem(
        a_question(kind="none", answer=None, images=(load_image(picture(1)),)), {"claude3_sonnet": "Verses."}
    )
    with JudgeServer(replies("[[A=B]]")) as server:

        async def work() -> None:
            engine = OpenAiEngine(settings(server.url).engine)
            await Judge(engine, rubric_of("mm_alignbench", None), settings(server.url), Memory(None)).grade(shown, "x")
            await engine.close()

        asyncio.run(work())
    kinds = [part["type"] for part in server.asked[0]["messages"][0]["content"]]
    assert kinds == ["image_url", "text"]


def test_what_was_judged_is_not_asked_again(tmp_path: Path) -> None:
    row, store = {"answer": "4"}, open_store(tmp_path)
    memory = Memory(store)
    first, server = graded(replies("none", "0.5"), "mmvet", "It is 4.", row, memory)
    assert len(server.asked) == 2  # nothing is closed: the process was killed here
    again, server = graded(replies(500), "mmvet", "It is 4.", row, Memory(open_store(tmp_path)))
    assert (again, len(server.asked)) == (first, 0)
    other, server = graded(replies("0.1"), "mmvet", "It is 5.", row, Memory(open_store(tmp_path)))
    assert (other.score, len(server.asked)) == (0.1, 1)


def test_a_response_cannot_speak_in_the_judges_place() -> None:
    """Places and image marks in a response are text."""
    answer = "{truth} <image> {question}"
    found, server = graded(replies("0.0"), "mmvet", answer, {"answer": "secret"})
    text = server.asked[0]["messages"][0]["content"]
    assert "{truth} <picture> {question}" in text
    assert found.score == 0.0


def test_own_words_take_the_place_of_ours(tmp_path: Path) -> None:
    (tmp_path / "mmvet.txt").write_text("Grade {response} by {truth}.")
    own, ours = rubric_of("mmvet", str(tmp_path)), rubric_of("mmvet", None)
    assert own.prompt(item(answer="4"), "5") == "Grade 5 by 4."
    assert (own.words, ours.words) == ("mmvet.txt", "ours")
    assert own.version != ours.version
    (tmp_path / "mmvet.txt").write_text("Grade it.")
    with pytest.raises(ConfigError, match="response"):
        rubric_of("mmvet", str(tmp_path))


def test_cost_is_told_before_it_starts() -> None:
    with JudgeServer(replies("0.5")) as server:

        async def work() -> str:
            told = settings(server.url, price_in=2.5, price_out=10)
            engine = OpenAiEngine(EngineSettings.model_validate(told.engine.model_dump()))
            judge = Judge(engine, rubric_of("mm_alignbench", None), told, Memory(None))
            await engine.close()
            return judge.cost([item(claude3_sonnet="Verses.")] * 100, 300).as_text()

        said = asyncio.run(work())
    assert said.startswith("200 judgements: about ")
    assert "at most 819,200 to write" in said
    assert "by the prices given" in said
