"""The openai engine against SGLang's and LMDeploy's protocols, as they are documented."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.engines.engine import choice_probabilities
from mmpr_pipeline.engines.openai.engine import OpenAiEngine
from tests.engines import contract
from tests.engines.contract import an_image, ask, ask_on, seen_question
from tests.engines.openai.documented import Documented, LmdeployHandler, SglangHandler
from tests.engines.openai.fake_server import FakeServer, Handler
from tests.engines.openai.test_openai import QUICK, settings

BOTH = [SglangHandler, LmdeployHandler]
SEEDS_PROMISED = {contract.indices_and_seeds, contract.a_round_is_a_slice}
"""What holds only where completion i of a request has seed + i."""


@asynccontextmanager
async def engine_of(handler: type[Handler]) -> AsyncIterator[tuple[OpenAiEngine, FakeServer]]:
    with FakeServer(handler=handler) as server:
        engine = await asyncio.to_thread(OpenAiEngine, settings(server), QUICK)
        server.asked.clear()
        yield engine, server
        await engine.close()


@pytest.mark.parametrize("handler", BOTH)
async def test_contract(handler: type[Documented]) -> None:
    checks = [*contract.SAMPLING, *contract.CONTINUING]
    async with engine_of(handler) as (engine, _):
        assert engine.can_continue
        for check in checks:
            if handler is LmdeployHandler or check not in SEEDS_PROMISED:
                await check(engine)


async def test_seeds_are_recorded_as_the_server_uses_them() -> None:
    for handler, seeds in ((SglangHandler, [1000] * 4), (LmdeployHandler, [1000, 1001, 1002, 1003])):
        async with engine_of(handler) as (engine, _):
            assert [rollout.seed for rollout in await engine.sample(ask(seen_question()))] == seeds


@pytest.mark.parametrize(("handler", "top_k"), [(SglangHandler, -1), (LmdeployHandler, 0)])
async def test_the_models_own_truncations_are_turned_off_in_each_servers_words(
    handler: type[Documented], top_k: int
) -> None:
    """Left out, LMDeploy samples from 40 tokens, and SGLang from what generation_config.json says."""
    async with engine_of(handler) as (engine, server):
        await engine.sample(ask(seen_question()))
        assert [(body["top_k"], body["min_p"], body["repetition_penalty"]) for body in server.asked] == [
            (top_k, 0.0, 1.0)
        ]


@pytest.mark.parametrize("handler", BOTH)
async def test_images_go_as_image_urls_in_their_places(handler: type[Documented]) -> None:
    images = (an_image(1), an_image(2))
    async with engine_of(handler) as (engine, server):
        rollouts = await engine.sample(ask(seen_question(text="Is <image> like <image>?", images=images)))
        kinds = [part["type"] for part in server.asked[0]["messages"][0]["content"]]
        assert [kind for kind in kinds if kind != "text"] == ["image_url"] * 2
        assert rollouts[0].prompt_tokens > 2 * 256


async def test_sglang_cuts_between_its_tokens_and_lmdeploy_after_a_word() -> None:
    request = ask(seen_question())
    for handler, counted in ((SglangHandler, True), (LmdeployHandler, False)):
        async with engine_of(handler) as (engine, _):
            parent = (await engine.sample(request))[0]
            continued = await engine.continue_without_image(ask_on(request, parent))
            kept = continued.text[: continued.prefix_chars]
            assert parent.text.startswith(kept)
            assert parent.text[len(kept)] == " ", "at the end of a word"
            assert bool(continued.tokens) == counted


async def test_probabilities_are_read_of_sglang_and_refused_by_an_lmdeploy_without_logprobs_mode() -> None:
    question = seen_question()
    words = ("Yes", "No")
    async with engine_of(SglangHandler) as (engine, _):
        yes, no = await choice_probabilities(engine, question, "<image>\nIs it?", words, "v")
        assert yes == pytest.approx(0.8187, abs=1e-3)
        assert 0.2 < no < 0.25
    async with engine_of(LmdeployHandler) as (engine, _):
        with pytest.raises(ItemRejected, match="logprobs_mode"):
            await choice_probabilities(engine, question, "<image>\nIs it?", words, "v")


class Deaf(LmdeployHandler):
    """Opens a turn after that of the assistant, whatever it is asked."""

    def continues(self, body: dict[str, object]) -> bool:
        return False


async def test_a_server_that_goes_on_with_no_response_is_found_out() -> None:
    async with engine_of(Deaf) as (engine, _):
        assert not engine.can_continue
