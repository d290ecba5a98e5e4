"""A response is right if it ends with the gold."""

from mmpr_pipeline import Verdict


def exact(question, response):
    right = response.rstrip().endswith(str(question.answer))
    return Verdict(outcome="correct" if right else "incorrect", rule="ends_with", checker="foreign@1")
