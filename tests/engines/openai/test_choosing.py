"""`choice_probabilities` over OpenAI's protocol: the likeliest first tokens, with the image."""

from __future__ import annotations

import pytest

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.engines.engine import choice_probabilities
from mmpr_pipeline.engines.openai.engine import OpenAiEngine
from mmpr_pipeline.engines.settings import EngineSettings
from tests.engines.contract import an_image
from tests.evaluation.judge_server import JudgeServer
from tests.records import a_question


async def test_probabilities_come_from_the_first_token() -> None:
    with JudgeServer(lambda text, body: "Yes") as server:
        server.logprobs = [
            {"token": "Yes", "logprob": -0.2},
            {"token": " no", "logprob": -1.9},
            {"token": "It", "logprob": -4},
        ]
        engine = OpenAiEngine(EngineSettings(name="openai", model="judge", base_url=server.url))
        asked = a_question(kind="none", answer=None, images=(an_image(),))
        found = await choice_probabilities(engine, asked, "<image>\nIs it? Answer yes or no.", ("yes", "no"), "v")
        assert found == [pytest.approx(0.818731), pytest.approx(0.149569)]
        [body] = server.asked
        assert (body["logprobs"], body["top_logprobs"], body["max_tokens"]) == (True, 20, 1)
        assert [part["type"] for part in body["messages"][0]["content"]] == ["image_url", "text"]
        await engine.close()


async def test_a_server_that_tells_none_rejects_the_question_by_name() -> None:
    with JudgeServer(lambda text, body: "Yes") as server:
        engine = OpenAiEngine(EngineSettings(name="openai", model="judge", base_url=server.url))
        with pytest.raises(ItemRejected, match="no_choice"):
            await choice_probabilities(engine, a_question(kind="none", answer=None), "Is it?", ("yes", "no"), "v")
        await engine.close()
