"""How a question is sampled: how many rollouts, in which rounds, with which seeds; the verdict on each; the settings.

Rounds go on as long as that is worth more than it costs. Of n rollouts with c correct and w incorrect ones, min(most
pairs, c*w) pairs can be made. What further rollouts would add follows from what is known of the question's solve rate
p: with a Beta(a, b) prior on p, after c and w it is Beta(a + c, b + w), and the number of correct ones among m further
is beta-binomial (conjugacy; Gelman et al., "Bayesian Data Analysis", section 2.4). A rollout costs a price, in pairs.
The rule is the one that makes the most of expected pairs less the price of the rollouts: sequential decisions with a
cost for each observation, solved exactly by backward induction from the last rollout allowed (DeGroot 1970, "Optimal
Statistical Decisions", chapter 12).

    V(c, w, left) = max( min(most, c*w),  max over m of E[ V(c + k, w + m - k, left - m) ] - price m - round price )

with k ~ beta-binomial(m), and the m that makes the most of it is sampled next, if any does. A round has a price too: it
is waited for, and reads the prompt again. So a question that is nearly done is asked for little, one that will need
much for much at once. Both prices are shares of max pairs / most rollouts, which flat sampling pays at best: so as much
of what could be had is kept where 4 pairs are wanted as where it is 15. The rule sees only counts of verdicts, never
the texts, and a round is always waited for as a whole, so it cannot favour short responses.

Seeds: every random choice follows from the build's seed and the question's id, never from order or time. A question
owns one window of consecutive seeds that starts at a hash of its id. Its rounds and its continuations take disjoint
parts of that window, so that no two of a question's rollouts ever share a seed; two questions' windows are random
points below 2**62, and where they do overlap their prompts still differ. The start is not rounded to a power of two:
torch's CPU generator looks at the low 32 bits only, and those must differ as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import ceil, exp, lgamma, sqrt
from typing import NamedTuple

from pydantic import Field

from mmpr_pipeline.checking import CHECKER, check_question
from mmpr_pipeline.core.records import CheckedRollout, Question, Record, Rollout
from mmpr_pipeline.core.settings import SAMPLING, Settings, flag
from mmpr_pipeline.core.verdict import Outcome, Verdict
from mmpr_pipeline.rollouts.prompts import THINK_END, THINKS, PromptLanguage, Style

PRIOR = (0.5, 0.5)
"""Jeffreys' prior on the solve rate: most questions are either easy or hard for a model."""

HORIZON = 64
"""Rollouts that the rule looks ahead, at most: what lies further is not counted."""

_YIELDS = 8  # yields are told apart in eighths, so that few different decisions have to be worked out


def next_round(
    correct: int,
    incorrect: int,
    sampled: int,
    *,
    most: int,
    round_size: int,
    max_pairs: int,
    price: float,
    round_price: float = 0.0,
) -> int:
    """Rollouts to sample next; 0 to stop.

    `correct` and `incorrect` count distinct usable rollouts, `sampled` all so far; `most` is the limit for the
    question, `round_size` the smallest round; `price` and `round_price` are what a rollout and a round cost, as shares
    of `max_pairs / most`: of what each rollout of a question brings that takes all of them and makes all its pairs.
    """
    left = most - sampled
    if left <= 0 or correct * incorrect >= max_pairs:
        return 0
    if sampled == 0:
        return min(first_round(max_pairs), left)
    # Unparseable and repeated rollouts thin out what a further one brings: fewer usable ones are left, at more each.
    usable = max(1, round(_YIELDS * (correct + incorrect + 0.5) / (sampled + 0.5))) / _YIELDS
    share = max_pairs / most
    rule = Rule(round_size, max_pairs, price * share / usable, round_price * share)
    gain, more = _going_on(correct, incorrect, min(HORIZON, ceil(left * usable)), rule)
    return min(more, left) if gain > correct * incorrect else 0


class Rule(NamedTuple):
    """What decides: the smallest round, the most pairs, and the prices of a usable rollout and of a round, in pairs."""

    round_size: int
    max_pairs: int
    price: float
    round_price: float


def first_round(max_pairs: int) -> int:
    """The fewest rollouts that can make all pairs: half of them correct, half not."""
    return ceil(2 * sqrt(max_pairs))


@lru_cache(maxsize=1 << 17)
def _going_on(correct: int, incorrect: int, left: int, rule: Rule) -> tuple[float, int]:
    """Expected pairs, less what they cost, of the best next round and the best decisions after it; and its size."""
    # Rounds that are considered: the smallest, twice that, and so on, as far as there are rollouts left.
    sizes = [rule.round_size]
    while sizes[-1] < left:
        sizes.append(2 * sizes[-1])
    sizes[-1] = min(sizes[-1], left)
    return max((_worth(correct, incorrect, left, more, rule), more) for more in sizes)


def _worth(correct: int, incorrect: int, left: int, more: int, rule: Rule) -> float:
    chances = _chances(more, PRIOR[0] + correct, PRIOR[1] + incorrect)
    after = (chance * _best(correct + k, incorrect + more - k, left - more, rule) for k, chance in enumerate(chances))
    return sum(after) - rule.price * more - rule.round_price


def _best(correct: int, incorrect: int, left: int, rule: Rule) -> float:
    now = min(rule.max_pairs, correct * incorrect)
    if not left or now == rule.max_pairs:
        return now
    return max(now, _going_on(correct, incorrect, left, rule)[0])


@lru_cache(maxsize=1 << 15)
def _chances(n: int, a: float, b: float) -> tuple[float, ...]:
    """Probabilities of 0 to n successes in n draws whose rate is Beta(a, b)."""
    chances = []
    for k in range(n + 1):
        choose = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
        chances.append(exp(choose + _log_beta(k + a, n - k + b) - _log_beta(a, b)))
    return tuple(chances)


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


# ---- seeds

ROUND_STRIDE = 4096
"""Seeds reserved for each round: more than the most rollouts that settings allow for one question (1,024)."""

MAX_ROUNDS = 1024
"""Rounds that a question's window has room for."""

_CONTINUATIONS = ROUND_STRIDE * MAX_ROUNDS
_WINDOW = 2 * _CONTINUATIONS
_SPAN = 2**62 - _WINDOW


def sampling_seed(build_seed: int, question_id: str, round: int) -> int:
    """Seed of the first rollout of a round; rollout i of the round has this plus i. Below 2**62."""
    if not 0 <= round < MAX_ROUNDS:
        raise ValueError(f"round {round} is outside 0..{MAX_ROUNDS - 1}")
    digest = hashlib.sha256(f"sampling/{build_seed}/{question_id}".encode()).digest()
    return int.from_bytes(digest[:16], "big") % _SPAN + round * ROUND_STRIDE


def continuation_seed(build_seed: int, question_id: str, index: int) -> int:
    """Seed of the continuation (DropNTP) with this rollout index. Below 2**62."""
    if not 0 <= index < _CONTINUATIONS:
        raise ValueError(f"index {index} is outside 0..{_CONTINUATIONS - 1}")
    return sampling_seed(build_seed, question_id, 0) + _CONTINUATIONS + index


# ---- verdicts

TRUNCATED = Verdict(outcome="unparseable", rule="cut_off", checker=CHECKER)
MISSING_THINK_END = Verdict(outcome="unparseable", rule="no_thinking", checker=CHECKER)
"""Thinking was asked for and never ended: whatever the answer, such a response would be learned from wrongly."""


Marks = Mapping[tuple[str, int], Outcome]
"""Outcomes that people set, by question id and rollout index; they stand above the checker's."""


def check_rollouts(question: Question, rollouts: Sequence[Rollout], marks: Marks) -> list[CheckedRollout]:
    """Each rollout with its verdict; without one where the question has no answer to check against."""
    checked = []
    for rollout in rollouts:
        marked = marks.get((rollout.question_id, rollout.index))
        if question.kind == "none":
            verdict = Verdict(outcome=marked, rule="marked", checker=CHECKER) if marked else None
        else:
            verdict = unusable_verdict(rollout) or check_question(question, rollout.text)
            verdict = replace(verdict, outcome=marked, rule="marked") if marked else verdict
        checked.append(
            CheckedRollout(
                **rollout.__dict__,
                source=question.source,
                source_id=question.source_id,
                outcome=verdict.outcome if verdict else None,
                extracted=verdict.extracted if verdict else None,
                rule=verdict.rule if verdict else None,
                checker=verdict.checker if verdict else None,
            )
        )
    return checked


def unusable_verdict(rollout: Rollout) -> Verdict | None:
    """The verdict on a response that did not end, or whose thinking did not; None for all others."""
    if rollout.finish_reason == "length":
        return TRUNCATED
    return MISSING_THINK_END if rollout.prompt_version.startswith(THINKS) and THINK_END not in rollout.text else None


# ---- settings


class Decoding(Record):
    """How to sample; the paper: temperature 1.0, no truncation of the distribution."""

    temperature: float = Field(
        default=1.0,
        ge=0,
        description="Softmax temperature; 0 takes the likeliest token.",
        json_schema_extra=flag("--temperature", SAMPLING),
    )
    top_p: float = Field(default=1.0, gt=0, le=1, description="Nucleus mass; 1 keeps the whole distribution.")
    max_tokens: int = Field(
        default=2048,
        ge=1,
        description="Maximum length of a response.",
        json_schema_extra=flag("--max-tokens", SAMPLING, unit="tokens"),
    )


class SamplingSettings(Settings):
    """How many rollouts, and how."""

    samples: int = Field(
        default=32,
        ge=1,
        le=1024,
        description="Maximum rollouts per question (paper: 32).",
        json_schema_extra=flag("--samples", SAMPLING, unit="rollouts"),
    )
    adaptive: bool = Field(
        default=True,
        description="Sample in rounds, and stop once another round is unlikely to pay.",
        json_schema_extra=flag("--adaptive/--no-adaptive", SAMPLING),
    )
    round_size: int = Field(default=2, ge=1, description="Fewest rollouts of a round after the first.")
    round_price: float = Field(
        default=0.1, ge=0, description="What a round costs, as `price`: the dearer, the larger and fewer they are."
    )
    price: float = Field(
        default=0.5,
        gt=0,
        description="What a rollout costs, as a share of max_pairs / samples: rounds go on while pairs pay it.",
    )
    style: Style = Field(
        default="cot-final",
        description="Prompt style: cot-final, cot-boxed, cot-think or direct; see docs/prompts.md.",
        json_schema_extra=flag("--style", SAMPLING),
    )
    prompt_language: PromptLanguage = Field(
        default="auto",
        description="Language of the instruction: en, zh, or auto, that of each question.",
        json_schema_extra=flag("--prompt-language", SAMPLING),
    )
    decoding: Decoding = Field(default=Decoding(), description="Temperature, nucleus mass, longest response.")
