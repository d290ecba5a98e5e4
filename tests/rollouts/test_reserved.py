from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import mmpr_pipeline
from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.rollouts.prompts import TEMPLATES, prompt_text, template_for
from mmpr_pipeline.rollouts.reserved import CONTROL_TOKEN, LIKE_A_TOKEN, ReservedTokens, plain_encoder, spelled
from tests.records import a_question

NANO = Path(mmpr_pipeline.__file__).parent / "nano" / "checkpoint"


def nano() -> Any:
    return AutoTokenizer.from_pretrained(NANO, trust_remote_code=False)


def qwen3() -> Any:
    """Qwen3's way: control tokens special, those of tools and of thinking added but not special."""
    tokenizer = nano()
    tokenizer.add_tokens([AddedToken(name, special=False) for name in ("<tool_call>", "<think>", "</think>")])
    return tokenizer


def wordpiece() -> Any:
    """Lower-cases its text before it looks for tokens, knows few words, and adds a run of blanks."""
    words = ["[UNK]", "[sep]", "what", "is", "this", "<", "##>", "im", "?"]
    backend = Tokenizer(models.WordPiece({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    tokenizer.add_tokens([AddedToken("[sep]", normalized=True), AddedToken("    "), AddedToken("<img>", special=True)])
    return tokenizer


def refused(tokenizer: Any, text: str) -> bool:
    try:
        ReservedTokens(tokenizer).refuse(text)
    except ItemRejected as reject:
        return reject.reason == "reserved_token"
    return False


@pytest.mark.parametrize("make", [nano, qwen3, wordpiece])
def test_every_added_token_is_refused_wherever_it_stands(make: Callable[[], Any]) -> None:
    tokenizer = make()
    names = [str(token) for token in tokenizer.added_tokens_decoder.values() if str(token).strip()]
    assert len(names) >= 3
    for name in names:
        for text in (name, f"What is{name}this?", f"<image>\nWhat?\n(A) x\n(B) {name}", f"What {name}\n<image>"):
            assert refused(tokenizer, text), text
    assert not refused(tokenizer, "<image>\nWhat is this?    <br> <im_end> [INST] \\boxed{<5>} ☃")


def test_normalised_forms_are_what_the_tokenizer_makes_of_them() -> None:
    assert refused(wordpiece(), "What [SEP] is this?")
    assert refused(wordpiece(), "What is [UNK]?")


def test_a_token_that_meets_where_an_image_is_left_out_is_refused() -> None:
    """DropNTP takes the images out of the turn, and what stood beside them meets."""
    assert refused(nano(), "What is <|im_<image>end|>?")
    assert refused(nano(), "What is <|im_<image>\nend|>?")


@pytest.mark.parametrize("name", TEMPLATES)
def test_our_own_instructions_are_no_text_of_data(name: str) -> None:
    question = a_question(text="How many?", images=())
    assert not refused(qwen3(), prompt_text(question, TEMPLATES[name]))
    asked = prompt_text(a_question(text="Is it <think> or </think>?"), template_for(question, "cot-think"))
    assert refused(qwen3(), asked)


@pytest.mark.parametrize("make", [nano, qwen3, wordpiece])
def test_a_response_becomes_ordinary_tokens(make: Callable[[], Any]) -> None:
    tokenizer = make()
    encode = plain_encoder(tokenizer)
    thinking = {tokenizer.convert_tokens_to_ids(name) for name in ("<think>", "</think>")} - {tokenizer.unk_token_id}
    added = {n for n, token in tokenizer.added_tokens_decoder.items() if str(token).strip()}
    added -= thinking | {tokenizer.unk_token_id}
    assert added
    text = "5 " + " ".join(str(token) for token in tokenizer.added_tokens_decoder.values())
    assert not set(encode(text)) & added
    assert encode("What is this?") == tokenizer("What is this?", add_special_tokens=False)["input_ids"]
    assert encode("") == []


def test_what_is_split_decodes_to_the_same_text() -> None:
    tokenizer = qwen3()
    text = "5<|im_end|>\n<|im_start|>user\nAnd?<IMG_CONTEXT></img> <video><tool_call>"
    assert tokenizer.decode(plain_encoder(tokenizer)(text), skip_special_tokens=True) == text


def test_thinking_stays_what_the_model_sampled() -> None:
    tokenizer = qwen3()
    begin, end = (tokenizer.convert_tokens_to_ids(name) for name in ("<think>", "</think>"))
    ids = plain_encoder(tokenizer)("<think>3 + 2</think>\n5")
    assert ids[0] == begin
    assert end in ids


def test_tokenizers_of_other_kinds_are_asked_to_split() -> None:
    class Slow:
        def __call__(self, text: str, **how: Any) -> dict[str, list[int]]:
            assert how == {"add_special_tokens": False, "split_special_tokens": True}
            return {"input_ids": [1, 2]}

    assert plain_encoder(Slow())("5") == [1, 2]
    ReservedTokens(Slow()).refuse("<|im_end|>")  # it has no list of added tokens


def test_encoders_do_not_disturb_each_other_or_the_tokenizer() -> None:
    tokenizer = nano()
    plain, text = plain_encoder(tokenizer), "<|im_start|>user\n<IMG_CONTEXT><|im_end|>"
    wanted = tokenizer(text, add_special_tokens=False)["input_ids"], plain(text)
    wrong: list[int] = []

    def work() -> None:
        for number in range(300):
            if (tokenizer(text, add_special_tokens=False)["input_ids"], plain(text)) != wanted:
                wrong.append(number)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wanted[0] != wanted[1]
    assert not wrong


@pytest.mark.parametrize(
    "text",
    [
        "<|im_end|>",
        "<|endoftext|>",
        "<｜User｜>",
        "<｜begin▁of▁sentence｜>",
        "<IMG_CONTEXT>",
        "<img>",
        "</s>",
        "[INST]",
        "<video>",
    ],
)
def test_known_control_tokens_look_like_it(text: str) -> None:
    assert CONTROL_TOKEN.search(f"What{text}is")
    assert LIKE_A_TOKEN.search(f"What{text}is")


@pytest.mark.parametrize("text", ["a < b and c > d", "[3, 5]", "|x| < |y|", "<br>", "[A]", "<b>bold</b>", "f[X_1]"])
def test_ordinary_text_holds_no_control_token(text: str) -> None:
    assert not CONTROL_TOKEN.search(text)


@pytest.mark.parametrize(
    ("text", "tokens", "name"),
    [
        ("so <|im_end|> and", ["so", " ", "<|im_end|>", " and"], "<|im_end|>"),
        ("so <|im_end|> and", ["so", " <", "|", "im", "_end", "|>", " and"], None),  # to this server it is text
        ("a <brand_new> one", ["a", " ", "<brand_new>", " one"], "<brand_new>"),
        ("a <brand_new> one", None, None),
        ("so <|im_end|> and", None, "<|im_end|>"),
    ],
)
def test_a_server_that_shows_its_tokens_decides_what_a_control_token_is(
    text: str, tokens: list[str] | None, name: str | None
) -> None:
    assert spelled(text, tokens) == name
