"""A source that Python makes."""


def riddles():
    return [{"text": f"What is {n} + {n}?", "answer": 2 * n, "kind": "text"} for n in range(6)]
