"""What the report says, as plain data: the figures of `mmpr stats`, lengths, sampling, what was lost, and examples of
rows without a pair and of doubtful verdicts.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import record_batches
from mmpr_pipeline.dataset.files.lookup import ShardFiles
from mmpr_pipeline.dataset.files.marks import read_all
from mmpr_pipeline.dataset.files.sealed import read_summary
from mmpr_pipeline.dataset.files.summary import finished_shards, shards_of
from mmpr_pipeline.dataset.review.facts import facts_of
from mmpr_pipeline.dataset.review.marks_summary import marks_summary
from mmpr_pipeline.dataset.review.stats import LengthHistogram, stats
from mmpr_pipeline.report.compare import compare_outputs
from mmpr_pipeline.report.viewer.doubt import WHY, doubts_of, often_overruled
from mmpr_pipeline.screening.report import contamination_sentences
from mmpr_pipeline.storage.store import MissingKeyError, Store, open_store

LENGTH_BINS = 30
"""Most bins of the length histogram."""
LONGEST_SHOWN = 0.98
"""Share of the responses whose lengths the histogram tells apart; longer ones are counted in its last bin."""


def report_figures(
    out: str | Path, progress: Callable[[int, int], None] | None = None, against: str | Path | None = None
) -> dict[str, Any]:
    """Everything that the report shows but its pairs: `stats`' figures, and

    `funnel`: questions after each step (rows read, usable, with pairs); `lost`: questions without a pair by step and
    reason; `lengths`: `unit` (tokens, or characters where tokens are not known), `scale` (linear or log), `bins` with
    from, to, chosen and rejected, the summaries of both sides, and `balance`: for each source and strategy the pairs
    whose chosen response is longer, equal, shorter; `rollouts_per_question` and `rounds_per_question`: how many
    questions had how many; `run`: what the last run of the build took, where known; `made_by`, `settings`,
    `source_facts`, `warnings`: as `facts_of` gives them; `bands`, `examples`, `doubts`: as `examples` gives them;
    `marks`: what people marked; `screening`: what was dropped before sampling, `beside`: what was sampled beside the
    questions, each in sentences; `against`: None, or `found`, what `compare_outputs` says with the
    other output as base, and `counts` of both.

    While a build goes on, all of it is of the finished shards. Raises DatasetError where none is finished.
    """
    store = open_store(out)
    facts = facts_of(out, progress)
    shards = shards_of(store)
    rollouts, rounds = _sampling(store, shards)
    counts = facts.figures["counts"]
    steps = ((counts["rejected"], "row not usable"), (counts["unpaired"], "sampled, no pair"))
    lost = [{"step": s, "reason": r, "questions": n} for reasons, s in steps for r, n in reasons.items()]
    counts = facts.figures["counts"]
    usable = counts["questions"] - sum(counts["rejected"].values())
    return {
        **facts.figures,
        "funnel": (
            [
                {"step": "rows read", "questions": counts["questions"]},
                {"step": "usable", "questions": usable},
                {"step": "with pairs", "questions": counts["paired"]},
            ]
        ),
        "lost": sorted(lost, key=lambda row: -row["questions"]),
        "lengths": _lengths(store, shards),
        "rollouts_per_question": rollouts,
        "rounds_per_question": rounds,
        "run": _run(store),
        "made_by": facts.made_by,
        "settings": facts.identity,
        "source_facts": facts.sources,
        "warnings": facts.warnings,
        "mmpr_version": facts.mmpr_version,
        "bands": solve_bands(facts.figures["solve_rates"]),
        "examples": lost_examples(store, shards),
        "doubts": doubtful(store, shards),
        "marks": marks_summary(read_all(store)),
        "screening": contamination_sentences(facts.screening),
        "beside": facts.beside,
        "against": against
        and {"found": compare_outputs(against, out), "counts": [stats(against)["counts"], facts.figures["counts"]]},
    }


def _run(store: Store) -> dict[str, Any]:
    """Seconds, rollouts and tokens of the run that finished the build; empty where it left no such note."""
    try:
        run = read_summary(store).get("run", {})
    except (MissingKeyError, DatasetError):
        return {}
    kept = {"seconds", "rollouts", "tokens", "resumed"}
    return {name: value for name, value in run.items() if name in kept and isinstance(value, int | float)}


def _sampling(store: Store, shards: int) -> tuple[dict[int, int], dict[int, int]]:
    rollouts, rounds = LengthHistogram(), LengthHistogram()
    for shard in finished_shards(store):
        with TemporaryDirectory(prefix="mmpr-") as folder:
            path = store.fetch(layout.shard_key("questions", shard, shards), Path(folder))
            for batch in record_batches(path, ["rollouts", "rounds"]):
                sampled = batch["rollouts"].to_numpy()
                rollouts.add(sampled[sampled > 0])
                rounds.add(batch["rounds"].to_numpy()[sampled > 0])
    return rollouts.counts(), rounds.counts()


Sides = dict[str, dict[str, LengthHistogram]]
"""Lengths of chosen and rejected responses, in tokens and in characters."""


def _lengths(store: Store, shards: int) -> dict[str, Any]:
    sides: Sides = {
        name: {"tokens": LengthHistogram(), "characters": LengthHistogram()} for name in ("chosen", "rejected")
    }
    balance: dict[tuple[str, str], dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    pairs = known = 0
    for shard in finished_shards(store):
        with TemporaryDirectory(prefix="mmpr-") as folder:
            path = store.fetch(layout.shard_key("pairs", shard, shards), Path(folder))
            columns = ["source", "strategy", "chosen", "rejected", "chosen_tokens", "rejected_tokens"]
            for batch in record_batches(path, columns):
                pairs += batch.num_rows
                known += _add_lengths(batch, sides, balance)
    unit = "tokens" if pairs and known == pairs else "characters"
    one, other = (sides[name][unit] for name in ("chosen", "rejected"))
    scale, bins = _bins(one, other)
    return {
        "unit": unit,
        "scale": scale,
        "bins": bins,
        "chosen": one.summary(),
        "rejected": other.summary(),
        "balance": [{"source": s, "strategy": t, **dict(found[unit])} for (s, t), found in sorted(balance.items())],
    }


def _add_lengths(batch: pa.RecordBatch, sides: Sides, balance: dict[Any, dict[str, Counter[str]]]) -> int:
    """Count the pairs of a batch; returns those whose tokens are known."""
    tokens = {name: np.maximum(batch[f"{name}_tokens"].to_numpy(), 0) for name in sides}
    characters = {name: pc.utf8_length(batch[name]).to_numpy().astype(np.int64) for name in sides}
    groups = list(zip(batch["source"].to_pylist(), batch["strategy"].to_pylist(), strict=True))
    known = (tokens["chosen"] > 0) & (tokens["rejected"] > 0)
    for unit, lengths, rows in (("tokens", tokens, known), ("characters", characters, np.ones_like(known))):
        for name, side in sides.items():
            side[unit].add(lengths[name][rows])
        sign = np.sign(lengths["chosen"] - lengths["rejected"])
        for group in set(groups):
            mine = sign[rows & np.array([name == group for name in groups])]
            for name, value in (("longer", 1), ("equal", 0), ("shorter", -1)):
                balance[group][unit][name] += int((mine == value).sum())
    return int(known.sum())


def _edges(counts: Counter[int]) -> tuple[str, list[int]]:
    """Scale and edges of the bins: equally wide, or growing where most lengths are far shorter than the longest."""
    total, seen, median, end = counts.total(), 0, 0, 0
    for value, number in sorted(counts.items()):
        if seen < total / 2:
            median = value
        if seen < LONGEST_SHOWN * total:
            end = value
        seen += number
    low = max(min(counts), 1)
    if end > 20 * max(median, low):
        return "log", sorted({round(edge) for edge in np.geomspace(low, end + 1, LENGTH_BINS)})
    width = max(1, -(-(end + 1 - low) // LENGTH_BINS))
    return "linear", list(range(low, end + width + 1, width))


def _bins(one: LengthHistogram, other: LengthHistogram) -> tuple[str, list[dict[str, int]]]:
    """Scale, and both histograms in the same bins; what is shorter or longer is counted in the outermost ones."""
    counts = one.counts(), other.counts()
    if not (every := Counter(counts[0]) + Counter(counts[1])):
        return "linear", []
    scale, edges = _edges(every)
    bins = [{"from": a, "to": b, "chosen": 0, "rejected": 0} for a, b in pairwise(edges)]
    for name, found in zip(("chosen", "rejected"), counts, strict=True):
        for value, number in found.items():
            bins[min(max(bisect(edges, value) - 1, 0), len(bins) - 1)][name] += number
    return scale, bins


EXAMPLES = 3
"""Rows shown of each reason."""
DOUBTED = 12
"""Doubtful verdicts shown."""
BANDS = ("none right", "up to 20%", "20 to 80%", "above 80%", "all right")


def lost_examples(store: Store, shards: int) -> dict[str, list[dict[str, Any]]]:
    """For each reason the first rows without a pair: source, source_id, text (or what was seen of a rejected row)."""
    found: dict[str, list[dict[str, Any]]] = {}
    for shard in finished_shards(store):
        table = ShardFiles(store, shard, shards).questions
        columns = ("status", "reason", "source", "source_id", "text", "detail", "answer")
        for status, reason, source, name, text, detail, answer in zip(
            *(table.column(column).to_pylist() for column in columns), strict=True
        ):
            if status != "paired" and len(rows := found.setdefault(reason or "", [])) < EXAMPLES:
                rows.append({"source": source, "source_id": name, "text": (text or detail)[:300], "answer": answer})
    return found


def doubtful(store: Store, shards: int) -> dict[str, Any]:
    """`counts`: questions by why their most doubtful verdict is doubted; `top`: the most doubtful verdicts with
    question, gold, the answer found, the verdict and its rule. The same order that the viewer's review queue has."""
    counts: Counter[str] = Counter()
    top: list[tuple[int, int, int, int, str]] = []
    overruled = often_overruled(read_all(store))
    for shard in finished_shards(store):
        columns = doubts_of(ShardFiles(store, shard, shards), overruled)
        rows = zip(*(columns[name].data.tolist() for name in ("doubt", "doubt_index", "why")), strict=True)
        found = [(worth, -shard, row, index, WHY[why]) for row, (worth, index, why) in enumerate(rows) if worth]
        counts.update(why for *_, why in found)
        top = sorted([*top, *found], key=lambda one: (-one[0], -one[1], one[2]))[:DOUBTED]
    shown = []
    for worth, place, row, index, why in top:
        files = ShardFiles(store, -place, shards)
        question = files.question(row)
        rollout = next(one for one in files.rollouts(question["question_id"] or "") if one["index"] == index)
        kept = {name: rollout[name] for name in ("outcome", "extracted", "rule")}
        asked = {name: question[name] for name in ("question_id", "source", "source_id", "answer")}
        described = {"text": question["text"][:300], "worth": worth, "index": index, "why": why}
        shown.append({**asked, **kept, **described})
    return {"counts": dict(counts.most_common()), "top": shown}


def solve_bands(rates: dict[str, Any]) -> list[dict[str, Any]]:
    """Questions with checked rollouts by how many of these were right, all sources together: `band` and `questions`."""
    totals = [0] * len(BANDS)
    for found in rates.values():
        low, middle, high = sum(found["bins"][:2]), sum(found["bins"][2:8]), sum(found["bins"][8:])
        for place, number in enumerate((found["none"], low, middle, high, found["all"])):
            totals[place] += number
    return [{"band": b, "questions": n} for b, n in zip(BANDS, totals, strict=True)] if sum(totals) else []
