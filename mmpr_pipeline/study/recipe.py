"""From a study's settings to its steps and to the rows of its tables. Pure.

Steps of one seed do not depend on those of another, and a dataset or model that several rows use is made once. A table
is done for all seeds before the next is begun, and the dearest come last.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from mmpr_pipeline.pairing.settings import PairingSettings
from mmpr_pipeline.study.settings import (
    QuestionSettings,
    StudyConfig,
    TrainSettings,
)
from mmpr_pipeline.study.steps.step import Step

BASE = "base"
FEEDBACK, SAME_CHOSEN = "feedback (RLAIF-V)", "DropNTP"
"""Rows of the comparison on the same chosen responses."""
ROUND_SEEDS = 50
"""Between the generator seeds of one round's questions and the next's: no round sees another's questions."""


@dataclass(frozen=True)
class Row:
    """One line of a table: a way of making a model, and the step that measured it for each seed."""

    table: str
    label: str
    measured: tuple[str, ...]
    built: tuple[str, ...] = ()
    """The steps that built what it was trained on, one for each that measured; none for the base."""
    cost: tuple[str, ...] = ()
    """The steps that count the tokens of its pairs, where those are not the ones that built."""

    def of_seeds(self, seeds: Collection[str]) -> Row:
        """The row with these seeds only."""
        kept = [n for n, name in enumerate(self.measured) if seed_of(name) in seeds]
        built, cost = (tuple(names[n] for n in kept) if names else () for names in (self.built, self.cost))
        return replace(self, measured=tuple(self.measured[n] for n in kept), built=built, cost=cost)

    def seeds_among(self, done: Collection[str]) -> set[str]:
        """The seeds of which the measurement is among these steps."""
        return {seed_of(name) for name in self.measured if name in done}


class Made(NamedTuple):
    """A row of one seed: its label, and the steps that measure, that build, and that count its tokens."""

    label: str
    measured: str
    built: str
    cost: str = ""


@dataclass
class StudyPlan:
    """The steps in an order in which each finds what it needs, and the tables' rows."""

    steps: dict[str, Step] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    sources: dict[str, QuestionSettings] = field(default_factory=dict)
    """Question sets by the name of their folder of declarations."""

    def add(self, step: Step) -> str:
        """Take in a step, once; gives its name."""
        assert self.steps.get(step.name, step) == step, step.name
        self.steps[step.name] = step
        return step.name


def make_study_plan(config: StudyConfig) -> StudyPlan:
    """Everything that a study does, in order."""
    plan = StudyPlan(sources={"measure": config.measure.questions})
    base = plan.add(_measure(config, BASE, config.engine.model, ()))
    plan.rows.append(Row("losses", "base", (base,)))
    ways: dict[tuple[str, str], list[Made]] = {}
    seeds = [_Seed(config, plan, seed).tables() for seed in config.seeds]
    for table in seeds[0]:
        for tables in seeds:
            for made in tables[table]:
                ways.setdefault((table, made.label), []).append(made)
    for (table, label), found in ways.items():
        measured, built, cost = (tuple(names) for names in zip(*(made[1:] for made in found), strict=True))
        plan.rows.append(Row(table, label, measured, built, cost if all(cost) else ()))
    return plan


def rows_so_far(rows: Collection[Row], done: Collection[str]) -> list[Row]:
    """The rows whose results are known when only these steps are done.

    Rows of one table use the same seeds, so that they can be compared; where they share none, each uses its own.
    """
    shown = []
    for table in dict.fromkeys(row.table for row in rows):
        found = [(row, seeds) for row in rows if row.table == table and (seeds := row.seeds_among(done))]
        of_trained = [seeds for _, seeds in found if seeds != {BASE}]
        shared = set.intersection(*of_trained) if of_trained else set()
        shown += [row if BASE in seeds else row.of_seeds(shared or seeds) for row, seeds in found]
    return shown


@dataclass(frozen=True)
class _Seed:
    """The steps of one seed."""

    config: StudyConfig
    plan: StudyPlan
    seed: int

    def tables(self) -> dict[str, Iterator[Made]]:
        """The tables in the order in which they are done.

        A table's steps are planned as its rows are taken.
        """
        config = self.config
        ways = (("adaptive", True), ("flat", False)) if config.flat else ()
        return {
            "losses": (self._made(loss, self.build(config.size), loss) for loss in config.losses),
            "DropNTP": self._dropout(),
            "sampling": (self._made(label, self.build(1, adaptive=adaptive)) for label, adaptive in ways),
            "rounds": self._rounds(),
            "pairs": (self._made(f"{size}x", self.build(size)) for size in config.sizes),
            "feedback": self._feedback(),
            "signals": (self._made(label, self.signal(label, pairing)) for label, pairing in config.signals.items()),
        }

    def _made(self, label: str, built: str, loss: str = "mpo") -> Made:
        return Made(label, self.model(loss, built), built)

    def _dropout(self) -> Iterator[Made]:
        if self.config.dropout_off:
            yield self._made("off", self.repair(self.build(1)))
        for ratio in self.config.dropout_ratios:
            yield self._made(f"{ratio:g}", self.build(1, ratio=ratio))

    def _rounds(self) -> Iterator[Made]:
        config, model = self.config, self.config.engine.model
        for number in range(1, config.rounds + 1) if config.rounds > 1 else ():
            built = self.build(config.size, round=number, model=model)
            measured = self.model("mpo", built, start=model)
            model = model_of(self.train_name("mpo", built))
            yield Made(f"{number}", measured, built)

    def _feedback(self) -> Iterator[Made]:
        """Descriptions that feedback pairs; the same chosen ones with what DropNTP rejects; those that both have."""
        if (rules := self.config.feedback) is None:
            return
        folder, model = f"describe-{self.config.practice.seed + self.seed}", self.config.engine.model
        seed = self.config.practice.seed + self.seed
        self.plan.sources[folder] = self.config.practice.model_copy(update={"each": rules.each, "seed": seed})
        source = f"./sources/{folder}/nano_describe.yaml"
        chosen = f"s{self.seed}/chosen"  # the step that writes feedback's pairs as rows
        if rules.labels == "world":
            settings: dict[str, object] = {
                **rules.model_dump(mode="json", include={"each", "answers", "pairs"}),
                "source": source,
                "engine": {**_engine(self.config, model), "actors": 0},
                "decoding": self.config.sampling.decoding.model_dump(mode="json"),
                "seed": self.seed,
                "folder": f"./steps/{chosen}/rows",
            }
            self.plan.add(Step(chosen, "pair_by_world", settings, _needs(model)))
            cost = chosen
        else:  # by what the base model says of each claim
            options = {"feedback": rules.model_dump(mode="json", include={"answers", "pairs", "verify", "votes"})}
            pairing = {"strategies": ["feedback"], "options": options}
            cost = self._build(f"s{self.seed}/build-feedback", source, pairing, model, ())
            settings = {"data": data_of(cost), "folder": f"./steps/{chosen}/rows"}
            self.plan.add(Step(chosen, "hand_over", settings, (cost,)))
        continued = {"strategies": ["dropout_preset"]}
        dropped = self._build(f"s{self.seed}/build-dropout", _rows_of(chosen), continued, model, (chosen,))
        both = f"s{self.seed}/both"
        settings = {"rows": f"./steps/{chosen}/rows", "data": data_of(dropped), "folder": f"./steps/{both}/rows"}
        self.plan.add(Step(both, "hand_over", settings, (dropped,)))
        preset = self._build(f"s{self.seed}/build-both", _rows_of(both), {"strategies": ["preset"]}, model, (both,))
        yield Made(FEEDBACK, self.model("mpo", preset, model, rules.training), preset, cost)
        yield Made(SAME_CHOSEN, self.model("mpo", dropped, model, rules.training), dropped, both)

    def _build(self, name: str, source: str, pairing: Mapping[str, object], model: str, needs: tuple[str, ...]) -> str:
        """A build of descriptions alone."""
        config = self.config
        settings = {
            "sources": [source],
            "out": f"./steps/{name}/data",
            "shards": config.shards,
            "seed": self.seed,
            "engine": _engine(config, model),
            "sampling": config.sampling.model_dump(mode="json"),
            "pairing": pairing,
            "screening": {"dedup": False, "decontaminate": False},
        }
        return self.plan.add(Step(name, "build", settings, needs))

    def signal(self, label: str, pairing: PairingSettings) -> str:
        """The practice questions at size 1, paired in another way; with their answers taken off where that is asked."""
        config, plain = self.config, self.plan.steps[self.build(1)]
        name = f"s{self.seed}/build-{label}"
        settings = {
            **plain.settings,
            "out": data_of(name),
            "pairing": pairing.model_dump(mode="json"),
            "sampling": config.sampling.model_copy(update={"style": config.signal_style}).model_dump(mode="json"),
        }
        if label in config.unlabelled:
            folder = f"unlabelled-{config.practice.seed + self.seed}"
            practice = self.plan.sources[f"practice-{config.practice.seed + self.seed}"]
            self.plan.sources[folder] = practice.model_copy(update={"answers": False})
            settings["sources"] = [f"./sources/{folder}/{source}.yaml" for source in config.sources]
        return self.plan.add(Step(name, "build", settings, plain.needs))

    def build(
        self, size: int, *, ratio: float | None = None, adaptive: bool | None = None, round: int = 1, model: str = ""
    ) -> str:
        """Questions at a size, sampled and paired; the name of the step."""
        config, practice = self.config, self.config.practice
        ratio = config.pairing.dropout_ratio if ratio is None else ratio
        adaptive = config.sampling.adaptive if adaptive is None else adaptive
        name = f"s{self.seed}/build-{size}x" + (f"-round{round}" if round > 1 else "")
        name += f"-ratio{ratio:g}" if ratio != config.pairing.dropout_ratio else ""
        name += ("-adaptive" if adaptive else "-flat") if adaptive != config.sampling.adaptive else ""
        seed = practice.seed + self.seed + ROUND_SEEDS * (round - 1)
        folder = f"practice-{seed}"
        largest = max(size, *config.sizes, config.size)
        self.plan.sources[folder] = practice.model_copy(update={"each": practice.each * largest, "seed": seed})
        settings = {
            "sources": [f"./sources/{folder}/{source}.yaml" for source in config.sources],
            "out": f"./steps/{name}/data",
            "shards": config.shards,
            "limit": practice.each * size,
            "seed": self.seed,
            "engine": _engine(config, model or config.engine.model),
            "sampling": config.sampling.model_copy(update={"adaptive": adaptive}).model_dump(mode="json"),
            "pairing": config.pairing.model_copy(update={"dropout_ratio": ratio}).model_dump(mode="json"),
        }
        return self.plan.add(Step(name, "build", settings, _needs(model)))

    def repair(self, built: str) -> str:
        """The same rollouts without DropNTP pairs."""
        name = f"{built}-nodrop"
        settings = {"before": data_of(built), "out": data_of(name), "pairing.strategies": ["correctness"]}
        return self.plan.add(Step(name, "repair", settings, (built,)))

    def train_name(self, loss: str, built: str) -> str:
        """Name of the training step."""
        return built.replace("/build-", f"/train-{loss}-", 1)

    def model(self, loss: str, built: str, start: str = "", training: TrainSettings | None = None) -> str:
        """A model trained on a dataset, and measured; the name of the measuring step."""
        config, start = self.config, start or self.config.engine.model
        name = self.train_name(loss, built)
        settings = {
            **(training or config.training).model_dump(mode="json"),
            "data": data_of(built),
            "run_dir": f"./steps/{name}/run",
            "export": model_of(name),
            "model": start,
            "loss": loss,
            "seed": self.seed,
        }
        self.plan.add(Step(name, "train", settings, (built, *_needs(start))))
        measuring = name.replace("/train-", "/measure-", 1)
        return self.plan.add(_measure(config, measuring, model_of(name), (name,)))


def _measure(config: StudyConfig, name: str, model: str, needs: tuple[str, ...]) -> Step:
    settings: dict[str, object] = {
        **config.measure.model_dump(mode="json"),
        "engine": {**_engine(config, model), "actors": 0},
        "sources": [f"./sources/measure/{source}.yaml" for source in config.sources],
        "out": f"./steps/{name}",
    }
    return Step(name, "measure", settings, needs)


def _engine(config: StudyConfig, model: str) -> dict[str, object]:
    return config.engine.model_copy(update={"model": model}).model_dump(mode="json")


def seed_of(name: str) -> str:
    """The seed that a step is of, as its folder is named: `s0`; of the base, `base`."""
    return name.partition("/")[0]


def _rows_of(handed_over: str) -> str:
    """The declaration of rows that were handed over."""
    return f"./steps/{handed_over}/rows/same_chosen.yaml"


def data_of(built: str) -> str:
    """The dataset of a building step."""
    return f"./steps/{built}/data"


def model_of(trained: str) -> str:
    """The model of a training step."""
    return f"./steps/{trained}/model"


def _needs(model: str) -> tuple[str, ...]:
    """The training step that a model comes from; none for one from outside."""
    return (model.removeprefix("./steps/").removesuffix("/model"),) if model.startswith("./steps/") else ()
