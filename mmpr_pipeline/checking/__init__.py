"""Response + gold -> Verdict: extraction, normalisation and matching by kind."""

from mmpr_pipeline.checking.checker import (
    CHECKER,
    answers_equal,
    check_prediction,
    check_question,
    check_response,
)

__all__ = ["CHECKER", "answers_equal", "check_prediction", "check_question", "check_response"]
