"""The rounds as a page: one row a round, with accuracy and its interval as a bar. Self-contained, without scripts."""

from __future__ import annotations

from html import escape

from mmpr_pipeline.study.iterate.rounds import IterateResults, RoundResults

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
