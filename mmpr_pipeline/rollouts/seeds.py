"""Seeds of a build: every random choice follows from the build's seed and the question's id, never from order or time.

A question owns one window of consecutive seeds that starts at a hash of its id. Its rounds and its continuations take
disjoint parts of that window, so that no two of a question's rollouts ever share a seed; two questions' windows are
random points below 2**62, and where they do overlap their prompts still differ. The start is not rounded to a power of
two: torch's CPU generator looks at the low 32 bits only, and those must differ as well.
"""

from __future__ import annotations

import hashlib

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
    return _start(build_seed, question_id) + round * ROUND_STRIDE


def continuation_seed(build_seed: int, question_id: str, index: int) -> int:
    """Seed of the continuation (DropNTP) with this rollout index. Below 2**62."""
    if not 0 <= index < _CONTINUATIONS:
        raise ValueError(f"index {index} is outside 0..{_CONTINUATIONS - 1}")
    return _start(build_seed, question_id) + _CONTINUATIONS + index


def _start(build_seed: int, question_id: str) -> int:
    digest = hashlib.sha256(f"sampling/{build_seed}/{question_id}".encode()).digest()
    return int.from_bytes(digest[:16], "big") % _SPAN
