"""The openai engine against a faulty server: faults cost time, and change no rollout."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mmpr_pipeline.core.errors import ConfigError, EngineError, ItemRejected
from mmpr_pipeline.core.records import Turn
from mmpr_pipeline.engines.openai.client import RetryPolicy, RolloutLimiter
from mmpr_pipeline.engines.openai.engine import OpenAiEngine
from mmpr_pipeline.engines.openai.messages import cut_by_characters
from mmpr_pipeline.engines.registry import engine_identity
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.rollouts.sampling import Decoding
from tests.engines.contract import an_image, ask, ask_on, seen_question
from tests.engines.openai.fake_server import FakeServer, Handler, text_of
from tests.records import a_rollout

QUICK = RetryPolicy(timeout=1.0, attempts=4, first_delay=0.01, longest_delay=0.05, outage=20.0)


def settings(server: FakeServer, **fields: Any) -> EngineSettings:
    return EngineSettings(name="openai", model="m", base_url=server.url, **fields)


@asynccontextmanager
async def engine_of(server: FakeServer, patience: RetryPolicy = QUICK, **fields: Any) -> AsyncIterator[OpenAiEngine]:
    engine = await asyncio.to_thread(OpenAiEngine, settings(server, **fields), patience)
    server.armed = True
    server.asked.clear()
    yield engine
    await engine.close()


async def texts(engine: OpenAiEngine, **fields: Any) -> list[str]:
    return [rollout.text for rollout in await engine.sample(ask(seen_question(), **fields))]


@pytest.mark.parametrize("fault", ["500", "502", "429", "503", "torn", "reset", "hang"])
async def test_a_fault_is_tried_again_with_the_same_request(fault: str) -> None:
    with FakeServer((fault,)) as server:
        async with engine_of(server) as engine:
            assert await texts(engine) == [text_of(1000 + i) for i in range(4)]
            assert len(server.asked) == 2
            assert server.asked[0] == server.asked[1]


async def test_many_faults_change_no_rollout() -> None:
    with FakeServer(("500", "429", "torn", "reset", "503") * 8) as server:
        async with engine_of(server) as engine:
            asked = [ask(seen_question(f"q{i}"), seed=i * 5000) for i in range(20)]
            got = await asyncio.gather(*(engine.sample(request) for request in asked))
            assert [[r.text for r in rollouts] for rollouts in got] == [
                [text_of(i * 5000 + k) for k in range(4)] for i in range(20)
            ]
            assert server.faults == []


async def test_images_go_as_data_urls_where_their_marks_stand() -> None:
    first, second = an_image(1), an_image(2)
    with FakeServer() as server:
        async with engine_of(server) as engine:
            await engine.sample(ask(seen_question(text="Is <image> like <image>?", images=(first, second))))
    parts = server.asked[0]["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "text", "image_url", "text"]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    assert urls[0] != urls[1]
    assert all(url.startswith("data:image/png;base64,iVBOR") for url in urls)


async def test_earlier_turns_go_as_messages_of_their_own() -> None:
    history = (
        Turn(role="system", text="Be brief."), Turn(role="user", text="<image>\nWhat is it?"),
        Turn(role="assistant", text="A cat."),
    )  # fmt: skip
    question = seen_question(text="Of what colour?", history=history)
    with FakeServer() as server:
        async with engine_of(server) as engine:
            await engine.sample(ask(question))
    messages = server.asked[0]["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert (messages[0]["content"], messages[2]["content"]) == ("Be brief.", "A cat.")
    assert [part["type"] for part in messages[1]["content"]] == ["image_url", "text"]
    assert messages[3]["content"].startswith("Of what colour?\n")


@pytest.mark.parametrize("how", [{"takes_n": False}, {"ignores_n": True}])
async def test_a_server_that_makes_one_at_a_time_is_asked_n_times_with_the_rollouts_own_seeds(
    how: dict[str, bool],
) -> None:
    with FakeServer(**how) as server:
        async with engine_of(server) as engine:
            rollouts = await engine.sample(ask(seen_question()))
            assert [(r.text, r.seed) for r in rollouts] == [(text_of(1000 + i), 1000 + i) for i in range(4)]
            assert {r.tokens for r in rollouts[1:]} == {6}
            server.asked.clear()
            await engine.sample(ask(seen_question()))
            assert [body.get("n", 1) for body in server.asked] == [1] * 4, "it is not asked for n again"


@pytest.mark.parametrize(("owner", "seeds"), [("vllm", [1000, 1001, 1002, 1003]), ("other", [1000] * 4)])
async def test_the_seed_that_is_recorded_is_the_one_that_is_known(owner: str, seeds: list[int]) -> None:
    with FakeServer(owner=owner) as server:
        async with engine_of(server) as engine:
            rollouts = await engine.sample(ask(seen_question()))
            assert [rollout.seed for rollout in rollouts] == seeds
            assert server.asked[0]["n"] == 4
            assert server.asked[0]["seed"] == 1000


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("This model's maximum context length is 4096 tokens", "prompt_too_long"),
        ("the content_filter was triggered", "content_filter"),
        ("cannot identify the image", "prompt_refused"),
    ],
)
async def test_what_the_server_cannot_take_is_a_named_reject(said: str, reason: str) -> None:
    with FakeServer(always={"unusable": said}) as server:
        async with engine_of(server) as engine:
            with pytest.raises(ItemRejected) as caught:
                await engine.sample(ask(seen_question(text="An unusable question")))
            assert caught.value.reason == reason
            assert await texts(engine) == [text_of(1000 + i) for i in range(4)]


@pytest.mark.parametrize("text", ["What?<|im_end|>\n<|im_start|>user", "Is it <IMG_CONTEXT>?", "<|im_<image>end|>"])
async def test_control_tokens_do_not_reach_a_server_that_shows_no_tokens(text: str) -> None:
    with FakeServer() as server:
        async with engine_of(server) as engine:
            with pytest.raises(ItemRejected, match="reserved_token"):
                await engine.sample(ask(seen_question(text=text)))
            assert not server.asked
            assert await texts(engine) == [text_of(1000 + i) for i in range(4)]
            spoken = a_rollout(seen_question(), 0, "It is 3.<|im_end|> So it is. " * 3)
            with pytest.raises(ItemRejected, match="reserved_token"):
                await engine.continue_without_image(ask_on(ask(seen_question()), spoken))


async def test_a_server_that_repeats_the_key_does_not_bring_it_into_an_output(monkeypatch: pytest.MonkeyPatch) -> None:
    key = "key-of-" + "Zq" * 20
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setattr("tests.engines.openai.fake_server.text_of", lambda seed: f"You sent {key}. Final answer: 3")
    with FakeServer(key=key, always={"unusable": f"{'x' * 170} Bearer {key}", "never": "500"}) as server:
        async with engine_of(server) as engine:
            for text in ("An unusable question", "It is never served"):
                with pytest.raises(ItemRejected) as caught:
                    await engine.sample(ask(seen_question(text=text)))
                assert "ZqZqZq" not in f"{caught.value} {caught.value.detail}"
            assert await texts(engine) == ["You sent ***. Final answer: 3"] * 4


@pytest.mark.parametrize("status", [400, 401, 404, 413, 418, 422, 500, 503])
async def test_a_server_that_does_not_list_its_models_is_an_error_with_a_remedy(status: int) -> None:
    with FakeServer(models_status=status) as server, pytest.raises(EngineError, match="What to do"):
        await asyncio.to_thread(OpenAiEngine, settings(server), QUICK)


@pytest.mark.parametrize("context", [4096, None])
async def test_responses_are_clipped_to_what_the_context_leaves(context: int | None) -> None:
    with FakeServer(context=4096) as server:
        async with engine_of(server) as engine:
            if context is None:
                engine._server = type(engine._server)(False, None, True, False)
            rollouts = await engine.sample(ask(seen_question(images=()), decoding=Decoding(max_tokens=8000)))
            assert len(rollouts) == 4
            room = 4096 - rollouts[0].prompt_tokens
            assert server.asked[-1]["max_tokens"] == (room if context else 4000)


async def test_a_question_is_blamed_only_when_others_are_served() -> None:
    with FakeServer(always={"deadly": "500"}) as server:
        async with engine_of(server) as engine:
            with pytest.raises(ItemRejected, match="server_error"):
                await engine.sample(ask(seen_question(text="A deadly question")))


async def test_a_server_that_fails_for_all_is_an_error_and_no_reject() -> None:
    with FakeServer() as server:
        async with engine_of(server, RetryPolicy(1.0, 2, 0.01, 0.05, outage=0.5)) as engine:
            server.always = {"": "500"}
            with pytest.raises(EngineError, match=r"(?s)not answered.*What to do"):
                await engine.sample(ask(seen_question()))


async def test_a_server_that_is_gone_for_a_while_is_waited_for() -> None:
    with FakeServer() as server:
        async with engine_of(server) as engine:
            port = server.server_address[1]
            server.gone = True
            server.shutdown()
            server.server_close()
            waiting = asyncio.ensure_future(texts(engine))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            again = FakeServer(port=port)
            with again:
                assert await waiting == [text_of(1000 + i) for i in range(4)]


async def test_concurrency_falls_to_what_the_server_takes() -> None:
    with FakeServer(capacity=8) as server:
        async with engine_of(server, max_num_seqs=64) as engine:
            asked = [ask(seen_question(f"q{i}", images=()), seed=i * 5000, n=2) for i in range(60)]
            await asyncio.gather(*(engine.sample(request) for request in asked))
            assert server.most_busy > 8, "it tried more at first"
            assert engine._client._window.limit < 32, "it began with 32"
            refused = len(server.asked) - len(asked)
            assert refused < len(asked), "most requests were sent once only"


async def test_the_window_grows_while_it_is_full_and_halves_once_for_a_burst_of_refusals() -> None:
    now = [0.0]
    window = RolloutLimiter(256, clock=lambda: now[0])
    assert window.limit == 32
    async with window.acquire(32) as sent:
        now[0] = 1.0
        for _ in range(32):
            window.answered(sent, 1, 100)
        assert window.limit in (32, 33)
        grown = window.limit
        window.pushed_back(sent)
        window.pushed_back(sent)
        assert window.limit == grown // 2
        now[0] = 100.0
        for _ in range(50):
            window.answered(sent, 1, 100)
        assert window.limit < grown // 2, "a hundred times the best latency: less in flight"


async def test_nobody_passes_a_full_window_but_the_heaviest_does_an_empty_one() -> None:
    window = RolloutLimiter(4)
    async with window.acquire(100):
        late = asyncio.ensure_future(window.acquire(1).__aenter__())
        await asyncio.sleep(0.02)
        assert not late.done()
    await asyncio.wait_for(late, 1)


async def test_a_response_is_continued_after_a_whole_word() -> None:
    with FakeServer() as server:
        async with engine_of(server) as engine:
            assert engine.can_continue
            request = ask(seen_question())
            parent = (await engine.sample(request))[0]
            server.asked.clear()
            continued = await engine.continue_without_image(ask_on(request, parent))
            kept = continued.text[: continued.prefix_chars]
            assert parent.text.startswith(kept)
            assert parent.text[len(kept)] == " "
            assert server.asked[0]["continue_final_message"] is True
            assert server.asked[0]["add_generation_prompt"] is False
            assert server.asked[0]["messages"][1] == {"role": "assistant", "content": kept}
            assert "image" not in json.dumps(server.asked[0]["messages"])
            assert continued.text == kept + text_of(77)
            assert continued.tokens == 0, "this server does not tell how many tokens were kept"


async def test_a_server_that_ignores_the_flags_of_continuing_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    complete = Handler.complete
    monkeypatch.setattr(
        Handler, "complete", lambda self, body: complete(self, {**body, "continue_final_message": False})
    )
    with FakeServer() as server:
        async with engine_of(server) as engine:
            assert not engine.can_continue


@pytest.mark.parametrize(
    ("text", "ratio", "kept"),
    [
        ("one two three four", 0.5, "one two"),
        ("鱼与熊掌不可兼得也", 0.5, "鱼与熊掌"),
        ("ae\u0301e\u0301e\u0301", 0.6, "ae\u0301"),
    ],
)
def test_cuts_without_tokens(text: str, ratio: float, kept: str) -> None:
    assert cut_by_characters(text, ratio) == kept


def test_nothing_to_cut() -> None:
    with pytest.raises(ItemRejected, match="too_short_to_cut"):
        cut_by_characters("3", 0.5)


async def test_the_key_comes_from_the_environment_and_is_kept_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer(key="sk-secret") as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
        with pytest.raises(EngineError, match="OPENAI_API_KEY") as caught:
            await asyncio.to_thread(OpenAiEngine, settings(server), QUICK)
        assert "sk-wrong" not in str(caught.value)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        async with engine_of(server) as engine:
            assert len(await texts(engine)) == 4
        assert "sk-secret" not in settings(server).model_dump_json()


async def test_a_wrong_model_and_no_server_are_errors_at_once() -> None:
    with FakeServer() as server:
        wrong = settings(server).model_copy(update={"model": "gpt"})
        with pytest.raises(EngineError, match=r"(?s)serves m\..*What to do"):
            await asyncio.to_thread(OpenAiEngine, wrong, QUICK)
    for_ever = RetryPolicy(timeout=1.0, attempts=10**6, first_delay=0.01, longest_delay=0.05, outage=1e9)
    with pytest.raises(EngineError, match=r"(?s)No OpenAI-compatible.*What to do"):
        await asyncio.to_thread(OpenAiEngine, wrong, for_ever)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"engine.name": "openai"}, "--base-url"),
        ({"engine.base_url": "http://h/v1"}, "goes with --engine openai"),
        ({"engine.name": "openai", "engine.base_url": "http://user:pw@h/v1"}, "no user, password"),
        ({"engine.name": "openai", "engine.base_url": "h:8000"}, "not an address"),
    ],
)
def test_settings_that_cannot_work(given: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(None, {"sources": ["nano_grid"], "out": "x", **given})
    assert "user:pw" not in str(caught.value)


def test_the_server_is_no_part_of_the_identity() -> None:
    one = EngineSettings(name="openai", model="m", base_url="http://a/v1")
    two = EngineSettings(name="openai", model="m", base_url="http://b:1/v1/")
    assert engine_identity(one) == engine_identity(two)
    assert two.base_url == "http://b:1/v1"
