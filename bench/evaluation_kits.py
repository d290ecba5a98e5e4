"""Scores answers with the public kits and the authors' scripts, in the environment that has them.

`KIT_PYTHON bench/evaluation_kits.py CASES.json AUTHORS` prints a JSON object: for each system and scorer the scores of
its cases, in order, or the kit's own number of all of them. Called by `bench/evaluation_peers.py`; imports nothing of
this package. AUTHORS is a folder with checkouts of the authors' repositories.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
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
    rows = {"answer": truth, "extracted": said, "score": [a == b for a, b in zip(said, truth, strict=True)]}
    with tempfile.NamedTemporaryFile(suffix=".xlsx") as file:
        pandas.DataFrame({**rows, "category": "random", "index": range(len(cases))}).to_excel(file.name)
        rating = POPE_rating(file.name).iloc[0]
    found = [
        utils.pope_process_results({"answer": c["answer"], "question_id": "1"}, [c["response"]])["pope_f1_score"]
        for c in cases
    ]
    return {
        "VLMEvalKit": rows["score"],
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

    rows = [{"gpt_score": c["right"], "cycle_category": c["cycle"], "index": i} for i, c in enumerate(cases)]
    return {"lmms-eval: cycle mean": 100 * hrbench_aggregate_results(rows, None)}


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
    rows = {"category": ["conv"] * len(cases), "gpt4_score": [p[0] for p in pairs], "score": [p[1] for p in pairs]}
    table = LLaVABench_score(pandas.DataFrame(rows))
    return {"VLMEvalKit: relative": float(table.iloc[0]["Relative Score (main)"])}


def mmvet(cases: list[Case]) -> dict[str, Any]:
    import pandas

    found: dict[str, Any] = {}
    with contextlib.suppress(ImportError):  # an environment may have one of the kits
        from vlmeval.dataset.utils.mmvet import MMVet_acc, MMVet_auxeval

        class Judge:
            def __init__(self, reply: str) -> None:
                self.reply = reply

            def generate(self, prompt: str, temperature: float) -> str:
                return self.reply

        line = {"question": "q", "answer": "a", "prediction": "p"}
        scores = [float(MMVet_auxeval(Judge(c["reply"]), line)["score"]) for c in cases]
        with tempfile.NamedTemporaryFile(suffix=".xlsx") as file:
            rows = {"category": [c["capability"] for c in cases], "score": scores}
            pandas.DataFrame(rows).to_excel(file.name)
            table = MMVet_acc(file.name)[0].set_index("Category")["acc"]
        found |= {f"VLMEvalKit: {name}": float(table[key]) for name, key in MMVET_NUMBERS.items()}
    with contextlib.suppress(ImportError):
        from lmms_eval.tasks.mmvet.utils import mmvet_aggregate_results

        read = [{"score": float(c["reply"]) if c["reply"] != "none" else 0.0} for c in cases]
        rows = [{**each, "capabilities": c["capability"]} for each, c in zip(read, cases, strict=True)]
        found["lmms-eval: mean"] = float(mmvet_aggregate_results(rows))
    return found


MMVET_NUMBERS = {"mean": "Overall", "ocr": "ocr", "math": "math"}


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


def object_halbench(cases: list[Case], authors: Path) -> dict[str, Any]:
    """RLAIF-V's CHAIR, its rule: spaCy's model and NLTK's data are out of reach, so a word is its own lemma here and
    descriptions are written in singular."""
    import re
    import types

    os.chdir(authors / "RLHF-V+RLAIF-V")
    sys.path.insert(0, "eval")
    nltk, spacy = types.ModuleType("nltk"), types.ModuleType("spacy")
    nltk.word_tokenize = lambda text: re.findall(r"[a-z]+|[^a-z\s]", text)  # type: ignore[attr-defined]
    lemma = types.SimpleNamespace(lemmatize=lambda word: word)
    nltk.wordnet = types.SimpleNamespace(WordNetLemmatizer=lambda: lemma)  # type: ignore[attr-defined]
    spacy.load = lambda name: None  # type: ignore[attr-defined]
    client, lines = types.ModuleType("gpt4_grpc"), types.ModuleType("jsonlines")
    client.Chat = lambda **given: None  # type: ignore[attr-defined]
    lines.Reader = lambda file: map(json.loads, file)  # type: ignore[attr-defined]
    made = {"nltk": nltk, "nltk.stem": types.ModuleType("nltk.stem"), "spacy": spacy, "gpt4_grpc": client}
    sys.modules |= {**made, "jsonlines": lines}
    from eval_gpt_obj_halbench import CHAIR

    images = sorted({c["image_id"] for c in cases})
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        annotations(Path(folder), cases)
        for split in ("instances", "captions"):
            (Path(folder) / f"{split}_val2014.json").write_text(json.dumps(EMPTY))
        answers = Path(folder) / "answers.jsonl"
        rows = [{"image_id": c["image_id"], "question": "q", "answer": c["response"]} for c in cases]
        answers.write_text("".join(json.dumps(each) + "\n" for each in rows))
        chair = CHAIR(images, folder, "none")
        chair.get_annotations()
        found = chair.compute_chair(str(answers), -1)["overall_metrics"]
    return {
        "authors: CHAIRs": 100 * found["CHAIRs_refine"],
        "authors: CHAIRs of all": 100 * found["CHAIRs"],
        "authors: CHAIRi": 100 * found["CHAIRi"],
        "authors: recall": 100 * found["obj_rec"],
    }


EMPTY: Case = {"info": {}, "licenses": [], "categories": [], "images": [], "annotations": []}


def annotations(folder: Path, cases: list[Case]) -> None:
    """COCO's two files of annotations for the made-up images of these cases."""
    shown = {c["image_id"]: (c["shown"], c["caption"]) for c in cases}
    names = sorted({name for objects, _ in shown.values() for name in objects})
    ids = {name: number for number, name in enumerate(names)}
    instances = [{"image_id": i, "category_id": ids[n]} for i, (objects, _) in shown.items() for n in objects]
    captions = [{"image_id": i, "caption": caption} for i, (_, caption) in shown.items()]
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    for name, rows in (("instances", instances), ("captions", captions)):
        whole = {**EMPTY, "categories": categories, "annotations": rows}
        (folder / f"{name}_train2014.json").write_text(json.dumps(whole))


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
        for f in (pope, crpe, letter, hrbench, xlrs, mathvista, mathvision, ifeval, llava_bench, mmvet, mm_alignbench)
    }
    of_authors = {f.__name__: f for f in (mmhal_bench, m3cot, theoremqa, object_halbench)}
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
