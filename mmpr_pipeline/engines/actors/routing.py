"""Which engine a request goes to, and how many requests an engine is given: pure bookkeeping, without Ray.

Work is counted in tokens: a prompt once, since its samples share it, and for each sample the length that responses of
its source have had so far. Every answer teaches; nothing of it changes what is sampled, only where and when.

An engine is given a little more than it can hold at once, so that a place that falls free is taken at once; the rest
waits here, where it can still go to whichever engine is ready first. Questions that were begun do not wait: their
images and prefixes are in their engine's caches now.
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.engines.engine import ContinueRequest, EngineInfo, SampleRequest

HEADROOM = 1.5
"""Tokens that an engine is given, as a multiple of what it can hold: what is queued there is ready to start."""

CROWD = 4.0
"""Rollouts that an engine is given, as a multiple of what it decodes at once. A request counts with all of its rollouts
until the last one has ended; of 32 whose lengths differ as those of responses do, a quarter is alive on average."""

SHARE = 0.125
"""The same for one worker, whatever the others have in the engine: what it heard of them may be old."""

SLACK = 64
"""Rollouts by which a question's own engine may be busier than the idlest one and still be preferred."""

FEW = 4
"""Engines that are all looked at for each request."""

REMEMBERED_QUESTIONS = 100_000
FIRST_GUESS = 512
"""Tokens of a response and of a prompt, until some have been seen."""

MEMORY = 64
"""About this many of the latest answers decide what lengths are expected."""

MOST_QUESTIONS = 512
"""Most questions that a worker has in flight: each holds its images, and so do some that are read ahead."""

LEAST_QUESTIONS = 16


@dataclass(frozen=True)
class ExpectedWork:
    """Work: expected tokens and rollouts (sequences)."""

    tokens: float = 0.0
    sequences: int = 0

    def __add__(self, other: ExpectedWork) -> ExpectedWork:
        return ExpectedWork(self.tokens + other.tokens, self.sequences + other.sequences)

    def __sub__(self, other: ExpectedWork) -> ExpectedWork:
        return ExpectedWork(max(0.0, self.tokens - other.tokens), max(0, self.sequences - other.sequences))


class ExpectedLengths:
    """How long prompts and responses of each source are, learned from the answers."""

    def __init__(self) -> None:
        self._response: dict[str, float] = {}
        self._prompt: dict[str, float] = {}

    def expect(self, request: SampleRequest | ContinueRequest) -> ExpectedWork:
        """What a request will cost."""
        source, most = request.question.source, request.decoding.max_tokens
        response = min(self._response.get(source, FIRST_GUESS), most)
        prompt = self._prompt.get(source, FIRST_GUESS)
        rollouts = request.n if isinstance(request, SampleRequest) else 1
        return ExpectedWork(prompt + rollouts * response, rollouts)

    def learn(self, source: str, rollouts: Sequence[Rollout]) -> None:
        """Take in what an answer cost; recorded rollouts, which tell no tokens, teach nothing."""
        told = [rollout for rollout in rollouts if rollout.tokens]
        for rollout in told:
            self._response[source] = _moved(self._response.get(source), rollout.tokens)
        if told:
            self._prompt[source] = _moved(self._prompt.get(source), told[0].prompt_tokens)


def _moved(mean: float | None, value: float) -> float:
    return value if mean is None else mean + (value - mean) / MEMORY


class Router:
    """The view that one worker has of the engines."""

    def __init__(self, engines: int, info: EngineInfo | None, turn: int = 0) -> None:
        self._own = [ExpectedWork() for _ in range(engines)]
        self._others = [ExpectedWork() for _ in range(engines)]
        # The same as numbers, side by side: with hundreds of engines each choice looks at all of them.
        self._sums, self._mine = np.zeros((2, engines)), np.zeros((2, engines))
        self._homes: OrderedDict[str, int] = OrderedDict()
        # What each engine holds: tokens and sequences. Of an engine that does not say, as much as one likes.
        self._holds = np.tile(_held(info)[:, None], (1, engines))
        # Workers that all began with the first engine would load it more than the others.
        self._turn, self._random = turn, random.Random(turn)
        self.lengths = ExpectedLengths()

    def holds(self, info: EngineInfo, which: int) -> None:
        """What an engine can hold now."""
        self._holds[:, which] = _held(info)

    def own(self, which: int) -> ExpectedWork:
        """This worker's outstanding work in an engine."""
        return self._own[which]

    def home(self, question_id: str) -> int | None:
        """The engine that has the question's image and prefix."""
        return self._homes.get(question_id)

    def load(self, which: int) -> ExpectedWork:
        """Outstanding work of an engine: this worker's, and the others' when it last answered."""
        return self._own[which] + self._others[which]

    def candidates(self, question_id: str, alive: Iterable[int], *, begun: bool) -> list[int]:
        """The engines of which the least busy one is to take a request; none where all are full.

        A question stays with its own engine unless that is much busier, with this worker's work, than the idlest; and
        if it was begun it is not held back. Else there are two, taken at random where there are many, for the pool to
        ask how busy they are: what was heard of an engine is as old as its last answer, and workers that all believed
        the same engine idle would all run to it (Mitzenmacher 2000, "How useful is old information?"; at 32 engines
        and workers, by `bench/engines.py`, builds took 1.7 times as long).
        """
        ready = np.fromiter(alive, np.intp)
        ready = ready if begun else ready[self._room(ready)]
        home = self._homes.get(question_id)
        if home is not None and home in ready and self._mine[1, home] <= self._mine[1, ready].min() + SLACK:
            return [home]
        few: list[int] = ready.tolist()
        return few if len(few) <= FEW else self._random.sample(few, 2)

    def least_busy(self, among: Sequence[int], *, begun: bool) -> int | None:
        """The engine with the least outstanding tokens, of equal ones each in turn; None where all are full now."""
        looked_at = np.array(among, np.intp)
        looked_at = looked_at if begun else looked_at[self._room(looked_at)]
        if not looked_at.size:
            return None
        self._turn += 1
        tokens = self._sums[0, looked_at]
        equal = looked_at[tokens == tokens.min()]
        return int(equal[np.argmin((equal + self._turn) % len(self._own))])

    def has_room(self, which: int) -> bool:
        """Whether an engine may be given another question; every worker has a small share for itself."""
        return bool(self._room(np.array([which]))[0])

    def _room(self, which: np.ndarray) -> np.ndarray:
        holds = self._holds[:, which]
        anyone, mine = _limit(holds, HEADROOM, CROWD), _limit(holds, SHARE, SHARE)
        found: np.ndarray = (self._sums[:, which] < anyone).all(axis=0) | (self._mine[:, which] < mine).all(axis=0)
        return found

    def take(self, which: int, question_id: str, work: ExpectedWork) -> None:
        """A request is on its way to an engine, which is the question's own from now on."""
        self._own[which] += work
        self._note(which)
        self._homes[question_id] = which
        self._homes.move_to_end(question_id)
        if len(self._homes) > REMEMBERED_QUESTIONS:
            self._homes.popitem(last=False)

    def give(self, which: int, work: ExpectedWork) -> None:
        """A request was answered, or is lost."""
        self._own[which] -= work
        self._note(which)

    def heard(self, which: int, outstanding: ExpectedWork) -> None:
        """What an engine said of itself with its last answer: the work of all workers that it has."""
        self._others[which] = outstanding - self._own[which]
        self._note(which)

    def lost(self, which: int) -> None:
        """An engine died, with all that was in it."""
        self._others[which] = ExpectedWork()
        self._note(which)

    def _note(self, which: int) -> None:
        load, own = self.load(which), self._own[which]
        self._sums[:, which] = load.tokens, load.sequences
        self._mine[:, which] = own.tokens, own.sequences


def _held(info: EngineInfo | None) -> np.ndarray:
    tokens, sequences = (info.kv_tokens, info.sequences) if info else (None, None)
    found: np.ndarray = np.array([tokens or math.inf, sequences or 10**9], dtype=float)
    return found


def _limit(holds: np.ndarray, of_tokens: float, of_sequences: float) -> np.ndarray:
    found: np.ndarray = np.stack([of_tokens * holds[0], np.ceil(of_sequences * holds[1])])
    return found


def questions_each(info: EngineInfo, workers: int, rollouts: int) -> int | None:
    """Questions that each worker keeps in flight so that all engines are full when each question has `rollouts` in it.

    None where engines do not say what they can hold. Never more than `MOST_QUESTIONS`.
    """
    if not info.sequences:
        return None
    wanted = math.ceil(CROWD * info.sequences * info.engines / rollouts / max(1, workers))
    return max(LEAST_QUESTIONS, min(MOST_QUESTIONS, wanted))
