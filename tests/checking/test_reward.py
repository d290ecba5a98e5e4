"""The checker as a reward, in the shapes of TRL and verl."""

from __future__ import annotations

import pytest

from mmpr_pipeline.checking.reward import compute_score, text_of, trl_reward


def test_trl_takes_completions_solutions_and_columns() -> None:
    reward = trl_reward()
    completions = [
        "So the answer is 5.",
        [{"role": "assistant", "content": "The answer is 6."}],
        "I do not know.",
        "(B)",
    ]
    rewards = reward(
        completions=completions,
        solution=["5", "5", "5", "B"],
        kind=["number", "number", "number", "choice"],
        choices=[None, None, None, ["one", "two"]],
        prompts=["?"] * 4,
    )
    assert rewards[:2] == [1.0, 0.0]
    assert rewards[3] == 1.0


def test_a_doubtful_answer_is_worth_what_the_setting_says() -> None:
    doubtful = {"completions": ["Is it 5 or 6?"], "solution": ["5"], "kind": ["number"]}
    assert trl_reward()(**doubtful) == [None]
    assert trl_reward(doubtful=0.25)(**doubtful) == [0.25]


def test_as_many_solutions_as_completions() -> None:
    with pytest.raises(ValueError, match="zip"):
        trl_reward()(completions=["5"], solution=[])


def test_verl_gets_a_number() -> None:
    assert compute_score("gsm8k", "#### 5", "5", {"kind": "number", "split": "train"}) == 1.0
    assert compute_score("gsm8k", "#### 6", "5") == 0.0
    assert compute_score("gsm8k", "Is it 5 or 6?", "5", {"kind": "number"}, doubtful=0.5) == 0.5


def test_messages_with_parts() -> None:
    assert text_of([{"role": "assistant", "content": [{"type": "text", "text": "5"}]}]) == "5"
    assert text_of([]) == ""
