from __future__ import annotations

import pytest

from mmpr_pipeline.core.errors import ConfigError, ItemRejected
from mmpr_pipeline.engines.scripted.engine import Script, ScriptedEngine, parse_script
from mmpr_pipeline.rollouts.sampling import Decoding
from tests.engines.contract import CONTINUING, SAMPLING, Check, ask, ask_on, seen_question
from tests.records import a_rollout


@pytest.mark.parametrize("check", [*SAMPLING, *CONTINUING], ids=lambda check: check.__name__)
async def test_contract(check: Check) -> None:
    await check(ScriptedEngine(Script()))


async def share_right(solve_rate: float, extremes: float) -> list[float]:
    """Share of right answers of each of 200 questions."""
    engine = ScriptedEngine(Script(solve_rate=solve_rate, extremes=extremes, unparseable_rate=0))
    shares = []
    for i in range(200):
        question = seen_question(f"q{i}", images=(), answer="12")
        rollouts = await engine.sample(ask(question, n=32, decoding=Decoding()))
        shares.append(sum(rollout.text.endswith("Final answer: 12") for rollout in rollouts) / 32)
    return shares


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5, 0.9, 1.0])
async def test_solve_rate_is_kept(rate: float) -> None:
    shares = await share_right(rate, extremes=0.2)
    assert sum(shares) / len(shares) == pytest.approx(rate, abs=0.07)


async def test_some_questions_are_always_right_or_always_wrong() -> None:
    shares = await share_right(0.5, extremes=0.4)
    assert 15 < shares.count(0.0) < 70
    assert 15 < shares.count(1.0) < 70


@pytest.mark.parametrize(
    ("fields", "right"),
    [
        ({"kind": "choice", "choices": ("red", "blue", "green"), "answer": "B"}, "B"),
        ({"kind": "choice", "choices": ("red", "blue", "green"), "answer": "blue"}, "blue"),
        ({"kind": "number", "answer": "0.5"}, "0.5"),
        ({"kind": "yes_no", "answer": "Yes"}, "Yes"),
        ({"kind": "text", "answer": "Paris"}, "Paris"),
        ({"kind": "math", "answer": "2\\sqrt{3}"}, "2\\sqrt{3}"),
    ],
)
async def test_wrong_answers_are_wrong(fields: dict[str, object], right: str) -> None:
    engine = ScriptedEngine(Script(solve_rate=0, extremes=0, unparseable_rate=0))
    rollouts = await engine.sample(ask(seen_question(images=(), **fields), n=64, decoding=Decoding()))
    answers = {rollout.text.split("Final answer: ")[1] for rollout in rollouts}
    assert right not in answers
    if right == "blue":
        assert answers <= {"A", "C"}
    if fields["kind"] == "number":
        assert all(abs(float(answer) - 0.5) >= 0.05 for answer in answers)


@pytest.mark.parametrize(
    ("version", "ending"),
    [
        ("cot-final-en@1", "\nFinal answer: 3"),
        ("cot-boxed-en@1", "\n\\boxed{3}"),
        ("cot-final-zh@1", "\n最终答案：3"),
        ("direct-en@1", "3"),
    ],
)
async def test_answers_are_stated_as_the_prompt_asks(version: str, ending: str) -> None:
    engine = ScriptedEngine(Script(solve_rate=1, extremes=0, unparseable_rate=0))
    language = "zh" if "zh" in version else "en"
    request = ask(seen_question(language=language), prompt_version=version, decoding=Decoding())
    assert all(rollout.text.endswith(ending) for rollout in await engine.sample(request))


async def test_open_ended_questions_get_prose() -> None:
    request = ask(seen_question(kind="none", answer=None), decoding=Decoding())
    rollouts = await ScriptedEngine(Script()).sample(request)
    assert not any("answer" in rollout.text.lower() for rollout in rollouts)
    assert len({rollout.text for rollout in rollouts}) == 4


async def test_one_chain_of_thought_makes_right_texts_equal() -> None:
    engine = ScriptedEngine(Script(solve_rate=1, extremes=0, unparseable_rate=0, variety=1))
    assert len({rollout.text for rollout in await engine.sample(ask(seen_question(), n=16))}) == 1


async def test_long_responses_end_by_length() -> None:
    rollouts = await ScriptedEngine(Script(tokens=100)).sample(ask(seen_question()))
    assert {(rollout.tokens, rollout.finish_reason) for rollout in rollouts} == {(24, "length")}


async def test_chinese_is_cut_between_characters() -> None:
    request = ask(seen_question(language="zh", answer="3"), decoding=Decoding())
    parent = a_rollout(request.question, 0, "一二三四五六七八九十")
    continued = await ScriptedEngine(Script()).continue_without_image(ask_on(request, parent))
    assert continued.text[: continued.prefix_chars] == "一二三四五"


async def test_a_single_token_cannot_be_cut() -> None:
    request = ask(seen_question())
    with pytest.raises(ItemRejected, match="too_short_to_cut"):
        await ScriptedEngine(Script()).continue_without_image(ask_on(request, a_rollout(request.question, 0, "yes")))


async def test_named_questions_are_refused() -> None:
    engine = ScriptedEngine(Script(fail_on=("q7",), fail_reason="prompt_too_long"))
    assert len(await engine.sample(ask(seen_question("q8")))) == 4
    with pytest.raises(ItemRejected, match="prompt_too_long"):
        await engine.sample(ask(seen_question("q7")))


@pytest.mark.parametrize("script", [{"solve_rat": 1}, {"solve_rate": 2}, {"kill_after": 3}])
def test_a_wrong_script_is_named(script: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(script))):
        parse_script(script)
