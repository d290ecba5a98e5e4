"""Adaptive sampling against a flat 32: pairs, rollouts, tokens a pair, pairs a question, and bias toward a length.

    python bench/adaptive.py [--questions 600]                     by simulation
    python bench/adaptive.py --builds FLAT ADAPTIVE                of two builds of the same questions:
        mmpr build examples/nano.yaml --limit 90 --samples 32 --no-adaptive --out FLAT
        mmpr build examples/nano.yaml --limit 90 --samples 32 --out ADAPTIVE

Three tables by simulation. `solve rates`: expectations, exactly, where rates are Beta-distributed or fixed; with the
least that any rule could spend, one rollout at a time and knowing the distribution, for 97% of the pairs. `lengths`:
the real way of a question (sampling, checking, pairing) over an engine with given solve rates, whose responses' lengths
depend on being right, or on how hard the question is. A rollout is the same in both ways of sampling (rollout i of a
question is drawn from question and i), so that differences are the rule's. `pairs a question`: their distribution.

Bias: for each question paired by both, the difference of mean lengths of its chosen (rejected) responses; z is the mean
difference over its standard error: beyond ±2 or 3 a rule would favour a length.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from mmpr_pipeline.core.records import Question, QuestionOutcome, Rollout
from mmpr_pipeline.engines.engine import EngineInfo, EngineStats, SampleRequest
from mmpr_pipeline.pairing.settings import PairingSettings
from mmpr_pipeline.pairing.strategy import STRATEGIES, Recipe
from mmpr_pipeline.pipeline.question import work_question
from mmpr_pipeline.rollouts import sampling
from mmpr_pipeline.rollouts.sampling import SamplingSettings

MOST, PAIRS = 32, 15
Rates = Callable[[int, int], list[float]]  # (correct, incorrect so far, more) -> chances of 0, 1, ... more correct ones
Rule = Callable[[int, int], int]
BETAS = [(0.5, 0.5), (1.0, 1.0), (2.0, 2.0), (2.0, 0.7), (0.7, 2.0), (0.3, 0.3), (0.2, 0.2), (0.3, 1.0)]
FIXED = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99]
LENGTHS: dict[str, Callable[[bool, float], float]] = {
    "independent": lambda right, rate: 300,
    "wrong ones half as long again": lambda right, rate: 300 if right else 450,
    "wrong ones a third shorter": lambda right, rate: 300 if right else 200,
    "hard questions longer": lambda right, rate: 500 - 300 * rate,
}


def ours(settings: SamplingSettings, correct: int, incorrect: int, sampled: int | None = None) -> int:
    """The rule as builds use it; all rollouts are usable where `sampled` is not given."""
    return sampling.next_round(
        correct, incorrect, correct + incorrect if sampled is None else sampled,
        most=MOST, round_size=settings.round_size, max_pairs=PAIRS, price=settings.price,
        round_price=settings.round_price,
    )  # fmt: skip


def expected(ends: tuple[float, float], rule: Rule) -> tuple[float, float, float]:
    """Rollouts, pairs and rounds of a question whose rate is Beta(*ends), exactly. Large ends: a fixed rate."""
    sampled = pairs = asked = 0.0
    states = {(0, 0): 1.0}
    while states:
        following: dict[tuple[int, int], float] = defaultdict(float)
        for (right, wrong), chance in states.items():
            size = rule(right, wrong)
            if not size:
                sampled += chance * (right + wrong)
                pairs += chance * min(PAIRS, right * wrong)
                continue
            asked += chance
            for k in range(size + 1):
                likely = sampling._chances(size, ends[0] + right, ends[1] + wrong)[k]
                following[right + k, wrong + size - k] += chance * likely
        states = following
    return sampled, pairs, asked


def least(ends: tuple[float, float], share: float) -> float:
    """Fewest rollouts a pair at that share of flat pairs, by the best rule that knows the distribution."""
    flat = expected(ends, lambda c, w: 0 if c + w else MOST)[1]
    before, sampling.PRIOR = sampling.PRIOR, ends
    costs = []
    try:
        for step in range(20, 400):
            sampling._going_on.cache_clear()
            rule = partial(ours, SamplingSettings(round_size=1, round_price=0, price=0.005 * step))
            sampled, pairs, _ = expected(ends, rule)
            if pairs < share * flat:
                break
            costs.append(sampled / pairs)
    finally:
        sampling.PRIOR = before
        sampling._going_on.cache_clear()
    return min(costs) / (MOST / flat)


def show_rates(settings: SamplingSettings) -> None:
    columns = "pairs, flat | adaptive | kept | rollouts | rounds | rollouts a pair, of flat's | least possible"
    print(f"| solve rates | {columns} |")
    print("|---|---|---|---|---|---|---|---|")
    fixed = [(f"{rate:g}", (rate * 1e7, (1 - rate) * 1e7)) for rate in FIXED]
    for name, ends in [(f"Beta({a:g}, {b:g})", (a, b)) for a, b in BETAS] + fixed:
        flat = expected(ends, lambda c, w: 0 if c + w else MOST)[1]
        sampled, pairs, asked = expected(ends, partial(ours, settings))
        bound = f"{least(ends, 0.97):.2f}" if name.startswith("Beta") else ""
        cost = f"{sampled:.1f} | {asked:.1f} | {sampled / pairs / (MOST / flat):.2f}"
        print(f"| {name} | {flat:.2f} | {pairs:.2f} | {pairs / flat:.1%} | {cost} | {bound} |")


class GivenRates:
    """An engine whose rollout i of question q is right with q's solve rate, of a length that depends on `length`."""

    can_continue = False
    info = EngineInfo(engine="scripted", model="given rates", context=None, can_continue=False)

    def __init__(self, rates: dict[str, float], length: Callable[[bool, float], float]) -> None:
        self.rates, self.length = rates, length

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        return [self._rollout(request, request.first_index + i) for i in range(request.n)]

    def _rollout(self, request: SampleRequest, index: int) -> Rollout:
        name = request.question.question_id
        rate, draw = self.rates[name], random.Random(f"{name}/{index}")
        right = draw.random() < rate
        tokens = max(5, round(self.length(right, rate) * draw.lognormvariate(-0.08, 0.4)))
        answer = 7 if right else draw.choice([n for n in range(20) if n != 7])
        return Rollout(
            question_id=name, round=request.round, index=index, seed=request.seed + index - request.first_index,
            text=f"Way {draw.random()} of {tokens}.\n\nFinal answer: {answer}", tokens=tokens, finish_reason="stop",
            model="given rates", prompt_version=request.prompt_version,
        )  # fmt: skip

    async def continue_without_image(self, request: Any) -> Rollout:
        raise NotImplementedError

    async def stats(self) -> EngineStats:
        return EngineStats()

    async def close(self) -> None:
        return None


@dataclass
class Sampled:
    """What became of each question, by its id: lengths of the pairs' responses, rollouts, tokens."""

    chosen: dict[str, list[int]] = field(default_factory=dict)
    rejected: dict[str, list[int]] = field(default_factory=dict)
    rollouts: int = 0
    tokens: int = 0

    @property
    def pairs(self) -> int:
        return sum(map(len, self.chosen.values()))

    def add(self, outcome: QuestionOutcome) -> None:
        name = outcome.row.question_id or ""
        self.chosen[name] = [pair.chosen_tokens for pair in outcome.pairs]
        self.rejected[name] = [pair.rejected_tokens for pair in outcome.pairs]
        self.rollouts += outcome.row.rollouts
        self.tokens += outcome.row.generated_tokens


def simulate(rates: dict[str, float], length: Callable[[bool, float], float], adaptive: bool) -> Sampled:
    """All questions on the real way of a question."""
    recipe = Recipe(SamplingSettings(adaptive=adaptive), PairingSettings(), seed=0)
    engine = GivenRates(rates, length)
    made = Sampled()

    async def work() -> None:
        for name in rates:
            question = Question(
                question_id=name, source="given", source_id=name, text="How many?", kind="number", answer="7"
            )
            made.add(
                await work_question(
                    question, engine, recipe, [STRATEGIES.get(name)() for name in recipe.pairing.strategies]
                )
            )

    asyncio.run(work())
    return made


def bias(flat: dict[str, list[int]], adaptive: dict[str, list[int]]) -> tuple[float, float]:
    """Mean difference, in tokens, of a question's mean length; and z."""
    both = [name for name in flat if flat[name] and adaptive.get(name)]
    apart = [fmean(adaptive[name]) - fmean(flat[name]) for name in both]
    return fmean(apart), fmean(apart) / (stdev(apart) / len(apart) ** 0.5)


def mean_length(lengths: dict[str, list[int]]) -> float:
    return fmean(each for of_question in lengths.values() for each in of_question)


HEAD = (
    "| {} | pairs, flat | kept | tokens a pair, of flat's | chosen tokens, flat | adaptive | z "
    "| rejected tokens, flat | adaptive | z |\n|---|---|---|---|---|---|---|---|---|---|"
)


def line(name: str, flat: Sampled, adaptive: Sampled) -> str:
    cost = (adaptive.tokens / adaptive.pairs) / (flat.tokens / flat.pairs)
    cells = [name, f"{flat.pairs:,}", f"{adaptive.pairs / flat.pairs:.1%}", f"{cost:.2f}"]
    for before, after in ((flat.chosen, adaptive.chosen), (flat.rejected, adaptive.rejected)):
        cells += [f"{mean_length(before):.1f}", f"{mean_length(after):.1f}", f"{bias(before, after)[1]:+.1f}"]
    return "| " + " | ".join(cells) + " |"


def show_distribution(flat: Sampled, adaptive: Sampled) -> None:
    """Questions by their number of pairs."""
    print("\n| pairs a question | flat | adaptive |\n|---|---|---|")
    bins = [(0, 0), (1, 4), (5, 9), (10, 14), (15, 15)]
    counts = [Counter(len(pairs) for pairs in side.chosen.values()) for side in (flat, adaptive)]
    for low, high in bins:
        shares = [sum(n for size, n in count.items() if low <= size <= high) / count.total() for count in counts]
        print(f"| {low if low == high else f'{low}-{high}'} | {shares[0]:.1%} | {shares[1]:.1%} |")


def read_build(folder: Path) -> Sampled:
    """Correctness pairs of the questions that have an answer, and what was sampled for them."""
    made = Sampled()
    for row in rows(folder, "questions", ["question_id", "kind", "rollouts"]):
        if row["question_id"] and row["kind"] != "none":
            made.chosen[row["question_id"]], made.rejected[row["question_id"]] = [], []
            made.rollouts += row["rollouts"]
    for row in rows(folder, "pairs", ["question_id", "strategy", "chosen_tokens", "rejected_tokens"]):
        if row["strategy"] == "correctness":
            made.chosen[row["question_id"]].append(row["chosen_tokens"])
            made.rejected[row["question_id"]].append(row["rejected_tokens"])
    for row in rows(folder, "rollouts", ["question_id", "tokens", "parent"]):
        made.tokens += row["tokens"] if row["parent"] is None and row["question_id"] in made.chosen else 0
    return made


def rows(folder: Path, kind: str, columns: list[str]) -> Iterable[dict[str, Any]]:
    import pyarrow as pa

    for path in sorted(folder.glob(f"**/{kind}-*.arrow")):
        with pa.ipc.open_file(path) as reader:
            yield from reader.read_all().select(columns).to_pylist()


def show_builds(flat: Sampled, adaptive: Sampled) -> None:
    print("| | questions | rollouts | generated tokens | pairs | tokens a pair |\n|---|---|---|---|---|---|")
    for name, side in (("flat 32", flat), ("adaptive", adaptive)):
        each = side.tokens / side.pairs
        print(f"| {name} | {len(side.chosen)} | {side.rollouts:,} | {side.tokens:,} | {side.pairs:,} | {each:.1f} |")
    print("\n" + HEAD.format("build") + "\n" + line("nano", flat, adaptive))
    show_distribution(flat, adaptive)


def show_recorded(folder: Path) -> None:
    """The rule at several prices, and what it could be in hindsight, on the rollouts of a flat build."""
    recorded: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows(folder, "rollouts", ["question_id", "index", "text", "outcome", "tokens", "parent"]):
        if row["parent"] is None and row["outcome"] is not None:
            recorded[row["question_id"]].append(row)
    grown = [growth(sorted(each, key=lambda row: row["index"])) for each in recorded.values()]
    flat_pairs, flat_tokens = (sum(g[-1][which] for g in grown) for which in (0, 1))

    def print_line(name: str, stops: list[int]) -> None:
        pairs, tokens = (sum(g[stop][which] for g, stop in zip(grown, stops, strict=True)) for which in (0, 1))
        print(f"| {name} | {pairs / flat_pairs:.1%} | {tokens / pairs / (flat_tokens / flat_pairs):.2f} |")

    print("\n| on the flat build's rollouts | kept | tokens a pair, of flat's |\n|---|---|---|")
    for price in (0.25, 0.32, 0.4, SamplingSettings().price, 0.8):
        print_line(f"price {price:g}", [stop_of(g, SamplingSettings(price=price)) for g in grown])
    for worth in (0.003, 0.005, 0.006):
        best = [max(range(8, len(g)), key=lambda n, g=g: g[n][0] - worth * g[n][1]) for g in grown]  # type: ignore[misc]
        print_line(f"hindsight, {worth:g} pairs a token", best)


Grown = list[tuple[int, int, int, int]]  # after n rollouts: pairs, tokens, distinct correct, distinct incorrect


def growth(rollouts: list[dict[str, Any]]) -> Grown:
    """What a question has after each of its rollouts."""
    texts: dict[str, set[str]] = {"correct": set(), "incorrect": set(), "unparseable": set()}
    grown, tokens = [(0, 0, 0, 0)], 0
    for row in rollouts:
        texts[row["outcome"]].add(row["text"].strip())
        tokens += row["tokens"]
        right, wrong = len(texts["correct"]), len(texts["incorrect"])
        grown.append((min(PAIRS, right * wrong), tokens, right, wrong))
    return grown


def stop_of(grown: Grown, settings: SamplingSettings) -> int:
    """Where the rule would have stopped."""
    n = 0
    while size := ours(settings, grown[n][2], grown[n][3], n):
        n += size
    return n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=600)
    parser.add_argument("--builds", nargs=2, type=Path, metavar=("FLAT", "ADAPTIVE"))
    args = parser.parse_args()
    if args.builds:
        show_builds(*(read_build(folder) for folder in args.builds))
        return show_recorded(args.builds[0])
    show_rates(SamplingSettings())
    draw = random.Random(0)
    rates = {f"question {i}": draw.betavariate(*sampling.PRIOR) for i in range(args.questions)}
    print("\n" + HEAD.format("lengths"))
    for name, length in LENGTHS.items():
        flat, adaptive = (simulate(rates, length, adaptive) for adaptive in (False, True))
        print(line(name, flat, adaptive), flush=True)
    return show_distribution(flat, adaptive)


if __name__ == "__main__":
    main()
