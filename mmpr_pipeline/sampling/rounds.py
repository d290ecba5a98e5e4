"""When to stop sampling a question: in rounds, as long as another round is expected to pay.

Of n rollouts with c correct and w incorrect ones, min(most pairs, c*w) pairs can be made. What another m rollouts would
add follows from what is known of the question's solve rate p: with a Beta(a, b) prior on p, after c and w it is
Beta(a + c, b + w), and the number of correct ones among m further is beta-binomial (conjugacy; Gelman et al.,
"Bayesian Data Analysis", section 2.4). Sampling goes on while the expected pairs for each further rollout, looking one
round or all remaining rounds ahead, are above a price: a look-ahead stopping rule on the value of information (Frazier,
Powell and Dayanik 2008, "A knowledge-gradient policy for sequential information collection").

The rule sees only counts of verdicts, never the texts, and a round is always waited for as a whole, so it cannot
favour short responses.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, exp, lgamma, sqrt

PRIOR = (0.5, 0.5)
"""Jeffreys' prior on the solve rate: most questions are either easy or hard for a model."""


def next_round(
    correct: int, incorrect: int, sampled: int, *, most: int, round_size: int, max_pairs: int, price: float
) -> int:
    """Rollouts to sample next; 0 to stop.

    `correct` and `incorrect` count distinct usable rollouts, `sampled` all so far, `most` is the limit for the question
    and `price` the expected pairs for each rollout below which it does not pay.
    """
    left = most - sampled
    if left <= 0 or min(max_pairs, correct * incorrect) == max_pairs:
        return 0
    if sampled == 0:
        return min(first_round(max_pairs), left)
    size = min(round_size, left)
    # Unparseable rollouts thin out what a further rollout brings.
    parsed = (correct + incorrect + 0.5) / (sampled + 0.5)
    gain = max(_gain_each(correct, incorrect, ahead, max_pairs) for ahead in {size, left})
    return size if gain * parsed >= price else 0


def first_round(max_pairs: int) -> int:
    """The fewest rollouts that can make all pairs: half of them correct, half not."""
    return ceil(2 * sqrt(max_pairs))


@lru_cache(maxsize=65536)
def _gain_each(correct: int, incorrect: int, more: int, max_pairs: int) -> float:
    """Expected new pairs for each of `more` further parseable rollouts."""
    now = min(max_pairs, correct * incorrect)
    a, b = PRIOR[0] + correct, PRIOR[1] + incorrect
    expected = sum(
        _beta_binomial(k, more, a, b) * min(max_pairs, (correct + k) * (incorrect + more - k)) for k in range(more + 1)
    )
    return (expected - now) / more


def _beta_binomial(k: int, n: int, a: float, b: float) -> float:
    """Probability of k successes in n draws whose rate is Beta(a, b)."""
    choose = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
    return exp(choose + _log_beta(k + a, n - k + b) - _log_beta(a, b))


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
