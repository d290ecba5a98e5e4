"""Answer checkers side by side on the same labelled cases, one core, one run.

    python bench/checker.py [FOLDER_OF_CASES ...] [--limit N]

Ours; Math-Verify, given answers in a box and as they are; Qwen2.5-Math's grader and the seed's rules, both as described
in `qwen_rules` and `seed_rules`. Without a folder, and without the data beside the checkout, a few cases embedded here
are used. Then the precision of each place where our checker looks for an answer.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import qwen_rules  # noqa: E402
import seed_rules  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from mmpr_pipeline.checking import CHECKER, check_prediction, check_response  # noqa: E402

BESIDE = [Path(__file__).parents[1].parent / "shared" / "data" / name for name in ("answers", "answers2")]
LONG = 500
"""Characters of a whole response that counts as long."""
GROUPS = {"number": "number, math", "math": "number, math", "choice": "choice"}
EMBEDDED = [
    {"kind": "choice", "choices": ["12", "15"], "gold": "15", "response": "So the answer is (B) 15.", "label": True},
    {"kind": "number", "gold": "5", "response": "guess something like 5 maybe", "label": False},
    {"kind": "math", "gold": "2\\sqrt{3}", "prediction": "\\sqrt{12}", "label": True},
    {"kind": "math", "gold": "2\\sqrt{3}", "prediction": "2\\sqrt{5}", "label": False},
    {"kind": "number", "gold": "2008", "prediction": "2009", "label": False},
    {"kind": "document", "gold": "Coca Cola", "prediction": "CocaCola", "label": True},
    {"kind": "yes_no", "gold": "No", "response": "No, they are of the same length.", "label": True},
    {"kind": "choice", "gold": "B", "response": "所以选B。\n【答案】B", "label": True},
]
Checker = Callable[[str, str, dict], bool | None]
"""True for correct, False for incorrect, None for in doubt."""


def ours(level: str, text: str, row: dict) -> bool | None:
    check = check_response if level == "response" else check_prediction
    names = ("golds", "choices", "question", "unit", "precision")
    known = {name: row[name] for name in names if row.get(name) is not None}
    outcome = check(text, gold=row["gold"], kind=row.get("kind"), **known).outcome
    return None if outcome == "unparseable" else outcome == "correct"


def math_verify(boxed: bool) -> Checker:
    """Math-Verify's own `parse` and `verify`, default settings; it needs the main thread (signals)."""
    from math_verify import parse, verify

    def judged(level: str, text: str, row: dict) -> bool:
        gold = f"\\boxed{{{row['gold']}}}" if boxed else f"${row['gold']}$"
        if level == "prediction" and boxed:
            text = f"\\boxed{{{text}}}"
        golds = [gold] + ([f"\\boxed{{{row['gold_letter']}}}"] if boxed and row.get("gold_letter") else [])
        answer = parse(text)
        return any(verify(parse(g), answer) for g in golds)

    return judged


def seed(level: str, text: str, row: dict) -> bool:
    return seed_rules.judged(seed_rules.extracted(text) if level == "response" else text, row)


def qwen(level: str, text: str, row: dict) -> bool:
    return qwen_rules.judged(qwen_rules.extracted(text, row.get("kind", "")) if level == "response" else text, row)


def cases(folder: Path | None, limit: int | None) -> Iterator[tuple[str, str, str, dict]]:
    """(file, level, answer, row) of every labelled answer, hostile inputs left out (two of the three hang on them)."""
    if folder is None:
        for row in EMBEDDED:
            level = "response" if "response" in row else "prediction"
            yield "embedded", level, row[level], row
        return
    for path in sorted(folder.glob("*.jsonl")):
        if path.stem == "adversarial":
            continue
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        for row in rows[:limit]:
            for level in ("response", "prediction"):
                if isinstance(row.get(level), str) and isinstance(row.get("label"), bool):
                    yield path.stem, level, row[level], row


Measured = tuple[list[bool | None], list[float], list[float], float]


def measured(checker: Checker, todo: list[tuple[str, str, str, dict]]) -> Measured:
    """Verdicts, seconds and the processor's seconds of each case, and those of all with children, after a warm-up."""
    for _, level, text, row in todo[:3]:
        checker(level, text, row)
    verdicts: list[bool | None] = []
    seconds, own, cpu = [], [], _cpu()
    for _, level, text, row in todo:
        started, busy = time.perf_counter(), time.process_time()
        try:
            verdict = checker(level, text, row)
        except Exception:  # another's checker may raise anything; that is its verdict
            verdict = False
        seconds.append(time.perf_counter() - started)
        own.append(time.process_time() - busy)
        verdicts.append(verdict)
    return verdicts, seconds, own, _cpu() - cpu


def _cpu() -> float:
    """Seconds of processor that this process and its finished children have used: unmoved by a busy machine."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def report(name: str, todo: list, verdicts: list[bool | None], seconds: list[float], cpu: float, table: Table) -> float:
    """One row; returns cases for a second of processor."""
    labels = [row["label"] for _, _, _, row in todo]
    ordered, rate = sorted(seconds), len(seconds) / sum(seconds)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    table.add_row(
        name,
        *shares(verdicts, labels),
        f"{rate:,.0f}",
        f"{len(seconds) / cpu:,.0f}",
        f"{statistics.median(seconds) * 1e3:.2f}",
        f"{p99 * 1e3:.2f}",
        f"{ordered[-1] * 1e3:.0f}",
    )
    return len(seconds) / cpu


def shares(verdicts: list[bool | None], labels: list[bool]) -> list[str]:
    """Right (in doubt is right for a wrong answer), false correct, false reject and in doubt, as shares of all."""
    pairs = list(zip(verdicts, labels, strict=True))
    counts = (
        sum((v is True) == label for v, label in pairs),
        sum(v is True and not label for v, label in pairs),
        sum(v is False and label for v, label in pairs),
        sum(v is None for v, _ in pairs),
    )
    return [f"{count / len(pairs):.2%}" for count in counts]


def by_length(todo: list, busy: dict[str, list[float]]) -> Table:
    """Cases for a second of processor, of all answers and of long whole responses, and how many times as many we do."""
    table = Table(
        "answers", "n", *busy, "ours is", title="cases for a second of processor", title_justify="left", box=None
    )
    long = [level == "response" and len(text) >= LONG for _, level, text, _ in todo]
    for name, picked in (("all", [True] * len(todo)), (f"responses of {LONG} characters or more", long)):
        n = sum(picked)
        rates = {who: n / sum(s for s, here in zip(times, picked, strict=True) if here) for who, times in busy.items()}
        fastest = max(rate for who, rate in rates.items() if who.startswith("Math-Verify"))
        table.add_row(name, f"{n:,}", *(f"{rate:,.0f}" for rate in rates.values()), f"{rates[CHECKER] / fastest:.1f}x")
    return table


def by_kind(todo: list, results: dict[str, list[bool | None]]) -> Table:
    """The same shares, of each checker on each group of kinds."""
    columns = ("kind", "n", "checker", "right", "false correct", "false reject", "in doubt")
    table = Table(*columns, title="by kind of answer", title_justify="left", box=None)
    groups = [GROUPS.get(row.get("kind") or "", "yes/no, text, chart, ...") for *_, row in todo]
    for group in sorted(set(groups)):
        picked = [i for i, other in enumerate(groups) if other == group]
        labels = [todo[i][3]["label"] for i in picked]
        for name, verdicts in results.items():
            table.add_row(group, str(len(picked)), name, *shares([verdicts[i] for i in picked], labels))
    return table


def places(todo: list) -> Iterator[Table]:
    """The precision of each place on its own, on responses whose formal answers are cut off; one table a kind."""
    from mmpr_pipeline.checking.cases import BadCase, case_of
    from mmpr_pipeline.checking.measure import measure_places
    from mmpr_pipeline.checking.table import places_table

    def labelled() -> Iterator[tuple]:
        for _, level, text, row in todo:
            if level == "response":
                try:
                    yield re.sub(r"\s*(?:####|\nA:).*$", "", text), case_of(row, 0, "response").gold, row["label"]
                except BadCase:
                    continue

    for kind, scores in measure_places(labelled()).items():
        yield places_table(scores, f"places of {kind} answers, each on its own")


def by_file(todo: list, results: dict[str, list[bool | None]]) -> Table:
    """Accuracy of each checker on each file and level."""
    table = Table("cases of", "level", "n", *results, title="accuracy, %", title_justify="left", box=None)
    for group in dict.fromkeys((name, level) for name, level, _, _ in todo):
        picked = [i for i, case in enumerate(todo) if case[:2] == group]
        right = [sum((v[i] is True) == todo[i][3]["label"] for i in picked) / len(picked) for v in results.values()]
        table.add_row(*group, str(len(picked)), *(f"{100 * share:.2f}" for share in right))
    return table


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, default=[path for path in BESIDE if path.is_dir()] or [None])
    parser.add_argument("--limit", type=int, help="most cases of each file")
    settings = parser.parse_args()
    todo = [case for folder in settings.folders for case in cases(folder, settings.limit)]
    checkers: dict[str, Checker] = {
        CHECKER: ours,
        "Math-Verify, boxed": math_verify(True),
        "Math-Verify, plain": math_verify(False),
        "Qwen2.5-Math's rules": qwen,
        "the seed's rules": seed,
    }
    table = Table(
        "checker", "right", "false +", "false -", "in doubt", "cases/s", "cases/cpu s", "p50 ms", "p99 ms", "worst ms",
        title=f"{len(todo):,} labelled answers, one core", title_justify="left", box=None,
    )  # fmt: skip
    results, rates, busy = {}, {}, {}
    for name, checker in checkers.items():
        results[name], seconds, busy[name], cpu = measured(checker, todo)
        rates[name] = report(name, todo, results[name], seconds, cpu, table)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    if any(level == "response" and len(text) >= LONG for _, level, text, _ in todo):
        console.print(by_length(todo, busy))
    console.print(by_kind(todo, results))
    console.print(by_file(todo, results))
    console.print(*places(todo))
    fastest = max(rate for name, rate in rates.items() if name.startswith("Math-Verify"))
    ratio = rates[CHECKER] / fastest
    console.print(f"{CHECKER} judges {ratio:.1f}x the cases of the faster Math-Verify for a second of processor.")


if __name__ == "__main__":
    main()
