"""The documentation as a site: it builds with broken links as failures, and its generated pages are current."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmpr_pipeline.cli.generate.api import PAGE, api

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(ROOT / "mkdocs.yml"), "-d", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_in_the_site_and_found_by_the_search(site: Path) -> None:
    index = (site / "search" / "search_index.json").read_text("utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        name = "index.html" if page.name == "README.md" else f"{page.stem}.html"
        assert (site / name).is_file(), name
        assert name in index or name == "index.html"
    assert (site / "benchmarks.html").is_file()


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    for page in site.glob("*.html"):
        text = page.read_text("utf-8")
        assert "fonts.googleapis" not in text
        assert 'src="http' not in text


def test_a_link_that_leads_nowhere_fails_the_site(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[gone](nowhere.md)")
    settings = "site_name: t\nstrict: true\nvalidation: {links: {not_found: warn}}\n"
    (tmp_path / "mkdocs.yml").write_text(settings)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(tmp_path / "mkdocs.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "nowhere.md" in done.stderr


def test_the_page_of_the_python_names_is_current() -> None:
    assert PAGE.read_text("utf-8") == api(), "run `make docs`"
