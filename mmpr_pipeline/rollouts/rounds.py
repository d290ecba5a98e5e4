"""When to stop sampling a question: in rounds, as long as going on is worth more than it costs.

Of n rollouts with c correct and w incorrect ones, min(most pairs, c*w) pairs can be made. What further rollouts would
add follows from what is known of the question's solve rate p: with a Beta(a, b) prior on p, after c and w it is
Beta(a + c, b + w), and the number of correct ones among m further is beta-binomial (conjugacy; Gelman et al.,
"Bayesian Data Analysis", section 2.4). A rollout costs a price, in pairs. The rule is the one that makes the most of
expected pairs less the price of the rollouts: sequential decisions with a cost for each observation, solved exactly by
backward induction from the last rollout allowed (DeGroot 1970, "Optimal Statistical Decisions", chapter 12).

    V(c, w, left) = max( min(most, c*w),  max over m of E[ V(c + k, w + m - k, left - m) ] - price m - round price )

with k ~ beta-binomial(m), and the m that makes the most of it is sampled next, if any does. A round has a price too: it
is waited for, and reads the prompt again. So a question that is nearly done is asked for little, one that will need
much for much at once. Both prices are shares of max pairs / most rollouts, which flat sampling pays at best: so as much
of what could be had is kept where 4 pairs are wanted as where it is 15. The rule sees only counts of verdicts, never
the texts, and a round is always waited for as a whole, so it cannot favour short responses.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, exp, lgamma, sqrt
from typing import NamedTuple

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
