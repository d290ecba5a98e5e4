"""Response + gold -> Verdict: finding, reading and matching an answer by its kind."""

from mmpr_pipeline.checking.api import (
    CHECKER,
    CHECKERS,
    answers_equal,
    check,
    check_prediction,
    check_question,
    check_response,
    checker,
    checker_identity,
    find_answer,
)
from mmpr_pipeline.core.verdict import Verdict

__all__ = [
    "CHECKER",
    "CHECKERS",
    "Verdict",
    "answers_equal",
    "check",
    "check_prediction",
    "check_question",
    "check_response",
    "checker",
    "checker_identity",
    "find_answer",
]
