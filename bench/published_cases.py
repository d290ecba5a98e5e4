"""What published models answered, and what their benchmarks made of it, as cases for `mmpr check` and `checker.py`.

    git clone https://github.com/lupantech/MathVista  # mathllm/MATH-V, lupantech/PromptPG, OpenLMLab/GAOKAO-Bench
    python bench/published_cases.py FOLDER_OF_CHECKOUTS OUT
    python bench/checker.py OUT

A checkout that is not there is left out. Labels are the benchmarks' own, and not all of them are right: MathVista takes
the choice that is nearest in letters, MATH-V loses what stands beside `\\text`, TabMWP takes the last number.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Case = dict[str, Any]


def mathvista(root: Path) -> Iterator[Case]:
    """Responses to the 1,000 questions of testmini; programs, whose output is not kept, are left out."""
    kinds = {"integer": "number", "float": "number", "list": "list", "text": "choice"}
    for path in sorted(root.glob("results/*/output_*.json")):
        if "code" in path.name or "random" in path.name or "guess" in path.name or "template" in path.name:
            continue
        for row in json.loads(path.read_text("utf-8")).values():
            if row.get("true_false") is None or not str(row.get("response") or "").strip():
                continue
            kind = "choice" if row["question_type"] == "multi_choice" else kinds[row["answer_type"]]
            case = {"kind": kind, "gold": row["answer"], "unit": row.get("unit") or None, "choices": row["choices"]}
            if row.get("precision") is not None:
                case["precision"] = int(row["precision"])
            label = str(row["true_false"]) == "True"
            yield case | {"question": row["question"], "response": row["response"], "label": label}


def mathv(root: Path) -> Iterator[Case]:
    """Responses to 3,040 questions of competitions."""
    lines = (root / "data" / "test.jsonl").read_text("utf-8").splitlines()
    questions = {str(row["id"]): row for row in map(json.loads, filter(str.strip, lines))}
    for path in sorted(root.glob("outputs/*/*/*.jsonl")):
        for row in map(json.loads, filter(str.strip, path.read_text("utf-8").splitlines())):
            question = questions.get(str(row["id"]))
            if question is None or "correct" not in row or not str(row.get("response") or "").strip():
                continue
            kind, choices = ("choice", question["options"]) if question["options"] else ("number", None)
            case = {"kind": kind, "gold": question["answer"], "choices": choices, "question": question["question"]}
            yield case | {"response": row["response"], "label": str(row["correct"]) == "True"}


def tabmwp(root: Path) -> Iterator[Case]:
    """Responses of GPT-3 to questions about tables."""
    questions = json.loads((root / "data" / "tabmwp" / "problems_test1k.json").read_text("utf-8"))
    for path in sorted(root.glob("results/gpt3*/*.json")):
        for pid, row in json.loads(path.read_text("utf-8"))["results"].items():
            question = questions.get(pid)
            if question is None or not str(row.get("output", "")).strip():
                continue
            kind, choices = ("choice", question["choices"]) if question["choices"] else ("number", None)
            case = {"kind": kind, "gold": row["answer"], "choices": choices, "unit": question.get("unit") or None}
            response = row["output"].replace("\\n", "\n")
            yield case | {"question": question["question"], "response": response, "label": bool(row["true_false"])}


def gaokao(root: Path) -> Iterator[Case]:
    """Chinese questions with one right letter, answered by GPT-4 with one letter or several."""
    for path in sorted(root.glob("Results/gpt_4_0314_obj/*_MCQs.json")):
        for row in json.loads(path.read_text("utf-8"))["example"]:
            right, said = row["standard_answer"], row["model_answer"]
            if len(right) == len(said) == 1:
                case = {"kind": "choice", "gold": right[0], "question": row["question"]}
                yield case | {"response": row["model_output"], "label": right == said}


READERS = {"MathVista": mathvista, "MATH-V": mathv, "PromptPG": tabmwp, "GAOKAO-Bench": gaokao}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("checkouts", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name, read in READERS.items():
        if not (given.checkouts / name).is_dir():
            print(f"{name}: no checkout in {given.checkouts}, left out")
            continue
        cases = [{"id": f"{name}-{i:05}", "source": name} | case for i, case in enumerate(read(given.checkouts / name))]
        kept = [{key: value for key, value in case.items() if value is not None} for case in cases]
        lines = [json.dumps(case, ensure_ascii=False) + "\n" for case in kept]
        (given.out / f"{name.lower()}.jsonl").write_text("".join(lines), "utf-8")
        print(f"{name}: {len(lines):,} cases")


if __name__ == "__main__":
    main()
