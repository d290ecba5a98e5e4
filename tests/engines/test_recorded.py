from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmpr_pipeline.core.errors import EngineError, ItemRejected
from mmpr_pipeline.engines.recorded import ReplayEngine
from tests.engines.contract import SAMPLING, Check, ask, ask_on, seen_question
from tests.records import a_rollout


def recorded(path: Path, ids: list[str], each: int = 6) -> Path:
    """A file of rollouts, those of different questions interleaved."""
    lines = [
        {"question_id": name, "response": f"{name} says {i}", "model": f"m{i % 2}", "extra": [1]}
        for i in range(each)
        for name in ids
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("check", SAMPLING, ids=lambda check: check.__name__)
async def test_contract(check: Check, tmp_path: Path) -> None:
    await check(ReplayEngine(recorded(tmp_path / "r.jsonl", [f"q{i}" for i in range(10)])))


async def test_rollouts_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    engine = ReplayEngine(recorded(tmp_path / "r.jsonl", ["q1", "q2"]))
    rollouts = await engine.sample(ask(seen_question("q2"), first_index=1, n=2))
    assert [(r.text, r.model, r.tokens, r.finish_reason) for r in rollouts] == [
        ("q2 says 1", "m1", 0, "recorded"),
        ("q2 says 2", "m0", 0, "recorded"),
    ]


@pytest.mark.parametrize(("first", "texts"), [(4, ["q1 says 4", "q1 says 5"]), (6, []), (90, [])])
async def test_fewer_when_they_run_out(first: int, texts: list[str], tmp_path: Path) -> None:
    engine = ReplayEngine(recorded(tmp_path / "r.jsonl", ["q1"]))
    assert [r.text for r in await engine.sample(ask(seen_question("q1"), first_index=first))] == texts


async def test_a_question_without_rollouts_has_none(tmp_path: Path) -> None:
    assert await ReplayEngine(recorded(tmp_path / "r.jsonl", ["q1"])).sample(ask(seen_question("q9"))) == []


async def test_bad_lines_are_listed_and_the_rest_serves(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    good = '{"question_id": 7, "response": "seven"}'
    path.write_text(
        f'{good}\n\n{{"question_id": "7"}}\nnot json\n["list"]\n{good}\n{{"question_id": "7", "response": "to'
    )
    engine = ReplayEngine(path)
    assert [r.text for r in await engine.sample(ask(seen_question("7")))] == ["seven", "seven"]
    assert [(reject.source_id, reject.reason) for reject in engine.rejects] == [
        ("line 3", "not_a_rollout"),
        ("line 4", "torn_line"),
        ("line 5", "not_a_rollout"),
        ("line 7", "torn_line"),
    ]
    assert (await engine.stats()).rejected_lines == 4


async def test_a_model_that_is_not_named_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"question_id": "q1", "response": "x"}')
    assert [r.model for r in await ReplayEngine(path).sample(ask(seen_question()))] == ["unknown"]


@pytest.mark.parametrize("content", [None, "", "torn\n"])
def test_a_file_without_rollouts_stops_at_once(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(EngineError, match="What to do"):
        ReplayEngine(path)


async def test_recorded_rollouts_cannot_be_continued(tmp_path: Path) -> None:
    engine = ReplayEngine(recorded(tmp_path / "r.jsonl", ["q1"]))
    request = ask(seen_question())
    assert not engine.can_continue
    with pytest.raises(ItemRejected, match="engine_cannot_continue"):
        await engine.continue_without_image(ask_on(request, a_rollout(request.question, 0, "a b c d")))


async def test_real_recorded_rollouts(shared_data: Path) -> None:
    engine = ReplayEngine(shared_data / "mathvision" / "rollouts.jsonl")
    assert (engine.recorded, engine.rejected_lines) == (3600, 0)
    assert len(await engine.sample(ask(seen_question("mathvision-5"), n=32))) == 15
