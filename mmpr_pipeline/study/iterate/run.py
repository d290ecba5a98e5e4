"""`mmpr iterate`: rounds of build, train and evaluate, as steps that are done once, until accuracy no longer rises.

The rounds are also a page: one row a round, with accuracy and its interval as a bar. Self-contained, without scripts.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.core.settings import load_settings
from mmpr_pipeline.core.version import __version__
from mmpr_pipeline.evaluation.results import MeanFields
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.study.iterate.settings import IterateConfig
from mmpr_pipeline.study.run import Doer, InProcesses, StepFailed
from mmpr_pipeline.study.steps.held_out import NAME
from mmpr_pipeline.study.steps.step import Step, StepFacts, build_counts

RESULTS, PAGE = "rounds.json", "rounds.html"
HELD_OUT = f"./steps/held-out/questions/{NAME}.yaml"
Announce = Callable[[str], None]
"""Called with the name of each step as it begins, and with what a round came to."""


def iterate(*, out: str | Path, view: Announce | None = None, **settings: Any) -> IterateResults:
    """Build, train and evaluate in rounds from Python; `settings` as in `mmpr iterate`'s YAML. See `run_iterate`."""
    config = load_settings(IterateConfig, None, {"out": str(out), **settings}, "mmpr iterate")
    return run_iterate(config, view or (lambda text: None))


def run_iterate(
    config: IterateConfig, announce: Announce = lambda text: None, doer: Doer | None = None
) -> IterateResults:
    """Do the rounds and return what stands in `rounds.json`: `rounds`, `best` and `stopped`, why there is no further.

    Raises ConfigError where a step was begun with other settings, StepFailed where one ends with an error. May be
    killed at any time: the same call goes on with the step that was not done.
    """
    root = Path(config.out).expanduser().absolute()
    store = open_store(root)
    store.check_writable()
    doer = doer or InProcesses(2)
    with store.lease():
        try:
            return _rounds(config, root, announce, doer)
        except BaseException:
            if isinstance(doer, InProcesses):
                doer.stop()
            raise


def _rounds(config: IterateConfig, root: Path, announce: Announce, doer: Doer) -> IterateResults:
    if config.holds_out:
        asked = {name: config.build.get(name) for name in ("sources", "data_root", "limit")}
        settings = {**asked, "held_out": config.held_out, "folder": HELD_OUT.rpartition("/")[0]}
        _done(Step("held-out", "hold_out", settings), root, announce, doer)
    accuracy = _evaluated(config, 0, config.model, root, announce, doer)
    rounds: list[RoundResults] = [
        {"round": 0, "model": config.model, "accuracy": accuracy["all"], "by_source": accuracy}
    ]
    stopped = f"all {config.rounds} rounds are done"
    for number in range(1, config.rounds + 1):
        best = rounds[-1]
        model, name = best["model"], f"round-{number}"
        built = f"./steps/{name}/build/data"
        build = Step(f"{name}/build", "build", config.build_settings(model, built, number, HELD_OUT))
        counts = build_counts(_done(build, root, announce, doer))
        trained = f"./steps/{name}/train/model"
        settings = config.train_settings(model, built, f"./steps/{name}/train/run", trained)
        training = _done(Step(f"{name}/train", "train", settings, (build.name,)), root, announce, doer)
        accuracy = _evaluated(config, number, trained, root, announce, doer)
        rounds.append(
            {
                "round": number,
                "model": trained,
                "pairs": counts["pairs"],
                "tokens": counts["generated_tokens"],
                "questions": counts["questions"],
                "steps": training["steps"],
                "accuracy": accuracy["all"],
                "by_source": accuracy,
            }
        )
        gain = rounds[-1]["accuracy"]["mean"] - best["accuracy"]["mean"]
        announce(f"round {number}: held-out accuracy {rounds[-1]['accuracy']['mean']:.1%} ({gain:+.1%})")
        _write(config, rounds, "", root)
        if gain <= config.least_gain:
            stopped = f"round {number} did not raise held-out accuracy by more than {config.least_gain:.1%}"
            break
    return _write(config, rounds, stopped, root)


def _evaluated(
    config: IterateConfig, number: int, model: str, root: Path, announce: Announce, doer: Doer
) -> dict[str, MeanFields]:
    """A round's accuracy on the held-out questions, by source and over `all`."""
    name = f"round-{number}/evaluate"
    settings = config.eval_settings(model, f"./steps/{name}/results", HELD_OUT)
    needs = (f"round-{number}/train",) if number else ()
    return _done(Step(name, "evaluate", settings, needs), root, announce, doer)["accuracy"]


def _done(step: Step, root: Path, announce: Announce, doer: Doer) -> StepFacts:
    """What a step wrote down when it was done, now or before."""
    found = step.done(root)
    if found is None:
        announce(step.name)
        step.begin(root)
        doer(step, root)
        found = step.done(root)
    if found is None:
        raise StepFailed(f"The step {step.name} ended without a result.", remedy=f"See {step.folder(root)}.")
    return found


def _write(config: IterateConfig, rounds: list[RoundResults], stopped: str, root: Path) -> IterateResults:
    best = max(rounds, key=lambda each: (each["accuracy"]["mean"], -each["round"]))
    results: IterateResults = {
        "mmpr_version": __version__,
        "config": config.model_dump(mode="json"),
        "rounds": rounds,
        "best": {"round": best["round"], "model": best["model"]},
        "stopped": stopped,
    }
    store = open_store(root)
    store.write(RESULTS, json_bytes(results))
    store.write(PAGE, write_page(results).encode())
    return results


class RoundResults(TypedDict):
    """A round's model, its accuracy on the held-out questions, and, from round 1 on, what it was trained on."""

    round: int
    model: str
    pairs: NotRequired[dict[str, int]]
    tokens: NotRequired[int]
    questions: NotRequired[int]
    steps: NotRequired[int]
    accuracy: MeanFields
    by_source: dict[str, MeanFields]


class BestRound(TypedDict):
    """The round of the highest accuracy."""

    round: int
    model: str


class IterateResults(TypedDict):
    """rounds.json. `stopped` says why there is no further round; empty while there may be one."""

    mmpr_version: str
    config: dict[str, object]
    rounds: list[RoundResults]
    best: BestRound
    stopped: str


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2026;"
    "background:#fff}table{border-collapse:collapse;width:100%}th,td{text-align:right;padding:.4rem .6rem;"
    "border-bottom:1px solid #d8dde3}th:first-child,td:first-child{text-align:left}.best{font-weight:600}"
    "@media(prefers-color-scheme:dark){body{background:#15181c;color:#e6e9ed}th,td{border-color:#3a4048}}"
)
_WIDTH, _HEIGHT = 240, 14


def write_page(results: IterateResults) -> str:
    """The page of `rounds.json`."""
    rounds, best = results["rounds"], results["best"]["round"]
    rows = "".join(_row(each, each["round"] == best) for each in rounds)
    first, last = rounds[0]["accuracy"]["mean"], max(each["accuracy"]["mean"] for each in rounds)
    summary = f"Best: round {best}, {last:.1%} of the held-out questions; the model to begin with, {first:.1%}."
    ended = f"<p>Ended: {escape(results['stopped'])}.</p>" if results["stopped"] else "<p>Still running.</p>"
    heads = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("round", "held-out accuracy", "95% interval", "", "pairs", "tokens sampled", "steps trained")
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>mmpr iterate</title><style>{_STYLE}</style><h1>Rounds of build, train, evaluate</h1>"
        f"<p>{summary}</p>{ended}<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        f"<p>The best model: <code>{escape(results['best']['model'])}</code></p></html>\n"
    )


def _row(each: RoundResults, best: bool) -> str:
    accuracy = each["accuracy"]
    name = f"{each['round']}" if each["round"] else "0, before any"
    pairs = f"{sum(each['pairs'].values()):,}" if "pairs" in each else ""
    # Accuracy as a bar from 0 to 1, its interval as a line.
    mean = accuracy["mean"]
    low = accuracy["low"]
    high = accuracy["high"]
    middle = _HEIGHT // 2
    cells = [
        name,
        f"{accuracy['mean']:.1%}",
        f"{accuracy['low']:.1%} to {accuracy['high']:.1%}",
        (
            f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{mean:.1%}">'
            f'<rect width="{mean * _WIDTH:.1f}" height="{_HEIGHT}" fill="#3f7cbf"/>'
            f'<line x1="{low * _WIDTH:.1f}" x2="{high * _WIDTH:.1f}" y1="{middle}" y2="{middle}" '
            'stroke="#d9822b" stroke-width="3"/></svg>'
        ),
        pairs,
        f"{each['tokens']:,}" if "tokens" in each else "",
        f"{each['steps']:,}" if "steps" in each else "",
    ]
    shown = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr class="{"best" if best else ""}">{shown}</tr>'
