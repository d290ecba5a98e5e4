"""Names of requests in journals: what is sampled beside a question is told apart, also where responses begin alike."""

from __future__ import annotations

from pathlib import Path

from mmpr_pipeline.engines.engine import SampleRequest, request_name
from mmpr_pipeline.engines.journalled import JournalledEngine
from mmpr_pipeline.engines.scripted.engine import ScriptedEngine, parse_script
from mmpr_pipeline.rollouts.prompts import BLIND, STEP, aside_label
from mmpr_pipeline.storage import Journal, open_store
from tests.records import a_question


def completing(first: int, prefix: str = "I see.\n", label: str = STEP) -> SampleRequest:
    return SampleRequest(
        question=a_question(), prompt="How many?", prompt_version=aside_label("cot-final-en@1", label), n=2,
        seed=50 + first, first_index=first, prefix=prefix,
    )  # fmt: skip


def test_every_request_of_a_question_has_a_name_of_its_own() -> None:
    own = SampleRequest(question=a_question(), prompt="How many?", prompt_version="cot-final-en@1", n=2, seed=1)
    requests = [own, own.model_copy(update={"round": 1}), completing(4), completing(6), completing(4, "I saw.\n"),
                completing(4, label=BLIND)]  # fmt: skip
    assert len({request_name(request) for request in requests}) == len(requests)
    assert request_name(own) == "sample/0"


async def test_two_responses_that_begin_alike_get_their_own_completions_back(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    first, second = completing(4), completing(6)
    engine = JournalledEngine(ScriptedEngine(parse_script({})), Journal(store, "journal/0", "plan", "manifests/0"))
    made = [await engine.sample(first), await engine.sample(second)]
    await engine.close()
    again = JournalledEngine(ScriptedEngine(parse_script({})), Journal(store, "journal/0", "plan", "manifests/0"))
    kept = [await again.sample(first), await again.sample(second)]
    assert kept == made
    assert again.resumed_rollouts == 4
    await again.close()
