"""The dataset card, README.md: what the pairs are, where they come from, what made them, and what to know before use.

No clock goes into it: the same dataset has the same card.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mmpr_pipeline.core.records import PreferencePair
from mmpr_pipeline.core.settings import group_of
from mmpr_pipeline.dataset.review.facts import Facts
from mmpr_pipeline.dataset.review.marks_summary import precision_text
from mmpr_pipeline.screening.report import contamination_sentences
from mmpr_pipeline.sources.declaration.catalog import hub_licence

PAPER = """@article{wang2024mpo,
  title={Enhancing the Reasoning Ability of Multimodal Large Language Models via Mixed Preference Optimization},
  author={Wang, Weiyun and Chen, Zhe and Wang, Wenhai and Cao, Yue and Liu, Yangzhou and Gao, Zhangwei and Zhu, Jinguo
          and Zhu, Xizhou and Lu, Lewei and Qiao, Yu and Dai, Jifeng},
  journal={arXiv preprint arXiv:2411.10442},
  year={2024}
}"""

STRATEGIES = {
    "correctness": "Both responses were sampled with the image; the checker found the answer of `chosen` right and "
    "that of `rejected` wrong.",
    "dropout_ntp": "`chosen` was sampled with the image; `rejected` begins like it and was continued without the image "
    "(DropNTP). Nothing was checked here: these questions have no answer, or had no other rejected response.",
    "format": "`chosen` gives the right answer in the form that the prompt asks for; `rejected` lacks that form, and "
    "gives the right answer or none that can be read.",
    "vote": "These questions have no answer: `chosen` gives the answer of a clear majority of the model's responses, "
    "`rejected` another. Nobody confirmed it.",
    "preset": "The source brought both responses and says which one is preferred.",
}


def dataset_card(facts: Facts, name: str, url: str, parquet_bytes: int, arrow_bytes: int) -> str:
    """The whole card of the dataset `name` (ORG/NAME) that lies at `url`."""
    rows = [[f"`{name}`", field.description or ""] for name, field in PreferencePair.model_fields.items()]
    rows = [[name, "The images, in order." if name == "`images`" else told] for name, told in rows]
    lines = ["| column | meaning |", "|---|---|", *(f"| {name} | {told} |" for name, told in rows)]
    key = "".join(c if c.isalnum() else "-" for c in name)
    own = f"@misc{{{key},\n  title={{{name}}},\n  howpublished={{\\url{{{url}}}}},\n  note={{Built with mmpr}}\n}}"
    homes = [s["name"] for s in facts.sources]
    asked = f"Please cite the sources too: {', '.join(_plain(home) for home in homes)}."
    rows = [
        [g["source"], g["strategy"], f"{g['pairs']:,}", f"{g['questions']:,}", f"{g['pairs'] / facts.pairs:.1%}"]
        for g in facts.figures["groups"]
    ]
    table = _table(["source", "strategy", "pairs", "questions", "share"], rows)
    used = sorted({g["strategy"] for g in facts.figures["groups"]})
    rows = []
    for source, solved in facts.figures["solve_rates"].items():
        bins = solved["bins"]
        fifths = [sum(bins[i : i + 2]) for i in range(0, len(bins), 2)]
        rows.append([source, *(f"{n:,}" for n in (solved["none"], *fifths, solved["all"]))])
    names = ["source", "none", "< 20%", "20–40%", "40–60%", "60–80%", "≥ 80%", "all"]
    counts = facts.figures["counts"]
    funnel_rows = [["paired", "", f"{counts['paired']:,}"]]
    for fate in ("unpaired", "rejected"):
        funnel_rows += [[fate, reason.replace("_", " "), f"{n:,}"] for reason, n in sorted(counts[fate].items())]
    text = "Every question of the sources ended in one of these rows; `rejected` ones could not be read or used."
    beside = "".join(f"\n\n{_plain(sentence)}" for sentence in facts.beside)
    sources_rows = [
        [s["name"], s["description"], s["licence"], s["role"], s["homepage"] or "", s.get("revision") or ""]
        for s in facts.sources
    ]
    sections = [
        _head(facts, name),
        _warnings(facts),
        _load(name),
        ("## What is in it\n\n" + table + "\n\n" + "\n".join(f"- **{s}**: {STRATEGIES.get(s, '')}" for s in used)),
        (
            "## Sources and their licences\n\n"
            + _table(["source", "questions about", "licence", "meant for", "home page", "revision"], sources_rows)
            + "\n\nImages, questions and answers remain under the licences of their sources."
        ),
        _provenance(facts),
        ("## Solve rate\n\nQuestions by the share of their checked responses that is right.\n\n" + _table(names, rows)),
        _lengths(facts),
        (f"## What became of the questions\n\n{text}\n\n" + _table(["", "reason", "questions"], funnel_rows) + beside),
        _screening(facts),
        ("## Columns\n\n" + "\n".join(lines)),
        _limits(facts),
        (f"## How to cite\n\n```bibtex\n{own}\n\n{PAPER}\n```\n\n{asked}"),
    ]
    front = front_matter(facts, name, parquet_bytes, arrow_bytes)
    return front + "\n" + "\n\n".join(section for section in sections if section) + "\n"


def _head(facts: Facts, name: str) -> str:
    counts = facts.figures["counts"]
    return (
        f"# {_plain(name.rpartition('/')[2])}\n\n"
        f"{facts.pairs:,} preference pairs over images: a question, a chosen and a rejected response of a model. "
        f"Made from {counts['questions']:,} questions of {len(facts.sources)} source(s), of which "
        f"{counts['paired']:,} gave pairs; {sum(counts['rollouts'].values()):,} responses were sampled and checked. "
        f"Built with mmpr {_plain(facts.mmpr_version)} after Mixed Preference Optimization "
        "([arXiv 2411.10442](https://arxiv.org/abs/2411.10442)), to be trained on with MPO, DPO and the like."
    )


def _warnings(facts: Facts) -> str:
    if not facts.warnings:
        return ""
    return "## Before you use it\n\n" + "\n".join(f"> **Warning.** {_plain(text)}\n>" for text in facts.warnings)[:-2]


def _load(name: str) -> str:
    return (
        "## How to load\n\n```python\nfrom datasets import load_dataset\n\n"
        f'pairs = load_dataset("{name}", split="train")  # add streaming=True to look without downloading\n'
        'row = pairs[0]\nrow["images"][0], row["prompt"], row["chosen"], row["rejected"]\n```\n\n'
        "`images` are decoded pictures in the order of the `<image>` marks of `prompt`. The pairs of one question "
        "stand side by side (`question_id`)."
    )


def _provenance(facts: Facts) -> str:
    from mmpr_pipeline.rollouts.prompts import TEMPLATES, version_of

    known = {template.label: template.suffix for template in TEMPLATES.values()}
    own = {version_of(text): text for source in facts.sources for text in source.get("instructions", ())}
    made, engine = facts.made_by, group_of(facts.identity, "engine")
    decoding = group_of(group_of(facts.identity, "sampling"), "decoding")
    models = {**made["model"], **made["rejected_model"]}
    lines = [
        f"- Model: {', '.join(f'`{_code(m)}`' for m in models)} (`model`, `rejected_model` say it for each response)",
        f"- Engine: {'none' if facts.preset else _plain(str(engine.get('name', 'unknown')))}",
        f"- Sampling: {_plain(', '.join(f'{k} {v}' for k, v in sorted(decoding.items())) or 'not known')}",
        f"- Checker: {', '.join(f'`{_code(c)}`' for c in made['checker'] if c) or 'none'}",
        *([f"- Cost: {cost}"] if (cost := _cost(facts)) else []),
        f"- Settings: identity `{_code(str(facts.figures['identity']))}`",
    ]
    if engine.get("name") == "replay":
        lines.append(
            "- The responses were recorded elsewhere: prompt and sampling named here are this build's, not theirs."
        )
    if facts.preset:
        lines.append("- The responses are the sources' own: nothing was sampled.")
    rows = []
    for label, count in made["prompt_version"].items():
        text = known.get(label, own.get(label.partition("@")[2], "(not known here)"))
        rows.append([f"`{_code(label)}`", f"{count:,}", text])
    table = _table(["prompt", "pairs", "instruction after the question"], rows)
    return "## What made it\n\n" + "\n".join(lines) + "\n\n" + table


def _cost(facts: Facts) -> str:
    """What sampling took; empty where its tokens are not known."""
    counts = facts.figures["counts"]
    tokens, rollouts = counts["generated_tokens"], sum(counts["rollouts"].values())
    if not tokens:
        return ""
    a_pair = f", {tokens / facts.pairs:,.0f} tokens a pair" if facts.pairs else ""
    return f"{rollouts:,} rollouts of {tokens:,} generated tokens{a_pair}"


def _lengths(facts: Facts) -> str:
    rows = []
    for group in facts.figures["groups"]:
        found = [group["prompt_tokens"], group["chosen_tokens"], group["rejected_tokens"]]
        tokens = [f"{f['mean']:,} / {f['p95']:,} / {f['max']:,}" if f["count"] else "not known" for f in found]
        known = facts.characters[group["source"], group["strategy"]]
        characters = [f"{known.chosen:,.0f}", f"{known.rejected:,.0f}", f"{known.chosen_longer:.1%}"]
        rows.append([group["source"], group["strategy"], *tokens, *characters])
    names = ["source", "strategy", "prompt, tokens", "chosen, tokens", "rejected, tokens"]
    names += ["chosen, characters", "rejected, characters", "chosen is longer"]
    text = "Tokens as the model counts them: mean / 95th percentile / most. Characters: mean."
    return f"## Lengths\n\n{text}\n\n" + _table(names, rows)


def _screening(facts: Facts) -> str:
    sentences = contamination_sentences(facts.screening)
    if facts.screening is not None:
        sentences.append("Images were compared by perceptual hash, questions by their word triples, before sampling.")
    return "## Duplicates and contamination\n\n" + "\n".join(f"- {_plain(line)}" for line in sentences)


def _limits(facts: Facts) -> str:
    strategies = {group["strategy"] for group in facts.figures["groups"]}
    sampled = [
        "Right and wrong are an automatic checker's verdicts on final answers. A right answer does not make every step "
        "before it right, and a checker errs at times; rule and extracted answers stand beside each pair.",
        "Questions that the model always or never solved gave no correctness pairs: what is left is of middling "
        "difficulty for this model, and says less about others.",
    ]
    # How precise people found the verdicts, where they looked at a random sample.
    precision = {verdict: precision_text(facts.marks, verdict) for verdict in ("correct", "incorrect") if facts.marks}
    limits = [
        *[
            f"In a random sample, people confirmed {text} verdicts `{name}`."
            for name, text in precision.items()
            if text
        ],
        *(sampled if strategies - {"preset"} else []),
        "All responses are a model's own words, unedited: they may be false, biased or offensive, and may hold text "
        "that looks like instructions or markup.",
    ]
    if "dropout_ntp" in strategies:
        limits.append("`chosen` of dropout_ntp pairs was not checked: it is preferred because it saw the image.")
    for group in facts.figures["groups"]:
        longer = facts.characters[group["source"], group["strategy"]].chosen_longer
        if abs(longer - 0.5) > 0.15:
            where = f"{_plain(group['strategy'])} pairs of {_plain(group['source'])}"
            limits.append(f"Length bias: in {longer:.0%} of the {where} the chosen response is the longer one.")
    return "## Known limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_plain(str(cell)) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """The text on one line, without what Markdown or HTML would take for markup in a table."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")


def _code(text: str) -> str:
    """The text as it may stand between back-ticks."""
    return " ".join(text.split()).replace("`", "'")


TAGS = ("preference", "dpo", "mpo", "mmpr", "multimodal", "reasoning", "image")
TASKS = ("visual-question-answering", "image-text-to-text")
_SIZES = [
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
]


def front_matter(facts: Facts, name: str, parquet_bytes: int, arrow_bytes: int) -> str:
    """YAML between `---` lines. Sizes are bytes: of the Parquet files, and of what they are in memory."""
    import datasets
    import yaml
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData

    from mmpr_pipeline.dataset.files.load import pair_features

    licence = hub_licence([source["licence"] for source in facts.sources])
    fields: dict[str, object] = {
        "license": licence,
        "language": sorted(facts.made_by["language"]) or ["en"],
        "pretty_name": name.rpartition("/")[2],
        "task_categories": list(TASKS),
        "size_categories": [size_category(facts.pairs)],
        "tags": list(TAGS),
    }
    if licence == "other":
        fields["license_name"] = "licences-of-the-sources"
    info = datasets.DatasetInfo(features=pair_features())
    info.splits = datasets.SplitDict()
    info.splits.add(datasets.SplitInfo("train", num_bytes=arrow_bytes, num_examples=facts.pairs))
    info.download_size, info.dataset_size = parquet_bytes, arrow_bytes
    card = DatasetCardData()
    DatasetInfosDict({"default": info}).to_dataset_card_data(card)
    files = [{"split": "train", "path": "data/train-*"}]
    fields |= {"configs": [{"config_name": "default", "data_files": files}], **card.to_dict()}
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---\n"


def size_category(rows: int) -> str:
    """The Hub's name for a number of rows."""
    return next((name for limit, name in _SIZES if rows < limit), "100M<n<1B")
