"""When to stop sampling a question: in rounds, as long as going on is worth more than it costs.

Of n rollouts with c correct and w incorrect ones, min(most pairs, c*w) pairs can be made. What further rollouts would
add follows from what is known of the question's solve rate p: with a Beta(a, b) prior on p, after c and w it is
Beta(a + c, b + w), and the number of correct ones among m further is beta-binomial (conjugacy; Gelman et al.,
"Bayesian Data Analysis", section 2.4). A rollout costs a price, in pairs. The rule is the one that makes the most of
expected pairs less the price of the rollouts: sequential decisions with a cost for each observation, solved exactly by
backward induction from the last rollout allowed (DeGroot 1970, "Optimal Statistical Decisions", chapter 12).

    V(c, w, left) = max( min(most, c*w),  E[ V(c + k, w + m - k, left - m) ] - price m ),    k ~ beta-binomial(m)

and another round of m is sampled where the second is larger. The rule sees only counts of verdicts, never the texts,
and a round is always waited for as a whole, so it cannot favour short responses.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, exp, lgamma, sqrt

PRIOR = (0.5, 0.5)
"""Jeffreys' prior on the solve rate: most questions are either easy or hard for a model."""

HORIZON = 64
"""Rollouts that the rule looks ahead, at most: what lies further is not counted."""

_YIELDS = 8  # yields are told apart in eighths, so that few different decisions have to be worked out


def next_round(
    correct: int, incorrect: int, sampled: int, *, most: int, round_size: int, max_pairs: int, price: float
) -> int:
    """Rollouts to sample next; 0 to stop.

    `correct` and `incorrect` count distinct usable rollouts, `sampled` all so far, `most` is the limit for the question
    and `price` what a rollout costs, in pairs.
    """
    left = most - sampled
    if left <= 0 or correct * incorrect >= max_pairs:
        return 0
    if sampled == 0:
        return min(first_round(max_pairs), left)
    # Unparseable and repeated rollouts thin out what a further one brings: fewer usable ones are left, at more each.
    usable = max(1, round(_YIELDS * (correct + incorrect + 0.5) / (sampled + 0.5))) / _YIELDS
    ahead = min(HORIZON, ceil(left * usable))
    gain = _going_on(correct, incorrect, ahead, round_size, max_pairs, price / usable) - correct * incorrect
    return min(round_size, left) if gain > 0 else 0


def first_round(max_pairs: int) -> int:
    """The fewest rollouts that can make all pairs: half of them correct, half not."""
    return ceil(2 * sqrt(max_pairs))


@lru_cache(maxsize=1 << 17)
def _going_on(correct: int, incorrect: int, left: int, round_size: int, max_pairs: int, price: float) -> float:
    """Expected pairs, less what they cost, of one more round and the best decisions after it."""
    more = min(round_size, left)
    a, b = PRIOR[0] + correct, PRIOR[1] + incorrect
    after = (
        _beta_binomial(k, more, a, b)
        * _best(correct + k, incorrect + more - k, left - more, round_size, max_pairs, price)
        for k in range(more + 1)
    )
    return sum(after) - price * more


def _best(correct: int, incorrect: int, left: int, round_size: int, max_pairs: int, price: float) -> float:
    now = min(max_pairs, correct * incorrect)
    if not left or now == max_pairs:
        return now
    return max(now, _going_on(correct, incorrect, left, round_size, max_pairs, price))


def _beta_binomial(k: int, n: int, a: float, b: float) -> float:
    """Probability of k successes in n draws whose rate is Beta(a, b)."""
    choose = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
    return exp(choose + _log_beta(k + a, n - k + b) - _log_beta(a, b))


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
