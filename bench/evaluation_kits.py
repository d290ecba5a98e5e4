"""Scores answers with the public kits and the authors' scripts, in the environment that has them.

`KIT_PYTHON bench/evaluation_kits.py CASES.json AUTHORS` prints a JSON object: for each system and scorer the scores of
its cases, in order, or the kit's own number of all of them. Called by `bench/evaluation_peers.py`; imports nothing of
this package. AUTHORS is a folder with checkouts of the authors' repositories.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

Case = dict[str, Any]


def pope(cases: list[Case]) -> dict[str, Any]:
    import pandas
    from lmms_eval.tasks.pope import utils
    from vlmeval.dataset.utils.yorn import POPE_rating, YOrN_Extraction

    said = [YOrN_Extraction(case["response"]) for case in cases]
    truth = [case["answer"].title() for case in cases]
    told = {"answer": truth, "extracted": said, "score": [a == b for a, b in zip(said, truth, strict=True)]}
    with tempfile.NamedTemporaryFile(suffix=".xlsx") as file:
        pandas.DataFrame({**told, "category": "random", "index": range(len(cases))}).to_excel(file.name)
        rating = POPE_rating(file.name).iloc[0]
    found = [
        utils.pope_process_results({"answer": c["answer"], "question_id": "1"}, [c["response"]])["pope_f1_score"]
        for c in cases
    ]
    return {
        "VLMEvalKit": told["score"],
        "VLMEvalKit: F1": float(rating["Overall"]),
        "VLMEvalKit: precision": float(rating["precision"]),
        "VLMEvalKit: recall": float(rating["recall"]),
        "lmms-eval": [f["score"] for f in found],
        "lmms-eval: F1": 100 * utils.pope_aggregate_f1_score(found),
    }


def crpe(cases: list[Case]) -> dict[str, Any]:
    from vlmeval.dataset.utils.crpe import is_correct

    return {"VLMEvalKit": [bool(is_correct(c["correct_option_text"], c["response"] or " ")) for c in cases]}


def letter(cases: list[Case]) -> dict[str, Any]:
    from lmms_eval.tasks._task_utils.mcq_extract import extract_mcq_answer
    from lmms_eval.tasks.vstar_bench.utils import extract_answer_letter
    from vlmeval.utils import can_infer

    choices = [dict(zip("ABCD", c["choices"], strict=True)) for c in cases]
    return {
        "VLMEvalKit": [
            can_infer(c["response"], dict(own)) == c["answer"] for c, own in zip(cases, choices, strict=True)
        ],
        "lmms-eval V*": [extract_answer_letter(c["response"]) == c["answer"] for c in cases],
        "lmms-eval MMStar": [extract_mcq_answer(c["response"], list("ABCD")) == c["answer"] for c in cases],
    }


def hrbench(cases: list[Case]) -> dict[str, Any]:
    from lmms_eval.tasks.hrbench.utils import hrbench_aggregate_results

    told = [{"gpt_score": c["right"], "cycle_category": c["cycle"], "index": i} for i, c in enumerate(cases)]
    return {"lmms-eval: cycle mean": 100 * hrbench_aggregate_results(told, None)}


def xlrs(cases: list[Case]) -> dict[str, Any]:
    from lmms_eval.tasks.xlrs.mcq_utils import extract_characters_regex

    return {"lmms-eval": [set(extract_characters_regex(c["response"])) == set(c["answer"]) for c in cases]}


def mathvista(cases: list[Case]) -> dict[str, Any]:
    from lmms_eval.tasks.mathvista.mathvista_evals import MathVistaEvaluator

    rules = MathVistaEvaluator.__new__(MathVistaEvaluator)
    found = []
    for case in cases:
        said = rules.normalize_extracted_answer(
            case["response"], case["choices"], case["question_type"], case["answer_type"], case["precision"]
        )
        found.append(rules.safe_equal(said, case["answer"]))
    return {"lmms-eval, same extraction": found}


def mathvision(cases: list[Case]) -> dict[str, Any]:
    from lmms_eval.tasks.mathvision.eval_utils import is_equal

    return {"lmms-eval": [bool(is_equal(c["response"], c["answer"])) for c in cases]}


def ifeval(cases: list[Case]) -> dict[str, Any]:
    from lmms_eval.tasks.ifeval.utils import (
        InputExample,
        test_instruction_following_loose,
        test_instruction_following_strict,
    )

    strict, loose = [], []
    for case in cases:
        asked = InputExample(1, case["instruction_id_list"], case["prompt"], case["kwargs"])
        strict.append(test_instruction_following_strict(asked, case["response"]).follow_all_instructions)
        loose.append(test_instruction_following_loose(asked, case["response"]).follow_all_instructions)
    return {"lmms-eval: strict": strict, "lmms-eval: loose": loose}


def llava_bench(cases: list[Case]) -> dict[str, Any]:
    import pandas
    import vlmeval.smp

    sys.modules["vlmeval.dataset.smp"] = vlmeval.smp  # ms-vlmeval 0.0.20 imports its log from there
    sys.modules["vlmeval.dataset.smp.log"] = vlmeval.smp.log
    from vlmeval.dataset.utils.llavabench import LLaVABench_score, parse_score

    pairs = [parse_score(c["reply"]) for c in cases]
    told = {"category": ["conv"] * len(cases), "gpt4_score": [p[0] for p in pairs], "score": [p[1] for p in pairs]}
    table = LLaVABench_score(pandas.DataFrame(told))
    return {"VLMEvalKit: relative": float(table.iloc[0]["Relative Score (main)"])}


def mm_alignbench(cases: list[Case]) -> dict[str, Any]:
    from vlmeval.dataset.mmalignbench import MMAlignBench, get_score

    scores = [MMAlignBench.score_map.get(get_score(c["reply"])[0], 0) for c in cases]
    return {
        "VLMEvalKit: win rate": 100 * sum(s > 0 for s in scores) / len(scores),
        "VLMEvalKit: reward": 50 * sum(scores) / len(scores),
    }


def mmhal_bench(cases: list[Case], authors: Path) -> dict[str, Any]:
    sys.path.insert(0, str(authors / "RLHF-V+RLAIF-V" / "eval"))
    from summarize_gpt_mmhal_review import cal_mmhalscore

    replies = [{"choices": [{"message": {"content": c["reply"]}}]} for c in cases]
    said = io.StringIO()
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file, contextlib.redirect_stdout(said):
        json.dump(replies, file)
        file.flush()
        cal_mmhalscore(file.name)
    numbers = {line.partition(":")[0]: line.partition(":")[2] for line in said.getvalue().splitlines()}
    return {
        "authors: score (2 decimals)": float(numbers["Average score"]),
        "authors: rate (2 decimals)": 100 * float(numbers["Hallucination rate"]),
    }


def m3cot(cases: list[Case], authors: Path) -> dict[str, Any]:
    sys.path.insert(0, str(authors / "LightChen233+M3CoT"))
    from utils.metric import judge_answer

    found = [bool(judge_answer(c["response"], c["choices"], c["answer"])) for c in cases]
    sys.path.pop(0)
    return {"authors": found}


def theoremqa(cases: list[Case], authors: Path) -> dict[str, Any]:
    sys.path.insert(0, str(authors / "TIGER-AI-Lab+TheoremQA"))
    for name in [n for n in sys.modules if n == "utils" or n.startswith("utils.")]:
        del sys.modules[name]
    from utils import answer_clean, compare_answer_with_groundtruth

    triggers = ("The answer is:", "The answer is", "the answer is")
    found = []
    for case in cases:
        with contextlib.redirect_stdout(io.StringIO()):
            said = answer_clean(triggers, case["response"]) if case["cut"] else case["pred"]
            found.append(bool(compare_answer_with_groundtruth(said, *case["correct"])))
    return {"authors": found}


def main() -> None:
    """See above."""
    cases, authors = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    own = {
        f.__name__: f
        for f in (pope, crpe, letter, hrbench, xlrs, mathvista, mathvision, ifeval, llava_bench, mm_alignbench)
    }
    of_authors = {f.__name__: f for f in (mmhal_bench, m3cot, theoremqa)}
    found: dict[str, Any] = {}
    for name, rows in cases.items():
        base = name.partition("/")[0]
        try:
            found[name] = own[base](rows) if base in own else of_authors[base](rows, authors)
        except Exception as error:  # another kit's environment may lack what one scorer needs
            found[name] = {"error": f"{type(error).__name__}: {error}"[:300]}
    print("KITS " + json.dumps(found))


if __name__ == "__main__":
    main()
