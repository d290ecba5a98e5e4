"""Settings of a build: typed, documented, from YAML and flags; the resolved ones are saved with the output.

Settings come in two sorts. Those that decide what is in the shards are part of the output's identity: a rerun that
changes one of them on the same output is refused. Those marked `operational` (how many engines, which cluster) may
change from run to run without changing a byte of the shards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from mmpr_pipeline.checking.second_opinion import CheckingSettings
from mmpr_pipeline.core.records import content_id
from mmpr_pipeline.core.settings import ASK, RUN, SAMPLING, Settings, flag, identity_of, load_settings
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.pairing.settings import PairingSettings
from mmpr_pipeline.rollouts.sampling import SamplingSettings
from mmpr_pipeline.screening.settings import ScreeningSettings, Share
from mmpr_pipeline.storage import absolute_model, absolute_url

MOST_IN_NAME = 4
"""Sources named in the name of an output."""


class BuildConfig(Settings):
    """Everything a build does."""

    sources: tuple[str, ...] = Field(
        min_length=1,
        description="Questions: names and groups of the catalog, declaration files and folders, by commas. Each may "
        "end in its share: `geoqa:0.5` takes half of it, `@10000` at most that many, `*2` asks each twice.",
        json_schema_extra=flag("--sources", ASK),
    )
    mixture: dict[str, Share] = Field(
        default_factory=dict, description="Share of each source, by its name or as it stands in `sources`."
    )
    screening: ScreeningSettings = ScreeningSettings()
    data_root: str | None = Field(
        default=None,
        description="Folder in which the relative paths of declarations start.",
        json_schema_extra=flag("--data-root", ASK, operational=True),
    )
    out: str = Field(
        description="Directory or s3://bucket/prefix to write to.",
        json_schema_extra=flag("--out", ASK, default="out/ and the names of the sources", operational=True),
    )
    shards: int = Field(
        default=8,
        ge=1,
        le=100_000,
        description="Shards to write; each takes 1/N of every source.",
        json_schema_extra=flag("--shards", RUN),
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        description="Maximum rows of each source.",
        json_schema_extra=flag("--limit", ASK, unit="rows", default="all"),
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**31,
        description="Seed of sampling and pairing.",
        json_schema_extra=flag("--seed", SAMPLING),
    )
    engine: EngineSettings = EngineSettings()
    rehearsal: bool = Field(
        default=False,
        description="Rehearse with the embedded model nano: a build sets this itself where no model is named and "
        "no GPU is found. The pairs show how a build works; they are not to be trained on.",
    )
    sampling: SamplingSettings = SamplingSettings()
    pairing: PairingSettings = PairingSettings()
    checking: CheckingSettings = CheckingSettings()
    address: str = Field(
        default="local",
        description="The Ray cluster: local, auto or ray://HOST:PORT.",
        json_schema_extra=flag("--address", RUN, operational=True),
    )
    in_flight: int | None = Field(
        default=None,
        ge=1,
        description="Questions in flight in each worker.",
        json_schema_extra=flag(
            "--in-flight", RUN, unit="questions", default="as many as fill the engines", operational=True
        ),
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        description="Shards worked on at once.",
        json_schema_extra=flag("--workers", RUN, default="the CPUs", operational=True),
    )

    @model_validator(mode="before")
    @classmethod
    def _written_in_full(cls, data: Any) -> Any:
        """Shares written behind sources go into the mixture; where no output is named, it is `out/` and their names.

        Rows with preset pairs that share a question are kept: each has responses of its own. And what earlier versions
        wrote otherwise: `engine.name: given` (0.1) is `pairing.strategies: [preset]`, `screening.decontaminate` was
        true or false (0.3).
        """
        if not isinstance(data, dict):
            return data
        sources = data.get("sources")
        if isinstance(sources, list | tuple) and all(isinstance(source, str) for source in sources):
            if sources and not data.get("out"):
                data = {**data, "out": f"out/{name_of(sources)}"}
            shares = [split_share(source) for source in sources]
            mixture = dict(data.get("mixture") or {})
            for source, share in shares:
                if share and source in mixture:
                    raise ValueError(f"the share of {source} is given twice, in sources and in mixture")
                mixture |= {source: share} if share else {}
            data = {**data, "sources": [source for source, _ in shares], "mixture": mixture}
        parts = {name: data.get(name, {}) for name in ("engine", "pairing", "screening")}
        if not all(isinstance(part, dict) for part in parts.values()):
            return data
        engine, pairing, screening = parts.values()
        if engine.get("name") in ("given", "preset"):
            engine = {name: value for name, value in engine.items() if name != "name"}
            pairing = {"strategies": ["preset"], **pairing}
        if list(pairing.get("strategies", ())) in (["preset"], ["dropout_preset"]):
            screening = {"dedup": False, **screening}
        if isinstance(compared := screening.get("decontaminate"), bool):
            screening = {**screening, "decontaminate": "ask" if compared else "none"}
        written = {"engine": engine, "pairing": pairing, "screening": screening}
        return data | {name: part for name, part in written.items() if part or name in data}

    @model_validator(mode="after")
    def _fits_together(self) -> BuildConfig:
        from mmpr_pipeline.pairing.strategy import STRATEGIES

        if repeated := sorted({source for source in self.sources if self.sources.count(source) > 1}):
            raise ValueError(f"--sources: named twice: {', '.join(repeated)}")
        for name in self.pairing.strategies:
            STRATEGIES.require(name)
        if self.engine.name == "replay" and not self.engine.rollouts:
            raise ValueError("the replay engine needs a file of recorded rollouts: give --rollouts FILE")
        if self.engine.name != "replay" and self.engine.rollouts:
            raise ValueError(f"--rollouts goes with --engine replay, not {self.engine.name}")
        if self.engine.name == "replay" and (asking := {"blind", "step", "feedback"} & set(self.pairing.strategies)):
            raise ValueError(f"recorded rollouts cannot be sampled again: no {', '.join(sorted(asking))}")
        if self.engine.name == "openai" and not self.engine.base_url:
            raise ValueError("the openai engine needs the address of a server: give --base-url URL")
        if self.engine.name != "openai" and self.engine.base_url:
            raise ValueError(f"--base-url goes with --engine openai, not {self.engine.name}")
        recorded = self.engine.name == "replay" or self.preset
        if recorded and (asked := [n for n, share in self.mixture.items() if share.repeat > 1]):
            raise ValueError(f"recorded rollouts cannot be sampled again: remove repeat for {', '.join(asked)}")
        return self

    @property
    def preset(self) -> bool:
        """Whether the sources bring the pairs, so that nothing is sampled."""
        return self.pairing.strategies == ("preset",)

    def identity(self) -> dict[str, object]:
        """The settings that decide what is in the shards, as plain JSON data."""
        identity = identity_of(self)
        if self.checking.second is None:  # as before there was a second opinion
            del identity["checking"]
        if not self.rehearsal:
            del identity["rehearsal"]
        return identity

    def digest(self) -> str:
        """Content id of the identity."""
        return content_id(json.dumps(self.identity(), sort_keys=True))


_WITH_SHARE = re.compile(r"(?P<source>.+?)(?P<share>(?::[0-9.]+|@[0-9_]+|\*[0-9]+)+)")
_SHARE_PART = re.compile(r"(?P<sign>[:@*])(?P<value>[0-9._]+)")
_SHARE_FIELDS = {":": "weight", "@": "cap", "*": "repeat"}


def split_share(text: str) -> tuple[str, dict[str, str]]:
    """`geoqa:0.5@10000*2` as the source and its share: weight 0.5, cap 10,000, repeat 2; the signs in any order.

    Raises ValueError where a sign stands twice.
    """
    match = _WITH_SHARE.fullmatch(text.strip())
    if match is None:
        return text.strip(), {}
    share: dict[str, str] = {}
    for part in _SHARE_PART.finditer(match["share"]):
        name = _SHARE_FIELDS[part["sign"]]
        if name in share:
            raise ValueError(f"{text!r} gives the {name} twice")
        share[name] = part["value"]
    return match["source"], share


def name_of(sources: Sequence[str]) -> str:
    """A folder's name for what is built from these sources: `geoqa-mathvista`; of many the first and their number."""
    names = [Path(split_share(source)[0]).stem for source in sources]
    return "-".join(names) if len(names) <= MOST_IN_NAME else f"{names[0]}-and-{len(names) - 1}-more"


def load_config(path: str | Path | None, overrides: Mapping[str, object]) -> BuildConfig:
    """Settings of a YAML file (if any) with flags on top; `overrides` uses dotted names, None means not given.

    Raises ConfigError naming each setting that is wrong.
    """
    return load_settings(BuildConfig, path, overrides, "mmpr build")


def absolute_build_paths(config: BuildConfig) -> BuildConfig:
    """The settings with local paths made absolute: Ray workers have other working directories."""
    from mmpr_pipeline.sources.declaration.catalog import declarations_in

    against, engine = config.screening.against, config.engine
    named = {*config.sources, *config.mixture, *(against or ())}
    placed = {
        name: absolute_url(name) if name.endswith((".yaml", ".yml")) or declarations_in(name) else name
        for name in named
    }
    screening = {"against": against and tuple(placed[name] for name in against)}
    model = {"rollouts": absolute_url(engine.rollouts), "model": absolute_model(engine.model)}
    return config.model_copy(
        update={
            "sources": tuple(placed[source] for source in config.sources),
            "mixture": {placed[source]: share for source, share in config.mixture.items()},
            "screening": config.screening.model_copy(update=screening),
            "data_root": absolute_url(config.data_root),
            "out": absolute_url(config.out),
            "engine": engine.model_copy(update=model),
        }
    )
