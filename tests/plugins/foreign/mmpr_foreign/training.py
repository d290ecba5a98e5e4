"""A loss, a model family, and a benchmark."""

from mmpr_pipeline.training.policy.families.family import Family as AnyModel


class Family(AnyModel):
    pass


def half(pairs, settings, shift=0.0):
    return pairs.chosen * 0 + 0.5


half.reference_free = True


def sums():
    return {
        "name": "sums",
        "title": "Sums",
        "rows": "riddles",
        "score": "checker",
        "metrics": ["accuracy"],
        "definition": "share of right sums",
    }
