"""What the site takes from outside docs/, and links that lead out of it.

Pages of the repository that documentation links to become pages of the site; its other files are named instead of
linked, because the site does not have them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
TAKEN = {"bench/README.md": "benchmarks.md"}
"""Page of the repository to its place in the site."""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages of the repository."""
    for path, name in TAKEN.items():
        files.append(File.generated(config, name, content=(ROOT / path).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Send links to pages that were taken over to their place, and turn other links out of docs/ into their text."""
    markdown = markdown.replace("](../docs/", "](")
    for path, name in TAKEN.items():
        markdown = markdown.replace(f"](../{path}", f"]({name}")
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", markdown)
