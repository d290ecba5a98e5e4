"""Rows of data sets that the catalog names, in the columns and types of the real ones, worded and drawn here.

`rows_of(name, count)` gives them; each is a pure function of its number. Images are structs of bytes and path, as
`datasets` writes them, unless the data set keeps paths into an archive.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from tests.hub import pictures
from tests.hub.pictures import encoded

Row = dict[str, Any]
Make = Callable[[Random, int], Row]
COLOURS = {"red": (200, 40, 40), "blue": (40, 70, 200), "green": (30, 150, 60), "yellow": (230, 210, 40)}
SHAPES = ("ball", "box", "cone")
FRUIT = ("Apples", "Pears", "Plums", "Grapes", "Cherries", "Figs", "Limes", "Dates")
PEOPLE = ("R. Alvarez", "M. Okafor", "J. Lindqvist", "P. Carter", "S. Tanaka", "L. Novak", "A. Haddad")
TITLES = ("River Songs", "The Quiet Hour", "Salt and Stone", "Paper Kites", "Northern Bread", "A Field Guide")

LETTER_HINT = "Hint: Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end."
INTEGER_HINT = (
    "Hint: Please answer the question requiring an integer answer and provide the final value, "
    "e.g., 1, 2, 3, at the end."
)
GEO170K_HEAD = (
    "First perform reasoning, then finally select the question from the choices in the following format: Answer: xxx."
)
"""How data sets tell how to answer."""


def image(data: bytes, path: str | None = None) -> dict[str, Any]:
    """An image as `datasets` keeps it in Parquet."""
    return {"bytes": data, "path": path}


def _shuffled(rng: Random, right: int, step: int) -> tuple[list[int], int]:
    """Four values with the right one among them, and its place."""
    values = [right, right + step, right + 2 * step, max(1, right - step)]
    values = [value if values.index(value) == i else value + 3 * step + i for i, value in enumerate(values)]
    rng.shuffle(values)
    return values, values.index(right)


def _angles(rng: Random) -> tuple[int, int, int]:
    first, second = rng.randint(25, 80), rng.randint(25, 75)
    return first, second, 180 - first - second


def geoqa(rng: Random, number: int) -> Row:
    if number % 2:
        first, second, third = _angles(rng)
        values, place = _shuffled(rng, third, 10)
        subject = f"如图，在△ABC中，∠B={first}°，∠C={second}°，则∠A的度数是()"
        choices, picture = [f"{value}°" for value in values], pictures.triangle(rng, (first, second, third))
    else:
        half, offset, radius = rng.choice([(4, 3, 5), (12, 5, 13), (8, 6, 10), (15, 8, 17)])
        values, place = _shuffled(rng, 2 * half, 2)
        subject = f"如图，在⊙O中，AB为弦，点O到AB的距离是{offset}，若⊙O的半径为{radius}，则弦AB的长为()"
        choices, picture = [str(value) for value in values], pictures.circle(rng, radius, offset)
    return {
        "image": image(encoded(picture, "JPEG")),
        "subject": subject,
        "choices": choices,
        "label": place,
        "answer": f"故选：{'ABCD'[place]}。",
        "original_split": ("train", "train", "train", "dev", "test")[number % 5],
        "id": 3000 + number,
    }


def mathvista(rng: Random, number: int) -> Row:
    pid = str(number + 1)
    meta = {"language": "english", "split": "testmini", "img_width": 400, "img_height": 280, "grade": "high school"}
    row: Row = {"pid": pid, "image": f"images/{pid}.jpg", "choices": None, "unit": None, "precision": None}
    if number % 3 == 0:
        first, second, third = _angles(rng)
        values, place = _shuffled(rng, third, 5)
        row |= {"question": r"Find $m\angle A$", "choices": [str(v) for v in values], "answer": str(values[place])}
        row |= {"question_type": "multi_choice", "answer_type": "text"}
        row["decoded_image"] = image(encoded(pictures.triangle(rng, (first, second, third)), "JPEG"), row["image"])
        meta |= {"source": "Geometry3K", "context": "geometry diagram", "category": "math-targeted-vqa"}
    elif number % 3 == 1:
        names, values = rng.sample(FRUIT, 4), [rng.randint(3, 95) for _ in range(4)]
        row |= {"question": f"How many more {names[0]} than {names[1]} were sold?", "unit": "crates"}
        row |= {"answer": str(values[0] - values[1]), "question_type": "free_form", "answer_type": "integer"}
        row["decoded_image"] = image(encoded(pictures.bars(rng, names, values)), row["image"])
        meta |= {"source": "ChartQA", "context": "bar chart", "category": "general-vqa"}
    else:
        series, first_year = [rng.randint(10, 90) for _ in range(5)], rng.randint(1990, 2015)
        mean = sum(series) / len(series)
        row |= {"question": "What is the mean of the values on the line?", "precision": 1.0}
        row |= {"answer": f"{mean:.1f}", "question_type": "free_form", "answer_type": "float"}
        row["decoded_image"] = image(encoded(pictures.lines(rng, series, first_year)), row["image"])
        meta |= {"source": "PlotQA", "context": "line plot", "category": "general-vqa"}
    return {
        **row,
        "metadata": {**meta, "skills": ["arithmetic reasoning"]},
        "query": _mathvista_query(row),
    }


def _mathvista_query(row: Row) -> str:
    """What is asked: hint, question, unit and choices."""
    unit = f" (Unit: {row['unit']})" if row["unit"] else ""
    listed = [f"({letter}) {choice}" for letter, choice in zip("ABCD", row["choices"] or (), strict=False)]
    hint = LETTER_HINT if listed else INTEGER_HINT
    return "\n".join([hint, f"Question: {row['question']}{unit}", *(["Choices:", *listed] if listed else ())])


def mathvision(rng: Random, number: int) -> Row:
    radius = rng.randint(3, 40)
    choice = number % 2 == 0
    offset = rng.randint(1, radius - 1)
    return {
        "id": str(number + 1),
        "question": f"What is the diameter of the circle in figure {number}?\n<image1>",
        "options": ["A", "B", "C", "D", "E"] if choice else [],
        "image": f"images/{number + 1}.jpg",
        "decoded_image": image(encoded(pictures.circle(rng, radius, offset), "JPEG")),
        "answer": "ABCDE"[number % 5] if choice else str(2 * radius),
        "solution": None,
        "level": 1 + number % 5,
        "subject": "metric geometry - length",
    }


def geometry3k(rng: Random, number: int) -> Row:
    first, second, third = _angles(rng)
    values, place = _shuffled(rng, third, 10)
    return {
        "images": [image(encoded(pictures.triangle(rng, (first, second, third), (260, 210))))],
        "problem": f"<image>Find the measure of angle A, given that angle B is {first} degrees.",
        "answer": str(values[place]),
        "id": number,
        "choices": [str(value) for value in values],
        "ground_truth": "ABCD"[place],
    }


def geo170k(rng: Random, number: int) -> Row:
    first, second, third = _angles(rng)
    values, place = _shuffled(rng, third, 10)
    listed = "\n".join(f"{letter}: {value}°" for letter, value in zip("ABCD", values, strict=True))
    asked = (
        f"In triangle ABC, angle B measures {first}° and angle C measures {second}°. What is the measure of angle A?"
    )
    human = f"<image>\n{GEO170K_HEAD}\nQuestion: {asked}\nChoices:\n{listed}"
    gpt = f"The angles add up to 180°: 180° - {first}° - {second}° = {third}°.\nAnswer:{'ABCD'[place]}"
    return _llava(f"geo170k-{number}", pictures.triangle(rng, (first, second, third), (240, 200)), human, gpt)


def clevr_math(rng: Random, number: int) -> Row:
    things = [(rng.choice(SHAPES), rng.choice(list(COLOURS))) for _ in range(rng.randint(4, 7))]
    colour = rng.choice(list(COLOURS))
    left = sum(1 for _, one in things if one != colour)
    human = f"<image>\n{INTEGER_HINT}\nQuestion: Subtract all {colour} objects. How many objects are left?"
    picture = pictures.scene(rng, [(shape, COLOURS[one]) for shape, one in things])
    return _llava(f"clevr-{number}", picture, human, f"The answer is {left}")


def _llava(identity: str, picture: Any, human: str, gpt: str) -> Row:
    turns = [{"from": "human", "value": human}, {"from": "gpt", "value": gpt}]
    return {
        "id": identity,
        "image": image(encoded(picture, "JPEG")),
        "conversations": turns,
        "data_source": "made",
    }


def mathv360k(rng: Random, number: int) -> Row:
    """One entry of the JSON list; `_picture` is what lies in the archive at the path `image`."""
    names, values = rng.sample(FRUIT, 4), [rng.randint(3, 95) for _ in range(4)]
    order = sorted(range(4), key=lambda i: values[i])
    listed = "\n".join(f"({letter}) {name}" for letter, name in zip("ABCD", names, strict=True))
    human = f"<image>\n{LETTER_HINT}\nQuestion: Which fruit is sold most in chart {number}?\nChoices:\n{listed}"
    turns = [{"from": "human", "value": human}, {"from": "gpt", "value": f"The answer is {'ABCD'[order[-1]]}"}]
    path = f"DVQA/images/bar_{number:05d}.png"
    return {"image": path, "conversations": turns, "_picture": encoded(pictures.bars(rng, names, values))}


def chartqa(rng: Random, number: int) -> Row:
    names, values = rng.sample(FRUIT, 5), [rng.randint(3, 95) for _ in range(5)]
    return {
        "image": image(encoded(pictures.bars(rng, names, values, (480, 320)))),
        "query": f"What is the value of {names[2]} in chart {number}?",
        "label": [str(values[2])],
        "human_or_machine": number % 2,
    }


def docvqa(rng: Random, number: int) -> Row:
    fields = {
        "Date": f"{rng.randint(1, 28)}/{rng.randint(1, 12)}/{rng.randint(78, 99)}",
        "To": rng.choice(PEOPLE),
        "From": rng.choice(PEOPLE),
        "Amount": f"${rng.randint(20, 900)}.{rng.randint(10, 99)}",
        "Reference": f"{rng.randint(1000, 9999)}-{number}",
    }
    asked = rng.choice(list(fields))
    return {
        "questionId": 500 + number,
        "question": f"What is the {asked.lower()} given in letter {number}?",
        "question_types": ["form"],
        "image": image(encoded(pictures.page(rng, rng.choice(("Memorandum", "Invoice", "Receipt")), fields))),
        "docId": 100 + number,
        "ucsf_document_id": f"doc{number}",
        "ucsf_document_page_no": "1",
        "answers": [fields[asked], fields[asked].lower()],
    }


def textvqa(rng: Random, number: int) -> Row:
    word = rng.choice(("nokia", "airmail", "exit", "bakery", "platform", "library")) + str(number)
    return {
        "image_id": f"{rng.getrandbits(64):016x}",
        "question_id": number,
        "question": f"what does sign {number} say?",
        "image": image(encoded(pictures.cover(rng, word.upper(), "Open daily", (320, 200)), "JPEG")),
        "image_width": 320,
        "image_height": 200,
        "flickr_original_url": "",
        "answers": [word] * 8 + ["unanswerable"] * 2,
        "set_name": "train",
    }


def ocrvqa(rng: Random, number: int) -> Row:
    title, author = f"{rng.choice(TITLES)} {number}", rng.choice(PEOPLE)
    return {
        "image": image(encoded(pictures.cover(rng, title, author), "JPEG")),
        "image_id": f"{761183272 + number:010d}",
        "questions": ["Who wrote this book?", "What is the title of this book?", "Is this a cookbook?"],
        "answers": [author, title, "No"],
        "ocr_tokens": title.split(),
        "title": title,
        "authorName": author,
        "genre": "Arts",
        "image_width": 240,
        "image_height": 340,
        "image_url": "",
        "set_name": "train",
    }


def ai2d(rng: Random, number: int) -> Row:
    chain = rng.sample(("grass", "beetle", "frog", "snake", "hawk", "fox", "mouse", "algae"), 4)
    texts = []
    for eater, eaten in zip(chain[1:], chain, strict=False):
        choices = [eater, *[one for one in chain if one != eater][:3]]
        rng.shuffle(choices)
        listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip("ABCD", choices, strict=True))
        user = f"Question: What eats the {eaten}?\nChoices:\n{listed}\nAnswer with the letter."
        texts.append({"user": user, "assistant": f"Answer: {'ABCD'[choices.index(eater)]}", "source": "AI2D"})
    return {"images": [image(encoded(pictures.diagram(rng, chain)))], "texts": texts}


def vqav2(rng: Random, number: int) -> Row:
    things = [(rng.choice(SHAPES), rng.choice(list(COLOURS))) for _ in range(3)]
    picture = pictures.scene(rng, [(shape, COLOURS[one]) for shape, one in things])
    shape, colour = things[0]
    short = rng.choice(("Short answer required.", "Keep it short and to the point.", "Give a very brief answer."))
    texts = [
        {
            "user": f"What color is the {shape} on the left?\n{short}",
            "assistant": f"{colour.title()}.",
            "source": "VQAv2",
        },
        {"user": f"Are there three things in the picture?\n{short}", "assistant": "Yes.", "source": "VQAv2"},
    ]
    return {"images": [image(encoded(picture, "JPEG"))], "texts": texts}


def m3cot(rng: Random, number: int) -> Row:
    things = [(rng.choice(SHAPES), rng.choice(list(COLOURS))) for _ in range(rng.randint(2, 5))]
    choices = ["two", "three", "four", "five"]
    identity = f"physical-commonsense-{number}"
    return {
        "id": identity,
        "category": "physical-commonsense",
        "image_id": identity,
        "question": "How many things could roll or slide down the hill?",
        "choices": choices,
        "context": f"Picture {number} was taken in a garden." if number % 2 else "",
        "answer": "ABCD"[len(things) - 2],
        "rationale": "They are counted.",
        "split": "train",
        "image": image(encoded(pictures.scene(rng, [(shape, COLOURS[one]) for shape, one in things], (360, 250)))),
        "domain": "commonsense",
        "topic": "physical-commonsense",
    }


def scienceqa(rng: Random, number: int) -> Row:
    chain = rng.sample(("egg", "larva", "pupa", "butterfly", "tadpole", "frog", "seed", "plant"), 3)
    return {
        "image": image(encoded(pictures.diagram(rng, chain, (420, 280)))),
        "question": f"Which stage comes first in life cycle {number}?",
        "choices": sorted(chain),
        "answer": sorted(chain).index(chain[0]),
        "hint": "The arrows show the order of the stages." if number % 2 else "",
        "task": "closed choice",
        "grade": "grade3",
        "subject": "natural science",
        "topic": "biology",
        "category": "Life cycles",
        "skill": "Read a diagram",
        "lecture": "",
        "solution": "",
    }


def rlaif_v(rng: Random, number: int) -> Row:
    things = [(rng.choice(SHAPES), rng.choice(list(COLOURS))) for _ in range(4)]
    return {
        "ds_name": "RLAIF-V",
        "image": image(encoded(pictures.scene(rng, [(shape, COLOURS[one]) for shape, one in things], (400, 300)))),
        "question": f"What can you tell about the things in picture {number}, and how do they stand to each other?",
        "chosen": "Four things stand on a ground under a clear sky.",
        "rejected": "A crowd of people is watching a match.",
        "origin_dataset": "LCS-558K",
        "origin_split": '{"model": "made"}',
        "idx": number,
        "image_path": f"made/{number:03d}.jpg",
    }


MAKERS: dict[str, Make] = {
    make.__name__: make
    for make in (
        geoqa, mathvista, mathvision, geometry3k, geo170k, clevr_math, mathv360k, chartqa, docvqa, textvqa, ocrvqa,
        ai2d, vqav2, m3cot, scienceqa, rlaif_v,
    )
}  # fmt: skip


def rows_of(name: str, count: int) -> list[Row]:
    """The first `count` rows of a data set."""
    return [MAKERS[name](Random(f"{name}/{number}"), number) for number in range(count)]
