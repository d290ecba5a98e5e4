"""Instructions that questions already carry: "Answer the question using a single word or phrase.", MathVista's hints.

A build asks in its own words, so what a source wrote about *how* to answer is taken off; what it wrote about *what* is
asked stays. Only whole sentences at the very start or end of a question are taken, and never all of it. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WINDOW = 1_200
"""Characters at either end of a question in which instructions are looked for."""

MAX_INSTRUCTION = 4_000
"""Most characters kept of what was taken off."""

_EG = r"(?:,? e\.g\.,? [^\n]{1,60}?)?"
_BOX = r"[\"'`$]{0,2}\\boxed\{ ?\}[\"'`$]{0,2}"
_LETTER = (
    r"the (?:correct |right |corresponding )?(?:option'?s? |choice'?s? )?letter"
    r"(?: of the (?:correct |right |chosen )?(?:option|choice|answer))?"
)
_FINAL = r"(?:your|the) (?:final )?answer"

# One whole sentence each, without its full stop. They are the forms seen in LLaVA-style mixtures, the released prompts
# of MMPR, MathVista, MathVerse and MathVision, The Cauldron, and R1-style training sets.
_ENGLISH = [
    r"(?:try to )?answer (?:the |this )?(?:question )?(?:using|with|in) (?:only )?"
    r"(?:a single|one|a|a few|several|short) ?(?:words?|phrases?)(?: (?:or|and) (?:short )?phrases?)?(?: if possible)?",
    rf"(?:please )?answer (?:the question )?(?:with|using) (?:only )?{_LETTER}"
    r"(?: from the (?:given )?(?:choices|options)(?: given)?)?(?:,? (?:directly|only))?",
    rf"(?:please )?(?:directly )?answer the que(?:stion|siton) and provide {_LETTER}{_EG}(?:,? at the end)?",
    rf"(?:please )?(?:directly )?answer the question and provide the final (?:value|list){_EG}(?:,? at the end)?",
    r"(?:please )?answer the question requiring (?:an integer|a floating-point number with \w{1,6} decimal places?|"
    rf"a python list)(?: as an)?(?: answer)? and provide the final (?:value|list){_EG}(?:,? at the end)?",
    rf"(?:please )?first conduct reasoning,? and then answer the question and provide "
    rf"(?:{_LETTER}|the final (?:value|list)){_EG}(?:,? at the end)?",
    r"first perform reasoning,? then finally select the (?:question|answer) from the choices in the following format: "
    r"answer: ?x{1,3}",
    r"answer (?:the question )?(?:with )?(?:only )?(?:either )?yes or no(?: only)?",
    r"(?:please )?answer (?:the |this )?question directly",
    r"answer this question using the text in the image directly",
    r"(?:please )?(?:directly (?:give|provide)|(?:give|provide) (?:me )?only) the (?:final )?answer",
    r"(?:please )?select the correct (?:answer|option|choice) from the (?:given )?(?:options|choices)"
    r"(?: above| below| given)?",
    r"(?:please )?answer the question based on the options mentioned before",
    # The many ways in which The Cauldron asks for brevity.
    r"short answer required|keep it (?:short and to the point|brief)|be succinct|answer briefly|"
    r"your answer should be (?:compact|very brief)|quick response,? please|concise answer only|"
    r"(?:offer|give|write|provide) a (?:very )?(?:short|brief|terse|succinct|concise)(?: and direct)? "
    r"(?:reply|answer|response)|ensure brevity in your answer|make the answer very short|"
    r"(?:please )?provide a (?:short|one-word|single-word) answer",
    # Reasoning.
    r"(?:please |let's |let us )?think (?:about it )?step[ -]by[ -]step",
    rf"(?:please )?(?:reason|think|solve (?:the|this) (?:problem|question)) step by step,? and (?:then )?"
    rf"(?:put|give|place|write|enclose) {_FINAL} (?:with)?in (?:one )?{_BOX}",
    rf"(?:please )?(?:answer the question and )?(?:put|give|place|write|enclose) {_FINAL} (?:with)?in (?:one )?{_BOX}",
    rf"if it is a multiple choice question, only one letter is allowed in the {_BOX}",
    r"you (?:should )?first thinks? about the reasoning process(?: as an internal monologue| in the mind)? and then "
    r"(?:provide|provides) (?:the final answer|the user with the answer)",
    r"the reasoning process must be enclosed within <think> ?</think> tags",
    rf"the final answer must be put in {_BOX}",
    r"output the thinking process in <think> ?</think> and (?:the |your )?final answer(?: \([^()\n]{1,30}\))? in "
    r"<answer> ?</answer> tags",
    # The paper's own prompts, and ours, on questions that come from an earlier output.
    r"your task is to answer the question below",
    r"give step by step reasoning(?: before you answer, and when you're ready to answer, please use the format "
    r"\"final answer: ?\.\.\"?)?",
    r"answer the preceding question\. the last line of your response should follow this format: [^\n]{1,700}",
    r"think step by step, then (?:end with a line of the form: final answer: answer|"
    r"put the result alone in \\boxed\{\} at the end)",
    r"reply with the answer only",
    r"first reason step by step between <think> and </think>\. after </think>, write only one line of the form: "
    r"final answer: answer",
]
_CHINESE = [
    r"请?直接(?:回答|给出|写出|用)(?:给定|所给)?(?:选项中?的?(?:正确)?(?:选项)?的?)?(?:字母|答案|问题|选项)(?:来?回答|即可)?"
    r"(?:[，,]?(?:不要|无需|不需要)(?:有)?(?:任何)?(?:解释|说明))?",
    r"请?(?:使用|用)(?:一个|单个)?(?:单词|词语?|字)(?:或者?(?:一个)?(?:短语|词组))?(?:来|直接)?回答(?:该|这个|此|上述|以下)?(?:问题)?",
    r"请?(?:回答(?:该|这个|此|上述|以下)?(?:问题|题目)[，,]?)(?:并|然后)?(?:在)?(?:最后|末尾)?(?:提供|给出|写出)正确的?选项的?字母"
    r"(?:[（(，,]?(?:例如|如|比如)[：:]?\s?[A-H][A-H、,，\s]{0,20}[)）]?)?(?:在?(?:最后|末尾))?",
    r"请?(?:一步一步|一步步|逐步)地?(?:思考|推理|分析)(?:[，,]?(?:并|然后|再|最后)?(?:将|把)(?:你的)?(?:最终)?(?:答案|结果)"
    r"(?:放在|写在|放入|填入)\s?\\boxed\{\}\s?(?:中|里|内|之中)?)?",
    r"请?(?:详细)?回答(?:这个|该|上述)?问题[，,]?并?(?:将|把)最终答案用\s?\\boxed\{\}\s?(?:包住|框起来|包裹)",
    r"让我们(?:一步一步|一步步|逐步)地?(?:思考|推理)",
    r"请?(?:简短|简要|简洁)地?回答(?:问题)?",
    r"请?(?:用|回答)[“\"]?是[”\"]?(?:或者?|还是|/)[“\"]?(?:否|不是)[”\"]?(?:来)?(?:回答)?",
    r"你的任务是回答以下问题|在回答之前[，,]请逐步推理说明您的思路|"
    r"当你准备好给出答案时[，,]请使用以下格式[：:][“\"]?答案[：:] ?\.{2,3}[”\"]?",
    r"请回答上述问题。你的回答最后一行应遵循以下格式[：:][^\n]{1,500}",
    r"请一步一步推理，并在最后一行写出：最终答案：答案|请一步一步推理，最后把结果写在 \\boxed\{\} 中|"
    r"请先在 <think> 和 </think> 之间一步一步推理，在 </think> 之后只写一行：最终答案：答案",
]
_SENTENCE = re.compile(
    rf"\s*(?:(?:hint|note|提示)\s?[:：]\s?)?(?:(?:please|kindly),? )?(?:{'|'.join(_ENGLISH + _CHINESE)})"
    r"[\s.。!！,，;；\"”]*",
    re.IGNORECASE,
)
_OPENS = re.compile(
    r"\s*(?:hint|note|please|kindly|answer|try to|directly|first|give|provide|select|short|keep|be s|your|quick|"
    r"concise|offer|write|ensure|make|let|think|reason|solve|put|place|enclose|if it|you|the |output|reply|"
    r"[请直使用回一逐让详简你在当]|提示)",
    re.IGNORECASE,
)
"""How any of them begins: what begins otherwise is not looked at further."""

_BOUNDARY = re.compile(r"[.?!:;。？！；：)）\]\"”](?=\s)\s+|\n\s*|[。？！；：]|(?=请|提示[:：]|让我们|[（(]?Hint:)")
_HINT = re.compile(r"(?:hint|note|提示)\s?[:：]\s*\Z", re.IGNORECASE)
_LABEL = re.compile(r"\s*(?:Question|问题|题目)\s?[:：]\s*", re.IGNORECASE)
_LABEL_LAST = re.compile(r"\s*(?:Question|问题|题目)\s?[:：]\s*\Z", re.IGNORECASE)
_MARKS_FIRST = re.compile(r"(?:\s*<image>)*\s*")
_MARKS_LAST = re.compile(r"(?:\s*<image>)*\s*\Z")


@dataclass(frozen=True)
class Stripped:
    """A question without its instruction, and the instruction; nothing else is lost."""

    text: str
    instruction: str = ""

    @property
    def hint(self) -> str:
        """The instruction without the label of the question that followed it."""
        return _LABEL_LAST.sub("", self.instruction)


def strip_instruction(text: str) -> Stripped:
    """The question without the instruction at its start and its end. A question that is nothing else stays whole.

    `<image>` marks stay where they are; a label `Question:` goes with the instruction that stood before it.
    """
    first = _MARKS_FIRST.match(text)
    begin = first.end() if first else 0
    last = _MARKS_LAST.search(text, max(begin, len(text) - WINDOW))
    end = last.start() if last else len(text)
    low, high = begin, end
    if _OPENS.match(text, begin, end):  # the instruction at the start, sentence by sentence
        for stop in [*_boundaries(text, begin, min(end, begin + WINDOW)), end]:
            if stop > low and _SENTENCE.fullmatch(text, low, stop):
                low = stop
    for start in reversed([begin, *_boundaries(text, max(begin, end - WINDOW), end)]):  # and the one at the end
        if start < high and _OPENS.match(text, start, high) and _SENTENCE.fullmatch(text, start, high):
            high = start
    hint = _HINT.search(text, max(begin, high - 16), high) if high < end else None
    high = hint.start() if hint else high
    if low > begin and (label := _LABEL.match(text, low, end)):
        low = label.end()
    kept = text[low:high]
    if (low, high) == (begin, end) or not any(c.isalnum() for c in kept):
        return Stripped(text)
    taken = "\n".join(part for part in (text[begin:low].strip(), text[high:end].strip()) if part)
    return Stripped(f"{text[:begin]}{kept.strip()}{text[end:]}".strip(), taken[:MAX_INSTRUCTION])


def _boundaries(text: str, begin: int, end: int) -> list[int]:
    """Where sentences may begin, at most 64 of them: a text full of them is no question with an instruction."""
    found = [match.end() for match in _BOUNDARY.finditer(text, begin, end)]
    return found if len(found) <= 64 else [*found[:32], *found[-32:]]
