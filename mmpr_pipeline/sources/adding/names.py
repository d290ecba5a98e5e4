"""Names. What data sets call their columns, the likeliest first; in one or many, small or capital, joined however."""

import re

QUESTION = ("question", "query", "problem", "instruction", "prompt", "user", "question_text", "ask", "q", "input",
            "statement", "sentence", "text", "问题", "题目", "题干")  # fmt: skip
ANSWER = ("answer", "gold", "gold_answer", "ground_truth", "groundtruth", "gt", "gt_answer", "correct_answer",
          "correct_choice", "label", "target", "assistant", "response", "output", "solution", "a", "answer_text",
          "final_answer", "correct_option", "answer_idx", "answer_index", "answer_key", "answer_label",
          "correct_choice_idx", "correct_idx", "correct_index", "correct_answer_idx", "reference", "答案", "标准答案",
          "正确答案")  # fmt: skip
AGREED = ("multiple_choice_answer",)
"""What most of those who were asked said, beside the list of all that they said (VQA)."""
ANSWERS = ("answers", "golds", "gold_answers", "references")
CHOICES = ("choice", "option", "candidate", "answer_choice", "multiple_choice", "answer_option", "alternative",
           "选项")  # fmt: skip
IDS = ("id", "qid", "question_id", "pid", "uid", "uuid", "index", "idx", "sample_id", "item_id",
       "data_id", "__key__", "_key", "key", "no", "number", "题号", "编号", "序号")  # fmt: skip
CONTEXT = ("hint", "passage", "context", "lecture")
CONVERSATION = ("conversation", "message", "dialog", "dialogue", "turn")
LANGUAGE = ("language", "lang", "locale")
CHOSEN = ("chosen", "chosen_response", "preferred", "preferred_response", "response_chosen", "win", "better")
REJECTED = (
    "rejected",
    "rejected_response",
    "dispreferred",
    "dispreferred_response",
    "response_rejected",
    "lose",
    "worse",
)


def source_name(called: str) -> str:
    """What something is called, in the letters that a source's name may have; empty where it has none of them."""
    return re.sub(r"[^a-z0-9_.-]+", "_", called.lower()).strip("_.-")
