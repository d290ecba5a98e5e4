"""Our scores beside those of VLMEvalKit, lmms-eval and the authors' scripts, on the same predictions.

    python bench/evaluation_peers.py --kit-python ENV/bin/python --authors CHECKOUTS

Predictions are made up (many ways to answer, right and wrong), and where authors publish theirs (M3CoT, TheoremQA,
MathVision with --mathvision FOLDER: its questions.jsonl, and a rollouts.jsonl that has the authors' own verdict on each
answer), those. Every case on which two scorers differ can be listed with --show.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from mmpr_pipeline.core.records import Question, content_id
from mmpr_pipeline.evaluation.benchmarks.items import BenchmarkItem
from mmpr_pipeline.evaluation.judges import rubric
from mmpr_pipeline.evaluation.metrics import rates
from mmpr_pipeline.evaluation.metrics.metric import Metric, ScoredItem
from mmpr_pipeline.evaluation.scoring import choice, ifeval, open_answer
from mmpr_pipeline.evaluation.scoring.chair import Chair
from mmpr_pipeline.evaluation.scoring.graded import Graded, Score

Case = dict[str, Any]
WORDS = ("harbour", "lantern", "meadow", "orchard", "pebble", "quarry", "saddle", "thimble")


def item(case: Case, kind: str = "choice") -> BenchmarkItem:
    """A case as an item of its benchmark."""
    question = Question(
        question_id=content_id(json.dumps(case)),
        source="peers",
        source_id="1",
        text=case.get("question", "What is it?"),
        kind=kind,  # type: ignore[arg-type]
        choices=tuple(case.get("choices", ())),
        answer=str(case.get("letter", case.get("answer", ""))) or None,
        precision=case.get("precision"),
    )
    return BenchmarkItem(question, case)


def scored(rule: Score, cases: list[Case], kind: str = "choice") -> list[float]:
    """Our score of each case."""
    return [rule(item(case, kind), case["response"]).score for case in cases]


def value(metric: Metric, marks: list[ScoredItem]) -> float:
    """The metric of these marks."""
    return metric.of(marks)


def pope_cases(rng: Random) -> list[Case]:
    ways = ["Yes", "yes.", "No", "no", "Yes, there is a {w}.", "No, there is no {w} in the image.", "There is a {w}.",
            "I cannot see a {w}.", "YES", "Nothing like it.", "The answer is no.", "Yes and no."]  # fmt: skip
    return [
        {"answer": rng.choice(("yes", "no")), "response": rng.choice(ways).format(w=rng.choice(WORDS))}
        for _ in range(400)
    ]


def letter_cases(rng: Random) -> list[Case]:
    ways = ["{l}", "({l})", "{l}.", "{l}. {t}", "The answer is {l}", "The answer is {l}.", "Answer: {l}", "**{l}**",
            "{t}", "It is the {t}.", "({l}) {t}", "{l}) {t}", "I think {l} is right.", "Option {l}", "{l} or {m}",
            "Not {m} but {l}", "A man holds it, so {l}", "The correct option is ({l}).", "none of these"]  # fmt: skip
    made = []
    for _ in range(600):
        texts = rng.sample(WORDS, 4)
        gold, said, other = rng.choice("ABCD"), rng.choice("ABCD"), rng.choice("ABCD")
        response = rng.choice(ways).format(l=said, t=texts["ABCD".index(said)], m=other)
        made.append({"choices": texts, "answer": gold, "letter": gold, "response": response, "said": said})
    return made


def crpe_cases(rng: Random) -> list[Case]:
    made = []
    for case in letter_cases(rng):
        listed = "\n".join(f"{'ABCD'[i]}. {text}" for i, text in enumerate(case["choices"]))
        right = case["choices"]["ABCD".index(case["answer"])]
        made.append({**case, "question": f"What is it?\n{listed}", "correct_option": case["answer"],
                     "correct_option_text": f"{case['answer']}.  {right}"})  # fmt: skip
    return made


def hrbench_cases(rng: Random) -> list[Case]:
    return [{"cycle": str(i % 4), "right": int(rng.random() < 0.3 + 0.1 * (i % 4)), "response": ""} for i in range(203)]


def xlrs_cases(rng: Random) -> list[Case]:
    ways = ["{s}", "({s})", "{c}", "The answer is {c}", "The best answer is ({s})", "{p}", "{s}."]
    made = []
    for _ in range(300):
        said, gold = (sorted(rng.sample("ABCD", rng.choice((1, 1, 1, 2, 3)))) for _ in range(2))
        gold = said if rng.random() < 0.5 else gold
        told = {"s": "".join(said), "c": ", ".join(said), "p": " ".join(said)}
        made.append({"answer": "".join(gold), "response": rng.choice(ways).format(**told)})
    return made


def mathvista_cases(rng: Random) -> list[Case]:
    made: list[Case] = []
    for _ in range(400):
        kind = rng.choice(("choice", "integer", "float"))
        if kind == "choice":
            texts = rng.sample(WORDS, 4)
            at, gold = rng.randrange(4), rng.randrange(4)
            response = rng.choice([f"({'ABCD'[at]}) {texts[at]}", "ABCD"[at], texts[at], texts[at][:-1]])
            made.append({"choices": texts, "question_type": "multi_choice", "answer_type": "text", "precision": None,
                         "answer": texts[gold], "letter": "ABCD"[gold], "response": response})  # fmt: skip
        elif kind == "integer":
            gold_number = rng.randint(0, 30)
            said = rng.choice([gold_number, gold_number + 0.6, gold_number + 1])
            made.append({"choices": [], "question_type": "free_form", "answer_type": "integer", "precision": None,
                         "answer": str(gold_number), "response": str(said)})  # fmt: skip
        else:
            exact = round(rng.uniform(0, 9), 3)
            said = rng.choice([exact, round(exact, 2), exact + 0.004, exact + 0.2])
            made.append({"choices": [], "question_type": "free_form", "answer_type": "float", "precision": 2,
                         "answer": str(round(exact, 2)), "response": str(said)})  # fmt: skip
    return made


def mathvision_cases(rng: Random) -> list[Case]:
    pairs = [("\\frac{1}{2}", "0.5"), ("2\\sqrt{3}", "\\sqrt{12}"), ("2\\sqrt{3}", "2\\sqrt{5}"), ("72", "72"),
             ("72^{\\circ}", "72"), ("10\\pi", "31.4159265358979"), ("7", "8"), ("x+1", "1+x"), ("3.50", "3.5"),
             ("1,000", "1000"), ("-4", "4"), ("\\frac{3}{4}", "\\frac{6}{8}"), ("B", "C"),
             ("9:16", "9:16")]  # fmt: skip
    return [{"response": a, "answer": b} for a, b in pairs]


def ifeval_cases(rng: Random) -> list[Case]:
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("punctuation:no_comma", {}),
        ("length_constraints:number_words", {"relation": "at least", "num_words": 12}),
        ("keywords:existence", {"keywords": ["lantern", "meadow"]}),
        ("keywords:forbidden_words", {"forbidden_words": ["pebble"]}),
        ("keywords:frequency", {"keyword": "quarry", "frequency": 2, "relation": "at least"}),
        ("detectable_format:number_bullet_lists", {"num_bullets": 2}),
        ("detectable_format:title", {}),
        ("detectable_format:json_format", {}),
        ("detectable_content:postscript", {"postscript_marker": "P.S."}),
        ("startend:end_checker", {"end_phrase": "That is all."}),
        ("startend:quotation", {}),
        ("detectable_content:number_placeholders", {"num_placeholders": 1}),
        ("combination:two_responses", {}),
        ("length_constraints:number_paragraphs", {"num_paragraphs": 2}),
    ]
    pieces = ["A lantern in the meadow", "* one\n* two", "<<Title>>", '{"a": 1}', "P.S. more", "That is all.",
              '"quoted"', "[place]", "one\n******\ntwo", "one\n***\ntwo", "quarry and quarry",
              "pebble, and more"]  # fmt: skip
    made = []
    for _ in range(500):
        chosen = rng.sample(kinds, rng.choice((1, 1, 2, 3)))
        response = rng.choice(("\n", " ")).join(rng.sample(pieces, rng.randint(1, 4)))
        made.append({"instruction_id_list": [k for k, _ in chosen], "kwargs": [dict(v) for _, v in chosen],
                     "prompt": "Write something.", "question": "Write something.", "response": response})  # fmt: skip
    return made


def reply_cases(rng: Random, ways: list[str]) -> list[Case]:
    return [{"reply": rng.choice(ways), "response": ""} for _ in range(200)]


def mmvet_cases(rng: Random) -> list[Case]:
    """Replies as a judge gives them; that they are read is another test's matter."""
    kinds = ["rec", "ocr", "ocr,math", "rec,know,gen", "ocr,spat", "rec,spat"]
    replies = [*(f"{n / 10:.1f}" for n in range(11)), "1", "0", "none"]
    return [{"reply": rng.choice(replies), "capability": rng.choice(kinds), "response": ""} for _ in range(218)]


def object_halbench_cases(rng: Random) -> list[Case]:
    """Descriptions in singular of made-up images, with what each shows and one of its captions."""
    objects = ["person", "dog", "cat", "car", "dining table", "wine glass", "cell phone", "pizza", "toilet", "tie"]
    words = {"person": ["man", "woman", "person"], "dog": ["puppy", "dog"], "dining table": ["table", "dining table"],
             "cell phone": ["cell phone", "phone"], "tie": ["bow tie", "tie"], "toilet": ["toilet seat", "toilet"],
             "car": ["car", "suv"]}  # fmt: skip
    made = []
    for image in range(1, 151):
        shown = rng.sample(objects, rng.randint(1, 4))
        captioned = rng.choice(objects)
        caption = f"A {rng.choice(words.get(captioned, [captioned]))} near a wall."
        named = [rng.choice(words.get(o, [o])) for o in rng.sample(objects, rng.randint(0, 5))]
        text = "The image shows " + (", ".join(f"a {name}" for name in named) or "nothing of note") + " in the light."
        made.append({"image_id": image, "shown": shown, "caption": caption, "response": text})
    return made


def chair_numbers(cases: list[Case], authors: Path) -> dict[str, float]:
    """Our CHAIR of these, with the authors' synonyms."""
    import shutil

    from evaluation_kits import annotations

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(authors / "RLHF-V+RLAIF-V" / "eval" / "data" / "synonyms_refine.txt", folder / "synonyms.txt")
        annotations(folder, cases)
        score = Chair(folder, {"instances": "instances_*2014.json", "captions": "captions_*2014.json"})
        marks = [ScoredItem(str(i), (score(item(c, "none"), c["response"]),)) for i, c in enumerate(cases)]
    return {
        "CHAIRs": rates.chair_responses(of_all=False).of(marks),
        "CHAIRs of all": rates.chair_responses(of_all=True).of(marks),
        "CHAIRi": rates.chair_objects().of(marks),
        "recall": rates.chair_recall().of(marks),
    }


def m3cot_cases(authors: Path) -> dict[str, list[Case]]:
    """The authors' published predictions of eight models."""
    found = {}
    for path in sorted((authors / "LightChen233+M3CoT" / "experiment" / "zero-shot").glob("*/cot.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        cases = []
        for row in rows:
            letter = row["answer"] if isinstance(row["answer"], str) else "ABCDEF"[row["answer"]]
            if row.get("choices") and isinstance(row["messages"][-1], str):
                cases.append({"choices": row["choices"], "answer": letter, "response": row["messages"][-1]})
        found[f"m3cot/{path.parent.name}"] = cases
    return found


def mathvision_published(folder: Path) -> tuple[list[Case], list[bool]]:
    """The authors' published answers of fifteen models to some questions, and their verdict on each."""
    asked = {row["id"]: row for row in map(json.loads, (folder / "questions.jsonl").read_text().splitlines())}
    cases, verdicts = [], []
    for row in map(json.loads, (folder / "rollouts.jsonl").read_text().splitlines()):
        question = asked[row["question_id"]]
        cases.append({**question, "choices": question["choices"] or [], "response": row["response"]})
        verdicts.append(row["official_correct"])
    return cases, verdicts


def first_answer(text: str) -> str:
    """A base model's output up to its first stated answer: what follows are further problems that it makes up."""
    found = re.search(r"answer is[^\n]*", text)
    return text[: found.end()] if found else text


def theoremqa_cases(authors: Path) -> dict[str, list[Case]]:
    """The authors' published outputs of four models, whole, with what their own cut read in them."""
    kinds = {bool: "bool", int: "integer", float: "float", list: "list"}
    found = {}
    for path in sorted((authors / "TIGER-AI-Lab+TheoremQA" / "outputs").glob("*.jsonl")):
        cases = []
        for row in map(json.loads, path.read_text().splitlines()):
            text, number = row["correct"]
            kind = (
                "option"
                if text.startswith("(")
                else "bool"
                if text in ("True", "False")
                else kinds.get(type(number), "float")
            )
            cases.append({"correct": [text, number], "pred": row["pred"], "Answer": text, "Answer_type": kind,
                          "response": first_answer(row["solution"]), "cut": False})  # fmt: skip
        found[f"theoremqa/{path.stem[:20]}"] = cases
    return found


def ours(name: str, cases: list[Case], authors: Path) -> tuple[list[float] | None, dict[str, float]]:
    """Our score of each case, and our numbers of all of them by the name of the kit's number."""
    base = name.partition("/")[0]
    rules: dict[str, tuple[Score, str]] = {
        "pope": (choice.pope, "yes_no"), "crpe": (choice.crpe, "choice"), "letter": (choice.letter, "choice"),
        "xlrs": (choice.letters, "text"), "m3cot": (choice.m3cot, "choice"),
        "theoremqa": (open_answer.theoremqa, "math"), "mathvision": (choice.checker_score, "math"),
    }  # fmt: skip
    if base in rules:
        rule, kind = rules[base]
        each = scored(rule, cases, kind)
        marks = (
            [ScoredItem(str(i), (rule(item(c, kind), c["response"]),)) for i, c in enumerate(cases)]
            if base == "pope"
            else []
        )
        numbers = {"F1": rates.f1(), "precision": rates.precision(), "recall": rates.recall()} if marks else {}
        return each, {key: value(metric, marks) for key, metric in numbers.items()}
    if base == "mathvista":
        said = [
            open_answer.normalised(c["response"], tuple(c["choices"]), c["answer_type"], c["precision"]) for c in cases
        ]
        return [float(s == c["answer"]) for s, c in zip(said, cases, strict=True)], {}
    if base == "ifeval":
        graded = [ifeval.ifeval(item(c, "none"), c["response"]) for c in cases]
        strict, loose = ([g.parts[part] for g in graded] for part in ("strict", "loose"))
        return None, {"strict": 100 * sum(strict) / len(strict), "loose": 100 * sum(loose) / len(loose)}
    if base == "hrbench":
        marks = [ScoredItem(str(i), (Graded(c["right"]),), cycle=c["cycle"]) for i, c in enumerate(cases)]
        return None, {"cycle mean": rates.cycle_mean(rates.accuracy()).of(marks)}
    if base == "object_halbench":
        return None, chair_numbers(cases, authors)
    readers: dict[str, Callable[[str], Graded | None]] = {
        "llava_bench": rubric.read_two, "mm_alignbench": rubric.read_preference, "mmhal_bench": rubric.read_rating,
        "mmvet": rubric.read_share,
    }  # fmt: skip
    marks = [ScoredItem(str(i), (readers[base](c["reply"]) or Graded(0.0),)) for i, c in enumerate(cases)]
    by = {
        c: [m for m, case in zip(marks, cases, strict=True) if c in case.get("capability", "")] for c in ("ocr", "math")
    }
    return None, {
        "mmvet": lambda: {
            "mean": rates.mean_score("%", 100.0).of(marks),
            **{name: rates.mean_score("%", 100.0).of(within) for name, within in by.items()},
        },
        "llava_bench": lambda: {"relative": rates.relative().of(marks)},
        "mm_alignbench": lambda: {"win rate": rates.win_rate().of(marks), "reward": rates.reward().of(marks)},
        "mmhal_bench": lambda: {
            "score (2 decimals)": round(rates.mean_score().of(marks), 2),
            "rate (2 decimals)": 100 * round(rates.rate_below(3).of(marks) / 100, 2),
        },
    }[base]()


VERDICTS = ["[[A>>B]]", "[[A>B]]", "[[A=B]]", "[[B>A]]", "[[B>>A]]", "no", "[[A>B]] [[B>A]]"]
RATINGS = [*(f"Well.\nRating: {n}, so" for n in range(7)), "none", "rating: 1 rating: 2"]


def all_cases(authors: Path) -> dict[str, list[Case]]:
    """The cases of every system that has a public scorer."""
    return {
        "pope": pope_cases(Random(1)),
        "letter": letter_cases(Random(2)),
        "crpe": crpe_cases(Random(3)),
        "hrbench": hrbench_cases(Random(4)),
        "xlrs": xlrs_cases(Random(5)),
        "mathvista": mathvista_cases(Random(6)),
        "mathvision": mathvision_cases(Random(7)),
        "ifeval": ifeval_cases(Random(8)),
        "llava_bench": reply_cases(Random(9), ["8 6\nwell", "9 9\nboth", "5 7\nhm", "8, 5\nless"]),
        "mm_alignbench": reply_cases(
            Random(10), ["[[A>>B]]", "[[A>B]]", "[[A=B]]", "[[B>A]]", "[[B>>A]]", "no", "[[A>B]] [[B>A]]"]
        ),
        "mmhal_bench": reply_cases(
            Random(11), [f"Well.\nRating: {n}, so" for n in range(7)] + ["none", "rating: 1 rating: 2"]
        )[:96],
        "mmvet": mmvet_cases(Random(12)),
        "object_halbench": object_halbench_cases(Random(13)),
        **m3cot_cases(authors),
        **theoremqa_cases(authors),
    }


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kit-python", required=True, action="append", help="Python with the kits; or several.")
    parser.add_argument("--authors", required=True, type=Path)
    parser.add_argument("--mathvision", type=Path, help="Folder of published answers with the authors' verdicts.")
    parser.add_argument("--only", default="", help="Systems to compare; all if not given.")
    parser.add_argument("--show", default="", help="Systems whose differing cases are listed.")
    given = parser.parse_args()
    cases = all_cases(given.authors)
    if given.only:
        cases = {name: rows for name, rows in cases.items() if name.partition("/")[0] in given.only.split(",")}
    kits: dict[str, dict[str, Any]] = {}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(cases, file)
        file.flush()
        script = Path(__file__).with_name("evaluation_kits.py")
        for python in given.kit_python:
            command = [python, str(script), file.name, str(given.authors)]
            ran = subprocess.run(
                command, capture_output=True, text=True, check=False, env={**os.environ, "OPENAI_API_KEY": "none"}
            )
            line = next((x for x in ran.stdout.splitlines() if x.startswith("KITS ")), None)
            if line is None:
                raise SystemExit(ran.stderr[-3000:])
            for name, found in json.loads(line.removeprefix("KITS ")).items():
                known = {k: v for k, v in kits.get(name, {}).items() if k != "error"}
                kits[name] = {**known, **found} if "error" not in found or not known else known
    print("| system | cases | scorer | ours | theirs | cases that differ |\n|---|---|---|---|---|---|")
    if given.mathvision:
        rows, verdicts = mathvision_published(given.mathvision)
        each = [scored(choice.checker_score, [case], case["kind"])[0] for case in rows]
        shown = "mathvision" in given.show.split(",")
        tell("mathvision/published", rows, "authors", verdicts, each, {}, shown)
    for name, rows in cases.items():
        each, numbers = ours(name, rows, given.authors)
        for scorer, theirs in kits[name].items():
            tell(name, rows, scorer, theirs, each, numbers, name.partition("/")[0] in given.show.split(","))


def tell(
    name: str,
    rows: list[Case],
    scorer: str,
    theirs: Any,
    each: list[float] | None,
    numbers: dict[str, float],
    show: bool,
) -> None:
    """One line of the table."""
    part = scorer.partition(": ")[2]
    if isinstance(theirs, list) and part in numbers:  # IFEval: a list, of which ours is the mean
        theirs = 100 * sum(theirs) / len(theirs)
    if isinstance(theirs, list) and each is not None:
        apart = [i for i, (a, b) in enumerate(zip(each, theirs, strict=True)) if bool(a >= 1) != bool(b)]
        mine, other = (100 * sum(map(float, s)) / len(s) for s in (each, theirs))
        print(f"| {name} | {len(rows):,} | {scorer} | {mine:.2f} | {other:.2f} | {len(apart)} |")
        for i in apart[:40] if show else []:
            told = {k: str(v)[-160:] for k, v in rows[i].items()}
            print(f"    ours {each[i]:g}, {scorer} {theirs[i]}: {told}")
    elif isinstance(theirs, float):
        print(f"| {name} | {len(rows):,} | {scorer} | {numbers[part]:.2f} | {theirs:.2f} | |")
    else:
        print(f"| {name} | {len(rows):,} | {scorer} | | {theirs} | |")


if __name__ == "__main__":
    main()
