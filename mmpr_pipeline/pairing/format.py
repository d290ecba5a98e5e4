"""FormatPairs pairs: a right answer in the form that was asked for is chosen over a response without that form.

Right or wrong is one signal, well-formed or not another: MMPR-v1.2 holds sets of `format_rules` beside those of
`correctness_rules`. A rejected response here is one that gives the right answer, or none that can be read, but not
where or how the prompt wants it; a wrong answer is left to the strategy `correctness`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

from mmpr_pipeline.core.records import CheckedRollout, Question
from mmpr_pipeline.engines.engine import Engine
from mmpr_pipeline.pairing.correctness import combinations
from mmpr_pipeline.pairing.settings import FormatSettings
from mmpr_pipeline.pairing.strategy import Pairs, Recipe, make_pair, options_of, seeded_order
from mmpr_pipeline.rollouts.prompts import TEMPLATES, THINK_END, THINK_START, Prompt

_FINAL = re.compile(r"^[ \t>*#]{0,9}(?:final answer|最终答案)[ \t*]{0,4}[:：]", re.IGNORECASE | re.MULTILINE)


class FormatPairs:
    """Pairs of a well-formed right response and an ill-formed one; asked beside the other strategies."""

    needs_rollouts = True
    always = True

    async def pair(
        self, question: Question, prompt: Prompt, rollouts: Sequence[CheckedRollout], engine: Engine, recipe: Recipe
    ) -> Pairs:
        """See `Strategy`. Applies where the prompt is one of our own that asks for a form."""
        settings = options_of(recipe, "format", FormatSettings)
        form = form_of(prompt.version)
        if form is None or question.kind == "none":
            return Pairs()
        own = [r for r in rollouts if r.parent is None]
        good = [r for r in own if r.outcome == "correct" and _ended(r) and well_formed(r.text, form)]
        bad = [
            r
            for r in own
            if r.outcome in ("correct", "unparseable")
            and r.text.strip()
            and (not well_formed(r.text, form) if _ended(r) else settings.cut_off)
        ]
        chosen, rejected = seeded_order(good, recipe.seed, "format"), seeded_order(bad, recipe.seed, "ill-formed")
        found = islice(combinations(chosen, rejected), settings.pairs)
        pairs = [make_pair(question, prompt.text, one, two, "format") for one, two in found]
        reason = "no_well_formed" if not chosen else "all_well_formed" if not rejected else None
        return Pairs(pairs, reason)


def _ended(rollout: CheckedRollout) -> bool:
    return rollout.finish_reason != "length"


def form_of(label: str) -> str | None:
    """The style whose form a prompt asks for, by its label; None where it asks for none, or is a source's own."""
    template = TEMPLATES.get(label.partition("@")[0])
    if template is None:
        return None
    style = template.name.rpartition("-")[0]
    return style if style in ("cot-final", "cot-boxed", "cot-think") else None


def well_formed(text: str, style: str) -> bool:
    """Whether a response has the form of a style: exactly one final answer, and nothing after its line.

    cot-final: a last line that begins with "Final answer:". cot-boxed: one box, in the last paragraph. cot-think: one
    thought, from the first character on, then only the line of the final answer.
    """
    text = text.strip()
    if style == "cot-boxed":
        return text.count("\\boxed{") == 1 and "\\boxed{" in text.rpartition("\n\n")[2]
    if style == "cot-think":
        if not text.startswith(THINK_START) or text.count(THINK_START) != 1 or text.count(THINK_END) != 1:
            return False
        rest = text.partition(THINK_END)[2].strip()
        return "\n" not in rest and _FINAL.match(rest) is not None
    last = text.rpartition("\n")[2]
    return _FINAL.match(last) is not None and len(_FINAL.findall(text)) == 1
