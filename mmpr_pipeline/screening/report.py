"""What the screening found, in sentences: for the terminal, the summary and the dataset's card."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from mmpr_pipeline.screening.mixture import ShareFields


class EvaluationSet(TypedDict):
    """An evaluation source that questions were compared with. `content`: the fingerprint of its files."""

    rows: int
    content: str


class ScreenedCounts(TypedDict):
    """What became of the rows of one source. `questions`: what is left to work on, repeats included."""

    rows: int
    asked: int
    left_out: int
    unreadable: int
    duplicate_question: int
    contaminated: int
    share: ShareFields
    questions: int
    near_duplicate: NotRequired[int]


class ComparedSets(TypedDict):
    """The evaluation sources that a plan compares with, and why it does not compare with others."""

    against: dict[str, EvaluationSet]
    unchecked: dict[str, str]
    plan: NotRequired[str]


class ScreeningReport(ComparedSets):
    """screening/report.json."""

    sources: dict[str, ScreenedCounts]
    contaminated: dict[str, int]
    templates: int
    near_duplicates: NotRequired[dict[str, int]]
    hashes: NotRequired[dict[str, str]]


DROPS: dict[Literal["duplicate_question", "near_duplicate", "contaminated"], str] = {
    "duplicate_question": "that an earlier row has too",
    "near_duplicate": "that are nearly those of an earlier row",
    "contaminated": "that an evaluation set has too",
}


def report_sentences(report: ScreeningReport) -> list[str]:
    """What was dropped and left out, with what it was compared, and with what not."""
    counts = {reason: sum(source.get(reason, 0) for source in report["sources"].values()) for reason in DROPS}
    pairs = {"contaminated": report["contaminated"], "near_duplicate": report.get("near_duplicates", {})}
    dropped = []
    for reason, count in counts.items():
        by = ", ".join(f"{name}: {n:,}" for name, n in pairs.get(reason, {}).items())
        if count:
            dropped.append(f"{count:,} questions dropped {DROPS[reason]}" + (f" ({by})" if by else ""))
    sentences = ["; ".join(dropped) + "."] if dropped else []
    if report["against"]:
        sets = ", ".join(f"{name} ({content['rows']:,} rows)" for name, content in report["against"].items())
        sentences.append(f"Compared with the evaluation sets {sets}.")
    if left := sum(counts["left_out"] for counts in report["sources"].values()):
        sentences.append(f"{left:,} questions are not in the mixture.")
    if report["templates"]:
        sentences.append(
            f"{report['templates']:,} evaluation questions are worded as many training questions are; those were kept "
            "unless their images are alike too."
        )
    return sentences


NOT_COMPARED = "No question was compared with an evaluation set."


def contamination_sentences(report: ScreeningReport | None) -> list[str]:
    """`report_sentences`, and whether anything was compared with evaluation sets at all; None: nothing was screened."""
    if report is None:
        return [NOT_COMPARED]
    compared = report["against"] or report["unchecked"]
    return report_sentences(report) + [NOT_COMPARED] * (not compared)


def unchecked(report: ComparedSets) -> str | None:
    """The warning about evaluation sets that could not be compared with; None where there are none."""
    missed = report["unchecked"]
    if not missed:
        return None
    name, why = next(iter(missed.items()))
    why = why.rstrip(".")
    return (
        f"Not compared with the evaluation sets {', '.join(missed)}: they cannot be read here ({name}: {why}). What "
        "they share with the training sources is still in."
    )
