"""The benchmarks in repositories laid out as the real ones are, with few rows, and what a model says to each row.

Rows are worded and drawn here. `expected` is worked out by hand from the replies and the benchmark's definition.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from mmpr_pipeline.evaluation.benchmarks.catalog import known
from mmpr_pipeline.evaluation.benchmarks.declaration import Benchmark
from mmpr_pipeline.sources.declaration.catalog import find_declaration
from mmpr_pipeline.sources.declaration.schema import SourceDeclaration
from tests.hub import pictures, rows
from tests.hub.repository import Repository
from tests.hub.rows import image
from tests.hub.served import card, parquet_bytes

Row = dict[str, Any]
LETTER = "Answer with the option's letter from the given choices directly."


@dataclass(frozen=True)
class System:
    """One benchmark's rows with the reply to each, and the numbers that come of them."""

    rows: list[Row]
    replies: list[str]
    expected: dict[str, float]
    by: dict[str, dict[str, float]] = field(default_factory=dict)
    """Expected numbers of groups, by breakdown."""
    files: Callable[[list[Row]], dict[str, bytes]] | None = None
    """How the repository holds the rows, where it is not Parquet."""
    part: tuple[int, ...] | None = None
    """The rows that the benchmark is made of, where it is not all of its source."""

    def said(self) -> list[str]:
        """The replies to the rows that are asked."""
        return self.replies if self.part is None else [self.replies[i] for i in self.part]


def picture(seed: int, size: tuple[int, int] = (96, 72)) -> bytes:
    """A small scene; no two seeds look alike."""
    rng = Random(f"system/{seed}")
    things = [(rng.choice(rows.SHAPES), tuple(rng.randint(0, 255) for _ in range(3))) for _ in range(2)]
    return pictures.encoded(pictures.scene(rng, things, size), "JPEG")  # type: ignore[arg-type]


def _m3cot() -> System:
    golds = "ABCD"
    made = [
        {
            "id": f"science-{i}",
            "category": "c",
            "image_id": f"i{i}",
            "question": f"Which animal is number {i}?",
            "choices": ["Lynx", "Otter", "Frog", "Heron"],
            "context": "",
            "answer": golds[i],
            "rationale": "It is seen.",
            "split": "test",
            "image": None if i == 3 else image(picture(100 + i)),
            "domain": "science" if i < 2 else "commonsense",
            "topic": f"topic-{i % 2}",
        }
        for i in range(4)
    ]
    replies = ["It purrs. The answer is (A).", "[Answer] (B) or rather (C)", "It is clearly a frog", "D"]
    by = {"domain": {"science": 50.0, "commonsense": 100.0}, "topic": {"topic-0": 100.0, "topic-1": 50.0}}
    return System(made, replies, {"accuracy": 75.0}, by)


def _mathvista() -> list[Row]:
    """Two rows of each kind: choice, integer, float; the first of each is of mathematics."""
    made = [rows.mathvista(Random(f"mathvista/{i}"), i) for i in range(6)]
    for row in made:
        row["metadata"] = {**row["metadata"], "task": "figure question answering", "skills": ["arithmetic", "algebra"]}
    return made


def _mathvista_replies(made: list[Row]) -> list[str]:
    """Right, right in a sentence, right after rounding; then a wrong choice, a wrong number, wrongly rounded."""
    right = [made[0]["answer"], f"There are {made[1]['answer']} more crates.", f"{float(made[2]['answer']) + 0.04:.2f}"]
    wrong = next(c for c in made[3]["choices"] if c != made[3]["answer"])
    return [*right, wrong, str(int(made[4]["answer"]) + 1), f"{float(made[5]['answer']) + 0.2:.2f}"]


def _mathvista_all() -> System:
    made = _mathvista()
    skills = {"skill": {"arithmetic": 50.0, "algebra": 50.0}}
    return System(made, _mathvista_replies(made), {"accuracy": 50.0}, skills)


def _mathvista_math() -> System:
    """Rows 0 and 3 are of mathematics; the first is right."""
    made = _mathvista()
    replies = _mathvista_replies(made)
    return System(made, replies, {"accuracy": 50.0}, part=(0, 3))


def _mathvision() -> System:
    made = [rows.mathvision(Random(f"mathvision/{i}"), i) for i in range(4)]
    wrong = next(letter for letter in "ABCDE" if letter != made[2]["answer"])
    replies = [f"({made[0]['answer']})", f"The diameter is ${made[1]['answer']}$.", wrong, "I do not know."]
    return System(made, replies, {"accuracy": 50.0})


def _mmvet() -> System:
    kinds = ["ocr", "ocr,math", "rec,gen"]
    made = [
        {
            "question_id": f"v{i}",
            "question": f"What stands on sign {i}?",
            "answer": "12 <AND> 30" if i else "exit",
            "image": image(picture(200 + i)),
            "capability": kinds[i],
            "image_source": "made",
        }
        for i in range(3)
    ]
    replies = ["judge:1.0", "judge:0.5", "judge:Correctness: 0.3"]
    by = {"capability": {"ocr": 75.0, "math": 50.0, "rec": 30.0, "gen": 30.0}, "combination": {"ocr,math": 50.0}}
    return System(made, replies, {"score": 60.0}, by)


def _llava_bench() -> System:
    made = [
        {
            "question_id": i,
            "question": f"Describe picture {i}.",
            "gpt_answer": f"reference {i}",
            "caption": f"caption {i}",
            "category": ("conv", "detail", "complex")[i],
            "image": image(picture(300 + i)),
            "image_id": f"{i:03d}",
        }
        for i in range(3)
    ]
    replies = ["judge:8 6\nGood.", "judge:9 9\nBoth.", "judge:8, 5"]
    by = {"category": {"conv": 75.0, "detail": 100.0, "complex": 62.5}}
    return System(made, replies, {"relative": 80.0, "score": 20 / 3}, by)


def _pope() -> System:
    truths, said = "yyynnn", ["Yes, there is.", "no", "Yes", "no", "YES.", "I cannot tell"]
    made = [
        {
            "id": str(i),
            "question_id": str(i),
            "question": f"Is there a thing {i} in the image?",
            "answer": "yes" if truth == "y" else "no",
            "image_source": f"COCO_val2014_{i // 2}",
            "image": image(picture(400 + i // 2)),
            "category": ("random", "popular", "adversarial")[i % 3],
        }
        for i, truth in enumerate(truths)
    ]
    numbers = {"f1": 200 / 3, "accuracy": 50.0, "precision": 200 / 3, "recall": 200 / 3, "yes_share": 50.0}
    return System(made, said, numbers)


def _crpe() -> System:
    """Two questions of existence, one on a predicate; one rotation of the second is wrong."""
    made, replies = [], []
    for question, category in enumerate(("exist", "exist", "predicate")):
        words = [f"thing {question}{i}" for i in range(4)]
        for turn in range(4):
            turned = words[turn:] + words[:turn]
            listed = "\n".join(f"{'ABCD'[i]}. {word}" for i, word in enumerate(turned))
            right = "ABCD"[turned.index(words[0])]
            made.append(
                {
                    "question_id": f"{question}",
                    "image": f"images/p{question}.jpg",
                    "text": f"Which is there?\n{listed}\n{LETTER}",
                    "correct_option": right,
                    "category": category,
                    "_picture": picture(500 + question),
                }
            )
            replies.append(right if (question, turn) != (1, 2) else "ABCD"["ABCD".index(right) - 1])
    replies[0] = f"It is thing 00, and {replies[0]} would be its letter"  # prose: the right choice's text is in it
    numbers = {"mean_category": 75.0, "circular": 200 / 3, "accuracy": 1100 / 12}
    return System(made, replies, numbers, files=_crpe_files)


def _crpe_files(made: list[Row]) -> dict[str, bytes]:
    """Two JSON Lines files and plain image files."""
    files = {row["image"]: row["_picture"] for row in made}
    for name, categories in (("crpe_exist.jsonl", ("exist",)), ("crpe_relation.jsonl", ("predicate",))):
        kept = [{k: v for k, v in row.items() if k != "_picture"} for row in made if row["category"] in categories]
        files[name] = "".join(json.dumps(row) + "\n" for row in kept).encode()
    return files


def _mmhal() -> System:
    made = [
        {
            "question_type": ("attribute", "adversarial")[i % 2],
            "question_topic": "outdoor",
            "image_id": f"{i:016x}",
            "image_src": f"https://example.org/{i}.jpg",
            "image_content": ["Bench", "Tree"],
            "question": f"Who sits on bench {i}?",
            "gt_answer": "No one.",
            "model_answer": "",
            "_picture": picture(600 + i),
        }
        for i in range(4)
    ]
    replies = ["judge:Fine.\nRating: 6", "judge:Made up.\nRating: 1", "judge:**Rating: 4**", "judge:no rating at all"]
    by = {"type": {"attribute": 5.0, "adversarial": 0.5}}
    return System(made, replies, {"score": 11 / 4, "hallucination_rate": 50.0}, by, files=_mmhal_files)


def _mmhal_files(made: list[Row]) -> dict[str, bytes]:
    files = {f"images/{row['image_id']}.jpg": row["_picture"] for row in made}
    kept = [{k: v for k, v in row.items() if k != "_picture"} for row in made]
    return {**files, "response_template.json": json.dumps(kept).encode()}


def _object_halbench() -> System:
    """COCO says: image 1 a dog and a bench, image 2 a car, image 3 (by a caption only) two cats."""
    made = [
        {"question": "Describe it.", "image": base64.b64encode(picture(700 + i)).decode(), "image_id": i + 1}
        for i in range(3)
    ]
    replies = ["A puppy lies on a bench near two people.", "Several cars, and nothing else.", "It is dark."]
    numbers = {"chair_s": 50.0, "chair_s_all": 100 / 3, "chair_i": 25.0, "object_recall": 75.0}
    return System(made, replies, numbers, files=lambda made: {})


def write_coco(folder: Path, made: list[Row]) -> None:
    """The file of RLAIF-V, and annotations as COCO 2014 has them."""
    (folder / "annotations").mkdir(parents=True)
    (folder / "obj_halbench_300_with_image.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    categories = [{"id": 18, "name": "dog"}, {"id": 15, "name": "bench"}, {"id": 3, "name": "car"}]
    boxes = [{"image_id": 1, "category_id": 18}, {"image_id": 1, "category_id": 15}, {"image_id": 2, "category_id": 3}]
    told = {"categories": categories, "annotations": boxes}
    (folder / "annotations" / "instances_val2014.json").write_text(json.dumps(told))
    captions = [{"image_id": 3, "caption": "Two cats asleep"}, {"image_id": 1, "caption": "A dog on a bench"}]
    (folder / "annotations" / "captions_val2014.json").write_text(json.dumps({"annotations": captions}))


def _theoremqa() -> System:
    golds = [("True", "bool"), ("12", "integer"), ("0.75", "float"), ("[2, 3]", "list of integer"), ("(b)", "option")]
    made = [
        {
            "Question": f"What follows from theorem {i}?",
            "Answer": gold,
            "Answer_type": kind,
            "Picture": image(picture(800)) if i == 1 else None,
        }
        for i, (gold, kind) in enumerate(golds)
    ]
    replies = ["The answer is yes.", "x = 11.8", "The answer is \\frac{3}{4}", "The answer is (3, 2)", "(a)"]
    return System(made, replies, {"accuracy": 80.0}, {"answer_type": {"option": 0.0, "float": 100.0}})


def _ifeval() -> System:
    kwargs = {"num_highlights": None, "relation": None, "num_words": None, "keywords": None, "forbidden_words": None}
    made = [
        {
            "key": 1000 + i,
            "prompt": prompt,
            "instruction_id_list": ids,
            "kwargs": [{**kwargs, **one} for one in given],  # type: ignore[attr-defined]
        }
        for i, (prompt, ids, given) in enumerate(
            [
                ("Write at least 5 words, without commas.", ["length_constraints:number_words", "punctuation:no_comma"],
                 [{"relation": "at least", "num_words": 5}, {}]),
                ("Name the words lake and pine.", ["keywords:existence"], [{"keywords": ["lake", "pine"]}]),
                ("Never say moon.", ["keywords:forbidden_words"], [{"forbidden_words": ["moon"]}]),
            ]
        )
    ]  # fmt: skip
    replies = ["One, two three four five six", "A lake under a pine", "Sure, no moon here\nThe sun shines"]
    numbers = {"accuracy": 100 / 3, "prompts_loose": 200 / 3, "instructions_strict": 50.0, "instructions_loose": 75.0}
    return System(made, replies, numbers)


def _geoqa() -> System:
    made = [rows.geoqa(Random(f"geoqa/{i}"), i) for i in range(10)]
    replies = ["ABCD"[row["label"]] for row in made]
    replies[9] = "ABCD"[made[9]["label"] - 1]
    return System(made, replies, {"accuracy": 50.0}, part=(4, 9))


def _mmstar(category: str | None = None) -> System:
    golds = "ABCC"
    made = [
        {
            "index": i,
            "question": f"What is in {i}?\nOptions: A: a mug, B: a hat, C: a key, D: a rope",
            "image": image(picture(900 + i)),
            "answer": gold,
            "category": ("math", "math", "coarse perception", "coarse perception")[i],
            "l2_category": "geometry" if i < 2 else "image emotion",
            "meta_info": {"source": "made", "split": "val", "image_path": f"images/{i}.jpg"},
        }
        for i, gold in enumerate(golds)
    ]
    replies = ["A", "The answer is (B).", "It must be C: a key", "A or B"]
    if category:
        return System(made, replies, {"accuracy": 100.0}, {"ability": {"geometry": 100.0}}, part=(0, 1))
    return System(made, replies, {"accuracy": 75.0, "mean_category": 75.0})


def _mm_alignbench() -> System:
    made = [
        {
            "index": f"a{i}",
            "question": f"Write a poem about picture {i}.",
            "image": image(picture(1000 + i)),
            "claude3_sonnet": f"reference {i}",
            "type": ("creative", "knowledge")[i % 2],
        }
        for i in range(4)
    ]
    replies = ["judge:much better", "judge:better", "judge:tie", "judge:worse"]
    return System(made, replies, {"win_rate": 50.0, "reward": 25.0})


def _xlrs() -> System:
    """One image is of 54 megapixels: more than any other source may have."""
    big = io.BytesIO()
    Image.new("RGB", (9000, 6000), (20, 90, 40)).save(big, "PNG")
    options = ["(A) road", "(B) lake", "(C) field", "(D) wood"]
    kinds = ["Counting/Overall counting"] * 2 + ["Land use classification/Overall Land use classification"] * 2
    golds = ["A", "B", "AC", "BD"]
    made = [
        {
            "index": i,
            "question": f"What lies in region {i}?",
            "multi-choice options": options,
            "answer": golds[i],
            "category": kinds[i],
            "l2-category": "perception",
            "image": [image(big.getvalue() if i == 0 else picture(1100 + i))],
        }
        for i in range(4)
    ]
    replies = ["A", "(B)", "A, C", "B"]
    by = {"category": {kinds[0]: 100.0, kinds[2]: 50.0}}
    return System(made, replies, {"mean_category": 75.0, "accuracy": 75.0}, by)


def _vstar() -> System:
    made = [
        {
            "image": image(picture(1200 + i)),
            "text": f"What is the colour of thing {i}? (A) red (B) blue\n{LETTER}",
            "label": "AB"[i % 2],
            "category": ("direct_attributes", "relative_position", "relative_position")[i],
            "question_id": str(i),
        }
        for i in range(3)
    ]
    by = {"category": {"direct_attributes": 100.0, "relative_position": 50.0}}
    return System(made, ["A.", "The answer is B", "B"], {"accuracy": 200 / 3, "mean_category": 75.0}, by)


def _hrbench() -> System:
    """Two questions in four rotations each; the images stand in the rows as base64 text."""
    made, replies = [], []
    for question in range(2):
        words = [f"w{question}{i}" for i in range(4)]
        encoded = base64.b64encode(picture(1300 + question, (640, 400))).decode()
        for turn in range(4):
            turned = words[turn:] + words[:turn]
            right = "ABCD"[turned.index(words[0])]
            made.append(
                {
                    "index": 4 * question + turn,
                    "question": f"What is written on sign {question}?",
                    "answer": right,
                    "category": ("single", "cross")[question],
                    **dict(zip("ABCD", turned, strict=True)),
                    "cycle_category": str(turn),
                    "image": encoded,
                }
            )
            replies.append(right if (question, turn) != (1, 0) else "E")
    by = {"category": {"single": 100.0, "cross": 75.0}}
    return System(made, replies, {"cycle_mean": 87.5, "accuracy": 87.5}, by)


def _visualprobe() -> System:
    golds = ["a red bus", "27", "north"]
    made = [
        {
            "problem": f"What is at place {i}?",
            "solution": gold,
            "images": [f"data/{i}.jpg"],
            "_picture": picture(1400 + i),
        }
        for i, gold in enumerate(golds)
    ]
    return System(made, ["A red bus.", "It says 127", "North"], {"accuracy": 200 / 3}, files=_visualprobe_files)


def _visualprobe_files(made: list[Row]) -> dict[str, bytes]:
    files = {row["images"][0]: row["_picture"] for row in made}
    kept = [{k: v for k, v in row.items() if k != "_picture"} for row in made]
    return {**files, "val.json": json.dumps(kept).encode()}


def systems() -> dict[str, System]:
    """Every benchmark of the catalog."""
    return {
        "m3cot": _m3cot(),
        "mathvista": _mathvista_all(),
        "mathvista_math": _mathvista_math(),
        "mathvision": _mathvision(),
        "mmvet": _mmvet(),
        "llava_bench": _llava_bench(),
        "pope": _pope(),
        "crpe": _crpe(),
        "mmhal_bench": _mmhal(),
        "object_halbench": _object_halbench(),
        "theoremqa": _theoremqa(),
        "ifeval": _ifeval(),
        "geoqa_test": _geoqa(),
        "mmstar": _mmstar(),
        "mmstar_math": _mmstar("math"),
        "mm_alignbench": _mm_alignbench(),
        "xlrs_bench": _xlrs(),
        "vstar": _vstar(),
        "hrbench_4k": _hrbench(),
        "hrbench_8k": _hrbench(),
        "visualprobe_easy": _visualprobe(),
        "visualprobe_medium": _visualprobe(),
        "visualprobe_hard": _visualprobe(),
    }


def declared(benchmark: Benchmark) -> SourceDeclaration:
    """The declaration of a benchmark's rows."""
    return find_declaration(benchmark.rows)[0] if isinstance(benchmark.rows, str) else benchmark.rows


def repositories(made: dict[str, System]) -> dict[str, Repository]:
    """The repositories of these systems, at the revisions that are named."""
    files: dict[str, dict[str, bytes]] = {}
    configs: dict[str, dict[str, list[dict[str, str]]]] = {}
    revisions: dict[str, str | None] = {}
    for name, system in made.items():
        hub = declared(known()[name]).hub
        if hub is None:
            continue
        own = files.setdefault(hub.id, {})
        revisions[hub.id] = hub.revision or revisions.get(hub.id)
        if system.files:
            own |= system.files(system.rows)
            continue
        config = hub.config or "default"
        own[f"{config}/{hub.split}-00000-of-00001.parquet"] = parquet_bytes(system.rows, 64)
        told = configs.setdefault(hub.id, {}).setdefault(config, [])
        split = {"split": hub.split, "path": f"{config}/{hub.split}-*"}
        if split not in told:
            told.append(split)
    found = {}
    for identity, held in files.items():
        found[identity] = Repository(identity)
        found[identity].put({"README.md": card(configs.get(identity, {})), **held}, "made", sha=revisions[identity])
    return found
