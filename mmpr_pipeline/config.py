"""Settings of a build: typed, documented, from YAML and flags; the resolved ones are saved with the output.

Settings come in two sorts. Those that decide what is in the shards are part of the output's identity: a rerun that
changes one of them on the same output is refused. Those marked `operational` (how many engines, which cluster) may
change from run to run without changing a byte of the shards.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.config import JsonDict

from mmpr_pipeline.errors import ConfigError
from mmpr_pipeline.records import content_id
from mmpr_pipeline.sampling.engine import Decoding
from mmpr_pipeline.sampling.prompts import PromptLanguage, Style
from mmpr_pipeline.yaml_text import load_yaml

OPERATIONAL: JsonDict = {"operational": True}
NANO = "nano"


class Settings(BaseModel):
    """A group of settings; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Settings)


class EngineSettings(Settings):
    """Which engine samples, and what it may use."""

    name: Literal["vllm", "openai", "replay", "given", "scripted"] = Field(default="vllm", description="The engine.")
    model: str = Field(default=NANO, description="Hub id or directory of the model; `nano` is the embedded one.")
    revision: str | None = Field(default=None, description="Revision of a Hub model; the newest if not given.")
    dtype: str = Field(default="auto", description="Weights' type: auto, float32, bfloat16 or float16.")
    max_model_len: int | None = Field(default=None, description="Context in tokens; the model's own if not given.")
    trust_remote_code: bool = Field(default=False, description="Allow code shipped with the model to run.")
    base_url: str | None = Field(
        default=None,
        description="For openai: address of the server, as http://host:8000/v1. The key is $OPENAI_API_KEY only.",
        json_schema_extra=OPERATIONAL,
    )
    rollouts: str | None = Field(default=None, description="For replay: JSONL file of recorded rollouts.")
    script: dict[str, Any] = Field(default_factory=dict, description="For scripted: what the fake engine does.")
    actors: int | None = Field(
        default=None,
        ge=0,
        description="Engine actors; 0 runs the engine in the workers.",
        json_schema_extra=OPERATIONAL,
    )
    tensor_parallel: int = Field(default=1, ge=1, description="GPUs for each engine.", json_schema_extra=OPERATIONAL)
    gpu_memory: float = Field(
        default=0.9, gt=0, le=1, description="Share of GPU memory an engine may use.", json_schema_extra=OPERATIONAL
    )
    kv_cache_gib: float = Field(
        default=1.0, gt=0, description="KV cache of a CPU engine, GiB.", json_schema_extra=OPERATIONAL
    )
    max_num_seqs: int = Field(
        default=256, ge=1, description="Sequences an engine decodes at once.", json_schema_extra=OPERATIONAL
    )
    stall_seconds: float = Field(
        default=600,
        gt=0,
        description="Seconds without progress, with requests in flight, after which an engine is started anew.",
        json_schema_extra=OPERATIONAL,
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Further vLLM engine arguments, as vLLM names them.",
        json_schema_extra=OPERATIONAL,
    )

    @field_validator("base_url")
    @classmethod
    def _holds_no_secret(cls, url: str | None) -> str | None:
        """The address without a slash at its end. It is saved with the output, so it must hold no password or key."""
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not an address such as http://host:8000/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("no user, password or ?query in it: it is saved with the output; set OPENAI_API_KEY")
        return url.rstrip("/")


class SamplingSettings(Settings):
    """How many rollouts, and how."""

    samples: int = Field(default=32, ge=1, le=1024, description="Most rollouts for each question (the paper: 32).")
    adaptive: bool = Field(default=True, description="Sample in rounds, as long as another round is worth it.")
    round_size: int = Field(default=2, ge=1, description="Fewest rollouts of a round after the first.")
    round_price: float = Field(
        default=0.1, ge=0, description="What a round costs, as `price`: the dearer, the larger and fewer they are."
    )
    price: float = Field(
        default=0.5,
        gt=0,
        description="What a rollout costs, as a share of max_pairs / samples: rounds go on while pairs pay it.",
    )
    style: Style = Field(
        default="cot-final", description="Prompt style: cot-final, cot-boxed, cot-think or direct; see docs/prompts.md."
    )
    prompt_language: PromptLanguage = Field(
        default="auto", description="Language of the instruction: en, zh, or auto, that of each question."
    )
    decoding: Decoding = Field(default=Decoding(), description="Temperature, nucleus mass, longest response.")


class PairingSettings(Settings):
    """How rollouts become pairs."""

    max_pairs: int = Field(default=15, ge=1, description="Most correctness pairs a question (the paper: 15).")
    dropout_ntp: bool = Field(default=True, description="Make DropNTP pairs where there is no rejected response.")
    dropout_ratio: float = Field(default=0.5, gt=0, lt=1, description="Share of a response's tokens kept (paper: 0.5).")
    dropout_pairs: int = Field(default=2, ge=1, description="Most DropNTP pairs for each question.")


class ScreeningSettings(Settings):
    """What is left out before sampling: repeated questions, and those that an evaluation set has too."""

    dedup: bool = Field(
        default=True,
        description="Drop questions that an earlier row of any source has, images included; off: only within a shard.",
    )
    decontaminate: bool = Field(
        default=True, description="Drop questions of training sources that an evaluation source has too, or nearly so."
    )
    against: tuple[str, ...] | None = Field(
        default=None,
        description="Evaluation sources to compare with: names, groups, declarations; not given: all of the catalog "
        "that are in the Hub's cache or can be fetched.",
    )
    image_bits: int = Field(
        default=16, ge=0, le=256, description="Most bits of 256 in which two images differ that are one image."
    )
    similar_image_bits: int = Field(
        default=40, ge=0, le=256, description="The same, where the questions are alike too (40 of 256 is 10 of 64)."
    )
    similar_question: float = Field(
        default=0.5, ge=0.5, le=1, description="Least likeness of questions for that: Jaccard index of word triples."
    )
    same_question: float = Field(
        default=0.8, ge=0.5, le=1, description="Least likeness at which the question alone decides, if it is long."
    )
    long_question: int = Field(
        default=13, ge=1, description="Least words of a question that can decide alone (GPT-3: 13-grams)."
    )
    template: int = Field(
        default=10,
        ge=1,
        description="Questions that may be like one evaluation question, without an image like its own; of more, its "
        "wording is a template and says nothing.",
    )


class Share(Settings):
    """How much of a source goes into the mixture."""

    weight: float = Field(default=1.0, gt=0, le=1, description="Part of its questions that is taken.")
    cap: int | None = Field(default=None, ge=1, description="Most questions taken; no limit if not given.")
    repeat: int = Field(default=1, ge=1, le=100, description="Times that each is asked, with other sampling seeds.")


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


class BuildConfig(Settings):
    """Everything a build does."""

    sources: tuple[str, ...] = Field(
        min_length=1,
        description="Catalog names, groups of it, or paths of declarations; each may end in a share of it, as in "
        "`geoqa:0.5@10000*2` (see mixture).",
    )
    mixture: dict[str, Share] = Field(
        default_factory=dict, description="Share of each source, by its name or as it stands in `sources`."
    )
    screening: ScreeningSettings = ScreeningSettings()
    data_root: str | None = Field(
        default=None, description="Where relative paths in declarations start.", json_schema_extra=OPERATIONAL
    )
    out: str = Field(description="Output directory or s3:// prefix.", json_schema_extra=OPERATIONAL)
    shards: int = Field(default=8, ge=1, le=100_000, description="Shards; each takes 1/N of every source.")
    limit: int | None = Field(default=None, ge=1, description="Most rows of each source.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of sampling and pairing.")
    engine: EngineSettings = EngineSettings()
    sampling: SamplingSettings = SamplingSettings()
    pairing: PairingSettings = PairingSettings()
    address: str = Field(
        default="local", description="Ray: local, auto, or ray://host:port.", json_schema_extra=OPERATIONAL
    )
    in_flight: int | None = Field(
        default=None,
        ge=1,
        description="Questions in flight for each shard worker; as many as fill the engines if not given.",
        json_schema_extra=OPERATIONAL,
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        description="Shards worked on at once; by the cluster's CPUs if not given.",
        json_schema_extra=OPERATIONAL,
    )

    @model_validator(mode="before")
    @classmethod
    def _shares_beside_sources(cls, data: Any) -> Any:
        """Shares written behind sources go into the mixture."""
        given = data.get("sources") if isinstance(data, dict) else None
        if not isinstance(given, list | tuple) or not all(isinstance(source, str) for source in given):
            return data
        plain = [split_share(source) for source in given]
        mixture = dict(data.get("mixture") or {})
        for source, share in plain:
            if share and source in mixture:
                raise ValueError(f"the share of {source} is given twice, in sources and in mixture")
            mixture |= {source: share} if share else {}
        return {**data, "sources": [source for source, _ in plain], "mixture": mixture}

    @model_validator(mode="before")
    @classmethod
    def _given_pairs_are_all_taken(cls, data: Any) -> Any:
        """Of sources that bring pairs, rows of one question are no repeats: each has responses of its own."""
        engine = data.get("engine") if isinstance(data, dict) else None
        name = engine.get("name") if isinstance(engine, dict) else getattr(engine, "name", None)
        if name != "given":
            return data
        meant = {"screening": {"dedup": False}, "sampling": {"samples": 2, "adaptive": False}}
        told = {part: data.get(part, {}) for part in meant}
        return data | {part: own | told[part] for part, own in meant.items() if isinstance(told[part], dict)}

    @field_validator("sources")
    @classmethod
    def _distinct(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        repeated = sorted({s for s in sources if sources.count(s) > 1})
        if repeated:
            raise ValueError(f"named twice: {', '.join(repeated)}")
        return sources

    @model_validator(mode="after")
    def _engine_has_what_it_needs(self) -> BuildConfig:
        if self.engine.name == "replay" and not self.engine.rollouts:
            raise ValueError("the replay engine needs a file of recorded rollouts: give --rollouts FILE")
        if self.engine.name != "replay" and self.engine.rollouts:
            raise ValueError(f"--rollouts goes with --engine replay, not {self.engine.name}")
        if self.engine.name == "openai" and not self.engine.base_url:
            raise ValueError("the openai engine needs the address of a server: give --base-url URL")
        if self.engine.name != "openai" and self.engine.base_url:
            raise ValueError(f"--base-url goes with --engine openai, not {self.engine.name}")
        if self.engine.name in ("replay", "given") and (
            asked := [n for n, share in self.mixture.items() if share.repeat > 1]
        ):
            raise ValueError(f"recorded rollouts cannot be sampled anew: no repeat for {', '.join(asked)}")
        return self

    def identity(self) -> dict[str, Any]:
        """The settings that decide what is in the shards, as plain JSON data."""
        return identity_of(self)

    def digest(self) -> str:
        """Content id of the identity."""
        return content_id(json.dumps(self.identity(), sort_keys=True))


def identity_of(settings: BaseModel) -> dict[str, Any]:
    """The settings that are not operational, as plain JSON data."""
    kept: dict[str, Any] = {}
    for name, field in type(settings).model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("operational"):
            continue
        value = getattr(settings, name)
        kept[name] = _plain(value)
    return json.loads(json.dumps(kept))  # tuples to lists: what is read back compares equal


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return identity_of(value) if isinstance(value, BaseModel) else value


def differences(before: dict[str, Any], after: dict[str, Any], path: str = "") -> list[str]:
    """Lines `setting: before -> after` for each setting that differs between two identities."""
    lines = []
    for name in sorted({*before, *after}):
        old, new, where = before.get(name), after.get(name), f"{path}{name}"
        if isinstance(old, dict) and isinstance(new, dict):
            lines += differences(old, new, f"{where}.")
        elif old != new:
            lines.append(f"{where}: {old!r} -> {new!r}")
    return lines


def load_config(path: str | Path | None, overrides: dict[str, Any]) -> BuildConfig:
    """Settings of a YAML file (if any) with flags on top; `overrides` uses dotted names, None means not given.

    Raises ConfigError naming each setting that is wrong.
    """
    return load_settings(BuildConfig, path, overrides, "mmpr build")


def load_settings(kind: type[S], path: str | Path | None, overrides: dict[str, Any], command: str) -> S:
    """Settings of any kind, as `load_config`; `command` is the one whose help lists them."""
    data = _read_yaml(Path(path)) if path else {}
    for name, value in overrides.items():
        if value is not None:
            _set(data, name.split("."), value)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors()]
        raise ConfigError(
            "These settings cannot work:\n    " + "\n    ".join(lines),
            remedy=f"Correct them in the config file or by flags; `{command} --help` lists them.",
        ) from None


class _Loader(yaml.SafeLoader):
    """YAML with the booleans of version 1.2: to version 1.1 `on` is one, here it is the name of a setting."""


_BOOL = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = load_yaml(path.read_text("utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read the config {path}: {error}", remedy="Give a readable YAML file.") from None
    if not isinstance(data, dict):
        raise ConfigError(f"The config {path} is not a mapping of settings.", remedy="See examples/build.yaml.")
    return data


def _set(data: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        data = data.setdefault(name, {})
    data[path[-1]] = value
