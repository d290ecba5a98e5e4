"""The documentation says what is so: the reference is current, and every command and flag in a snippet exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mmpr_pipeline.cli.app import COMMANDS, load, renamed
from mmpr_pipeline.cli.generate import settings_page
from mmpr_pipeline.cli.generate.reference import PAGE, reference

ROOT = Path(__file__).resolve().parents[1]
WRITTEN_APART = [ROOT / "README.md", ROOT / "bench" / "README.md", ROOT / "examples" / "large.md"]
PAGES = [*WRITTEN_APART, *sorted((ROOT / "docs").glob("*.md"))]


def commands_in(text: str) -> list[list[str]]:
    """The words of each `mmpr …` in code, comments left out."""
    blocks = re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL)
    found = [line for block in blocks for line in re.split(r"\n| {3,}(?=mmpr )", block.replace("\\\n", " "))]
    found += re.findall(r"`(mmpr [^`]+)`", text)
    lines = [re.sub(r"\s#.*", "", line.strip()).removeprefix(".venv/bin/") for line in found]
    return [shlex.split(line.replace("…", "")) for line in lines if line.startswith("mmpr ")]


def test_the_reference_is_current() -> None:
    assert PAGE.read_text("utf-8") == reference(), "run `make docs`"


@pytest.mark.parametrize("page", settings_page.PAGES, ids=lambda p: p.name)
def test_settings_and_declarations_are_current(page: Path) -> None:
    assert page.read_text("utf-8") == settings_page.PAGES[page](), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_and_flags_in_snippets_exist(page: Path) -> None:
    for words in commands_in(page.read_text("utf-8")):
        rest = words[1:]
        if not rest or rest[0].startswith("-"):
            continue
        assert rest[0] in COMMANDS, f"{page.name}: there is no command {' '.join(words)}"
        command, rest = load(rest[0]), renamed(rest[0], rest[1:])
        while rest and (below := getattr(command, "commands", None)) is not None:
            if rest[0].startswith("-"):
                break
            assert rest[0] in below, f"{page.name}: there is no command {' '.join(words)}"
            command, rest = below[rest[0]], rest[1:]
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        for word in rest:
            if word.startswith("--"):
                assert word.split("=")[0] in known | {"--help", "--version"}, (
                    f"{page.name}: {word} in {' '.join(words)}"
                )


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
