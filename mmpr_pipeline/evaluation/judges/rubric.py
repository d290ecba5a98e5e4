"""What a judge is asked, and how its reply becomes a score.

The words are ours; scale, order, what is shown to the judge and the form of its verdict are each benchmark's own. Who
has the benchmark's text may put it in place (`--judge-prompts DIR`, a file `NAME.txt` with the same `{places}`); the
result says which of both was used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import content_id
from mmpr_pipeline.evaluation.benchmarks.items import BenchmarkItem
from mmpr_pipeline.evaluation.scoring.graded import Graded
from mmpr_pipeline.models.messages import IMAGE_MARK

Read = Callable[[str], Graded | None]
"""The score in a judge's reply; None where there is none, or more than one."""

_PLACE = re.compile(r"\{([a-z_]+)\}")
_NUMBER = re.compile(r"(?<![\d.])\d+(?:\.\d+)?(?![\d.]*\d)")


@dataclass(frozen=True)
class Rubric:
    """A judge's task. `fields` gives the texts for the places of `template`, `response` aside."""

    name: str
    template: str
    fields: Callable[[BenchmarkItem], Mapping[str, str]]
    read: Read
    with_image: bool = False
    both_orders: bool = False
    """Ask twice, with the places of the two answers changed, and take the mean: where order sways the judge."""
    swapped: Callable[[Graded], Graded] = lambda graded: graded
    """Turns the verdict of the other order into one of the first order."""
    failed: float = 0.0
    """What an answer counts for which no readable verdict was given (the official scripts' choice)."""
    max_tokens: int = 1024
    words: str = "ours"
    """Whose words the template has: ours, or the file that was put in place."""
    version: str = field(default="")

    def prompt(self, item: BenchmarkItem, response: str, *, swap: bool = False) -> str:
        """The judge's user turn. What rows and responses hold is not looked at for places again."""
        texts = {**self.fields(item), "response": response}
        if swap:
            texts["first"], texts["second"] = response, texts["reference"]
        elif "reference" in texts:
            texts["first"], texts["second"] = texts["reference"], response
        return _PLACE.sub(lambda match: texts.get(match[1], match[0]), self.template)


def rubric_of(name: str, folder: str | None) -> Rubric:
    """The rubric of a name, with the text of `folder`, if there is one. Raises ConfigError."""
    if name not in RUBRICS:
        raise ConfigError(f"Unknown judge prompt {name!r}.", remedy=f"Known: {', '.join(sorted(RUBRICS))}.")
    rubric = RUBRICS[name]
    path = Path(folder) / f"{name}.txt" if folder else None
    if path is not None and path.is_file():
        text = path.read_text("utf-8")
        if "{response}" not in text and "{second}" not in text:
            raise ConfigError(f"{path} has no place {{response}}.", remedy="Write {response} where the answer goes.")
        rubric = replace(rubric, template=text, words=path.name)
    return replace(rubric, version=content_id(rubric.template)[:8])


def read_share(reply: str) -> Graded | None:
    """One number of 0 to 1: MM-Vet. A reply with other numbers beside it is read by its last line."""
    for text in (reply.strip(), reply.strip().splitlines()[-1] if reply.strip() else ""):
        found = {float(number) for number in _NUMBER.findall(text)}
        if len(found) == 1 and 0 <= (value := found.pop()) <= 1 and "-" not in text:
            return Graded(value, f"{value:g}", "judge")
    return None


def read_two(reply: str) -> Graded | None:
    """Two numbers of 1 to 10 in the first line: of the reference, and of the model (LLaVA-Bench)."""
    lines = reply.strip().splitlines()
    found = [float(number) for number in _NUMBER.findall(lines[0])] if lines else []
    if len(found) != 2 or not all(1 <= value <= 10 for value in found):
        return None
    return Graded(found[1], f"{found[1]:g} to {found[0]:g}", "judge", {"reference": found[0]})


def read_rating(reply: str) -> Graded | None:
    """`Rating: N` of 0 to 6, one N only: MMHal-Bench."""
    found = {int(number) for number in re.findall(r"rating:\s*\**\s*(\d+)", reply, re.IGNORECASE)}
    if len(found) != 1 or not 0 <= (value := found.pop()) <= 6:
        return None
    return Graded(float(value), str(value), "judge")


_VERDICTS = {"A>>B": -2.0, "A>B": -1.0, "A=B": 0.0, "B>A": 1.0, "B>>A": 2.0}


def read_preference(reply: str) -> Graded | None:
    """`[[A>>B]]` to `[[B>>A]]`, one verdict only: -2 to 2 for B, the model (MM-AlignBench)."""
    found = set(re.findall(r"\[\[([AB<>=]{3,4})\]\]", reply))
    if len(found) != 1 or (verdict := found.pop()) not in _VERDICTS:
        return None
    return Graded(_VERDICTS[verdict], verdict, "judge")


def read_same(reply: str) -> Graded | None:
    """`yes` or `no`, one of them only: whether the answer says what the gold says (VisualProbe)."""
    found = set(re.findall(r"\b(yes|no)\b", reply.lower()))
    return Graded(float(found == {"yes"}), found.pop(), "judge") if len(found) == 1 else None


def _negated(graded: Graded) -> Graded:
    return replace(graded, score=-graded.score)


_MMVET = """Grade an answer against the ground truth, from 0.0 (all wrong) to 1.0 (all right) in steps of 0.1.
Where the ground truth joins parts by <AND>, all of them must be in the answer, and an answer that has some gets its
share; where it joins them by <OR>, any one of them makes the answer right.

Examples (question | ground truth | answer | grade):
What are the zeros of the curve? | -2 <AND> 3 | x = 7 | 0.0
What are the zeros of the curve? | -2 <AND> 3 | x = 3 | 0.5
What are the zeros of the curve? | -2 <AND> 3 | x = -2 and x = 3 | 1.0
What is on the plate? | rice <OR> couscous | Some couscous with herbs. | 1.0
Why is the sign funny? | It warns of slippery stairs, and stands on a flat floor | It stands in a hall. | 0.2
Why is the sign funny? | It warns of slippery stairs, and stands on a flat floor | There are no stairs near it. | 0.7

Reply with the grade alone.
{question} | {truth} | {response} | """

_LLAVA = """[Context: what the image shows]
{caption}

[Question]
{question}

[Answer of assistant 1]
{first}

[Answer of assistant 2]
{second}

[Task]
Two assistants answered the question about an image that you know by the context. Judge how helpful, relevant, accurate
and detailed each answer is, from 1 to 10. In which order the answers stand must not matter.
First line: only the two scores, of assistant 1 and of assistant 2, with a space between. Then explain them."""

_MMHAL = """You are a strict and fair judge of what a vision-language model says about an image. Decide how informative
its response is, and whether it holds any hallucination: a claim about the image that neither the image's contents nor
the standard answer support or imply. General knowledge and analysis are welcome as long as they claim nothing false of
the image. Not to know, or not to list everything, is no hallucination. The standard answer need not be complete.

Examples:
Contents: Cat, Sofa. Question: How many cats are there? Standard answer: Two. Response: There is one cat.
It contradicts the count: hallucination.
Contents: Tree, Panda. Question: What is seen? Standard answer: A panda on a branch. Response: A large black and white
panda rests on a tree branch. All of it is supported: no hallucination.
Contents: Dog, Umbrella. Question: Describe the image. Standard answer: A dog lies under a yellow umbrella on a beach.
Response: A dog lies under an umbrella next to the surf. No water is there: hallucination.
Contents: Building, Person. Question: Where was it taken? Standard answer: At the airport of Houston. Response: At an
airport; which one cannot be seen. It claims nothing false: no hallucination.

Explain your judgement briefly, then end with one line of these:
Rating: 6 (very informative, with good analysis, no hallucination)
Rating: 5 (very informative, no hallucination)
Rating: 4 (somewhat informative, no hallucination)
Rating: 3 (not informative, no hallucination)
Rating: 2 (very informative, with hallucination)
Rating: 1 (somewhat informative, with hallucination)
Rating: 0 (not informative, with hallucination)

Image contents: {contents}
Question: {question}
Standard answer: {truth}
Response to judge: {response}"""

_ALIGN = """Two assistants, A and B, answered a user's request about the image. Judge impartially which answer is
better. First answer the request yourself; then compare both with your own answer: are they correct, helpful, relevant
and concise, is something wrong or missing, and where it is asked for, are they creative and well written?
The answers' length, names and order must not matter. Explain, then end with one of these verdicts and no other:
[[A>>B]] A is much better; [[A>B]] A is a little better; [[A=B]] about the same; [[B>A]] B is a little better;
[[B>>A]] B is much better.

<request>
{question}
</request>
<answer of A>
{first}
</answer of A>
<answer of B>
{second}
</answer of B>"""

_SAME = """A question about an image has a known answer. Does the response give that answer? Wording and detail may
differ; what is asked for must be the same.
Question: {question}
Known answer: {truth}
Response: {response}
Reply with yes or no alone."""


def _with_truth(column: str) -> Callable[[BenchmarkItem], Mapping[str, str]]:
    return lambda item: {"question": _asked(item), "truth": item.question.answer or item.text(column)}


def _asked(item: BenchmarkItem) -> str:
    return item.question.text.replace(IMAGE_MARK, "").strip()


RUBRICS = {
    rubric.name: rubric
    for rubric in (
        Rubric("mmvet", _MMVET, _with_truth("answer"), read_share, max_tokens=16),
        Rubric(
            "llava_bench",
            _LLAVA,
            lambda item: {
                "question": _asked(item),
                "caption": item.text("caption"),
                "reference": item.text("gpt_answer"),
            },
            read_two,
        ),
        Rubric(
            "mmhal",
            _MMHAL,
            lambda item: {
                "question": _asked(item),
                "contents": item.text("image_content"),
                "truth": item.text("gt_answer"),
            },
            read_rating,
        ),
        Rubric(
            "mm_alignbench",
            _ALIGN,
            lambda item: {"question": _asked(item), "reference": item.text("claude3_sonnet")},
            read_preference,
            with_image=True,
            both_orders=True,
            swapped=_negated,
            max_tokens=4096,
        ),
        Rubric("same_answer", _SAME, _with_truth("answer"), read_same, max_tokens=16),
    )
}
