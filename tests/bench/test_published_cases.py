"""Cases from what benchmarks publish: each reader on a row in the form that its benchmark has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.bench.loaded import load


def put(path: Path, content: Any, *, lines: bool = False) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in content) if lines else json.dumps(content), "utf-8")


def test_each_benchmark_is_read(tmp_path: Path) -> None:
    published = load("published_cases")
    asked = {"question": "How many?", "answer": "3", "question_type": "free_form", "answer_type": "integer"}
    row = {**asked, "choices": None, "unit": "cm", "precision": 1.0, "response": "It is 3.", "true_false": "True"}
    put(
        tmp_path / "results/m/output_m.json", {"1": row, "2": {**row, "response": ""}, "3": {**row, "true_false": None}}
    )
    put(tmp_path / "results/c/output_c_code.json", {"1": row})
    assert list(published.mathvista(tmp_path)) == [
        {"kind": "number", "gold": "3", "unit": "cm", "choices": None, "precision": 1, "question": "How many?",
         "response": "It is 3.", "label": True}
    ]  # fmt: skip

    put(
        tmp_path / "data/test.jsonl",
        [{"id": 7, "question": "Which?", "options": ["1", "2"], "answer": "B"}],
        lines=True,
    )
    answered = [{"id": "7", "response": "(B)", "correct": "False"}, {"id": "8", "response": "x", "correct": True}]
    put(tmp_path / "outputs/open/M/m.jsonl", answered, lines=True)
    (case,) = published.mathv(tmp_path)
    assert (case["kind"], case["choices"], case["gold"], case["label"]) == ("choice", ["1", "2"], "B", False)

    put(tmp_path / "data/tabmwp/problems_test1k.json", {"5": {"question": "Sum?", "choices": None, "unit": "$"}})
    put(tmp_path / "results/gpt3/e.json", {"results": {"5": {"answer": "4", "output": "a\\nb", "true_false": True}}})
    (case,) = published.tabmwp(tmp_path)
    assert (case["kind"], case["gold"], case["response"], case["label"]) == ("number", "4", "a\nb", True)

    examples = [
        {"question": "选", "standard_answer": ["A"], "model_answer": ["B"], "model_output": "选B"},
        {"question": "选", "standard_answer": ["A", "C"], "model_answer": ["A"], "model_output": "选A"},
    ]
    put(tmp_path / "Results/gpt_4_0314_obj/x_MCQs.json", {"example": examples})
    (case,) = published.gaokao(tmp_path)
    assert (case["gold"], case["label"]) == ("A", False)
