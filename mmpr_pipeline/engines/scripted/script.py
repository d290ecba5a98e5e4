"""The script of the scripted engine: what the fake model does, and the sentences that it says."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Script(BaseModel):
    """What the fake model does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    solve_rate: float = Field(default=0.5, ge=0, le=1, description="Share of rollouts that are right.")
    extremes: float = Field(default=0.2, ge=0, le=1, description="Share of questions always right or always wrong.")
    blind_rate: float = Field(default=0.1, ge=0, le=1, description="The same, of answers without the image.")
    unparseable_rate: float = Field(default=0.02, ge=0, le=1, description="Share of rollouts that state no answer.")
    sloppy_rate: float = Field(default=0.0, ge=0, le=1, description="Share of answers that lack the form asked for.")
    tokens: int = Field(default=40, ge=1, description="About how many words a response has.")
    variety: int = Field(default=2**32, ge=1, description="Different chains of thought that exist.")
    latency: float = Field(default=0.0, ge=0, description="Seconds that each request takes.")
    fail_on: tuple[str, ...] = Field(default=(), description="source_ids that are refused.")
    fail_reason: str = Field(default="prompt_too_long", description="Reason of those refusals.")
    crash_on: tuple[str, ...] = Field(default=(), description="source_ids that kill the engine's process each time.")
    kill_after: int | None = Field(default=None, ge=0, description="Requests served before the process kills itself.")
    kill_marker: str | None = Field(default=None, description="File left by `kill_after`: it happens only once.")
    hang_on: tuple[str, ...] = Field(default=(), description="source_ids at which the engine stops, each time.")
    hang_once: str | None = Field(default=None, description="File left when an engine stops at its third request.")
    noise: bool = Field(
        default=False, description="Draw other responses in every process, as engines on GPUs do: seeds decide nothing."
    )
    memory: int | None = Field(
        default=None, ge=1, description="Rollouts in flight above which the engine runs out of memory."
    )
    crowd: int | None = Field(
        default=None, ge=1, description="Rollouts in flight above which the engine's process is killed."
    )
    refuse_while: str | None = Field(default=None, description="A file: while it is there, no engine starts.")
    load_latency: float = Field(default=0.0, ge=0, description="Seconds that an engine takes to start.")
    fail_while: str | None = Field(default=None, description="A file: while it is there, requests fail.")
    log: str | None = Field(default=None, description="File to which every served request is added, a line each.")


FAULTS = frozenset(
    "latency kill_after kill_marker hang_once log memory crowd refuse_while load_latency fail_while".split()  # noqa: SIM905
)
"""Settings that change what happens to an engine, but not what it answers."""

EN_SENTENCES = [
    "First look at what the picture shows.",
    "The picture gives every value that is needed.",
    "Compare the parts from left to right.",
    "The larger part is on the left side.",
    "The labels name the given sides and angles.",
    "Write down the known values one by one.",
    "The two quantities are related by a sum.",
    "Subtract the known part from the whole.",
    "Each row holds the same number of objects.",
    "Count the objects in the first row.",
    "Count the objects in the next row.",
    "Check the result against the picture again.",
    "The remaining value follows at once.",
    "This agrees with the text of the question.",
    "The colours separate the groups clearly.",
    "Read the value from the vertical axis.",
]
ZH_SENTENCES = [
    "先看图中给出的内容。",
    "图中给出了所需的数值。",
    "从左到右比较各个部分。",
    "较大的部分在左边。",
    "标注给出了已知的边和角。",
    "逐一写出已知的数值。",
    "两个量之间是相加的关系。",
    "从总量中减去已知的部分。",
    "每一行的物体数量相同。",
    "数一数第一行的物体。",
    "再数一数下一行的物体。",
    "对照图再检查一遍结果。",
    "剩下的数值随之可得。",
    "这与题目的文字一致。",
    "颜色把各组清楚地分开。",
    "从纵轴上读出数值。",
]
OTHER_WORDS = [
    "red",
    "blue",
    "seven",
    "circle",
    "triangle",
    "Paris",
    "north",
    "wood",
    "three",
    "table",
    "green",
    "none",
]
