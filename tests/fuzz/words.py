"""Hostile text through prompts, tokenizer, checker, viewer and card: nothing is raised or run, or takes long."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, get_args

from mmpr_pipeline.checking import check_question
from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.core.masking import masked
from mmpr_pipeline.core.records import AnswerKind, Question, QuestionOutcome
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.summary import summarise
from mmpr_pipeline.dataset.publish.card import dataset_card
from mmpr_pipeline.dataset.review.facts import facts_of
from mmpr_pipeline.models.resolve import NANO_CHECKPOINT
from mmpr_pipeline.report.viewer.browse import Library
from mmpr_pipeline.report.viewer.server import make_app
from mmpr_pipeline.rollouts.prompts import IMAGE_MARK, prompt_for, without_images
from mmpr_pipeline.rollouts.reserved import ReservedTokens, plain_encoder
from mmpr_pipeline.sources.rows.columns import clean, place_marks
from mmpr_pipeline.sources.rows.instructions import strip_instruction
from mmpr_pipeline.storage import open_store
from tests.dataset.conftest import IDENTITY, make_outcome, write_shard
from tests.fuzz.texts import hostile_text
from tests.records import a_question

KINDS: tuple[str, ...] = get_args(AnswerKind)
SLOW = 3.0
"""Processor seconds that one text may take of any of them; the longest that were seen are a tenth of it."""


@cache
def _tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(NANO_CHECKPOINT, trust_remote_code=False)


def text(draw: random.Random) -> str:
    """A hostile text as a source lets it through: what UTF-8 can write, without NUL."""
    return clean(hostile_text(draw)).replace("\0", "")[:20_000] or "?"


def try_texts(count: int, seed: int) -> tuple[Counter[str], float]:
    """Put `count` questions and responses through prompts, tokenizer, checker: what was seen, the longest seconds."""
    draw, seen, longest = random.Random(seed), Counter[str](), 0.0
    reserved, plain = ReservedTokens(_tokenizer()), plain_encoder(_tokenizer())
    added = set(_tokenizer().added_tokens_decoder)
    for number in range(count):
        began = time.process_time()
        asked, said, gold = text(draw), text(draw), text(draw)[:200]
        kind = KINDS[number % len(KINDS)]
        choices = tuple(text(draw)[:100] for _ in range(draw.randint(2, 6))) if kind == "choice" else ()
        try:
            placed, _ = place_marks(asked, images := draw.randint(0, 3))
        except ItemRejected as reject:
            seen[reject.reason] += 1
            continue
        question = a_question(text=strip_instruction(placed).text, kind=kind, choices=choices, answer=gold)
        seen[prompted(question, images, reserved)] += 1
        assert not set(plain(said)) & added, "a response became a control token"
        verdict = check_question(question.model_copy(update={"answer": "A" if choices else gold}), said)
        seen[verdict.outcome] += 1
        masked(said)
        longest = max(longest, time.process_time() - began)
    return seen, longest


def prompted(question: Question, images: int, reserved: ReservedTokens) -> str:
    """Whether a question is asked or refused, by the tokens that the chat of it would become."""
    turn = prompt_for(question, "cot-final").text
    blind = without_images(turn)
    assert turn.count(IMAGE_MARK) <= images or question.choices
    try:
        reserved.refuse(turn)
    except ItemRejected as reject:
        return reject.reason
    ids = _tokenizer()(blind, add_special_tokens=False)["input_ids"]
    assert not set(ids) & set(_tokenizer().added_tokens_decoder), blind
    return "asked"


def hostile_outcome(number: int, draw: random.Random) -> QuestionOutcome:
    """A made outcome of which every text is hostile."""
    made = make_outcome(number)
    names = {"source": text(draw)[:60], "source_id": text(draw)[:60]}
    rollouts = tuple(
        r.model_copy(update={**names, "text": text(draw), "extracted": text(draw)[:100], "model": text(draw)[:60]})
        for r in made.rollouts
    )
    row = made.row.model_copy(update={**names, "text": text(draw), "prompt": text(draw), "detail": text(draw)[:300]})
    pairs = tuple(
        p.model_copy(update={**names, "chosen": text(draw), "rejected": text(draw), "prompt": text(draw)})
        for p in made.pairs
    )
    return dataclasses.replace(made, row=row, rollouts=rollouts, pairs=pairs)


def try_pages(count: int, seed: int, folder: Path) -> Counter[str]:
    """A dataset of `count` hostile questions in the viewer and on the card: every answer is data, none is markup."""
    from starlette.testclient import TestClient

    draw, seen = random.Random(seed), Counter[str]()
    store = open_store(folder / "out")
    store.write(layout.CONFIG, json_bytes({"digest": IDENTITY, "identity": {"x": text(draw)}}))
    write_shard(store, 0, 1, [hostile_outcome(number, draw) for number in range(count)])
    store.write(layout.SUMMARY, json_bytes(summarise(store, 1)))
    browser = TestClient(make_app(Library(folder / "out")), base_url="http://127.0.0.1:8123")
    for address in ("/api/overview", "/api/question?shard=0&row=0", f"/api/search?text={'%3C' * 50}&from=0"):
        answer = browser.get(address)
        seen[str(answer.status_code)] += 1
        if answer.status_code == 200:
            json.loads(answer.text)
            assert answer.headers["content-type"].startswith("application/json")
            assert answer.headers["x-content-type-options"] == "nosniff"
    card = dataset_card(facts_of(folder / "out"), "me/pairs", "https://hub/me/pairs", 1000, 5000)
    assert not re.search(r"<(?:script|img|style|iframe|svg)\b", _outside_code(card), re.IGNORECASE)
    seen["card"] += 1
    return seen


def _outside_code(card: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", card.partition("\n---\n")[2], flags=re.DOTALL))
