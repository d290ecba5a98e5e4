"""Pages that are one file, in a real browser: two outputs compared, a report against another, a checked source."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path

import pytest

from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.report.compare import compare_outputs
from mmpr_pipeline.report.pages.diff_page import diff_page
from mmpr_pipeline.report.pages.page import report
from mmpr_pipeline.report.pages.source_page import source_page
from mmpr_pipeline.storage import open_store
from tests.dataset.conftest import IDENTITY, make_outcome, write_shard
from tests.report.conftest import ATTACK
from tests.report.pages.test_source_page import checked
from tests.report.viewer.driven import PHONE, VIEWS, Browser
from tests.report.viewer.test_browser import faults_of

pytest.importorskip("vl_convert", reason="charts need vl-convert-python")
pytestmark = pytest.mark.slow
HEIGHT = "return document.documentElement.scrollHeight"


@pytest.mark.parametrize(("size", "dark"), VIEWS)
def test_every_page_stands_alone_fits_and_has_no_fault_that_axe_finds(
    two: tuple[Path, Path], tmp_path: Path, browser: Browser, size: tuple[int, int], dark: bool
) -> None:
    one, other = two
    pages = {
        "diff": diff_page(compare_outputs(one, other), tmp_path / "diff.html"),
        "against": report(other, tmp_path / "against.html", against=one, price=0.5),
        "check": source_page(checked(30, ATTACK), tmp_path / "check.html"),
    }
    faults = {}
    for name, page in pages.items():
        browser.open(page.as_uri(), size, dark=dark)
        browser.until(lambda: browser.all(".pair"))
        assert browser.fits(), name
        assert browser.js("return window.attacked ?? null") is None, name
        faults[name] = faults_of(browser)
        browser.keep(f"page-{name}-{size[0]}-{'dark' if dark else 'light'}")
        assert browser.errors() == [], name
    assert {name: found for name, found in faults.items() if found} == {}


def test_the_page_of_two_outputs_shows_which_questions_flipped(
    two: tuple[Path, Path], tmp_path: Path, browser: Browser
) -> None:
    browser.open(diff_page(compare_outputs(*two), tmp_path / "diff.html").as_uri())
    browser.until(lambda: browser.all(".pair"))
    heads = [head.text for head in browser.all("h2")]
    assert any(head.startswith("No longer solved") for head in heads)
    assert any(head.startswith("Newly solved") for head in heads)
    lost = browser.js("return [...document.querySelectorAll('.gallery:not(.changed)')][0].innerText")
    assert "3 of 4 right" in lost
    assert "1 of 4 right" in lost
    own = "return getComputedStyle(document.querySelector('.side.rejected .response .own')).backgroundColor"
    assert browser.js(own) not in ("rgba(0, 0, 0, 0)", "")
    changed = browser.all(".changed .pair")
    assert "correct" in changed[0].text
    assert "→" in changed[0].text
    browser.keys("m")
    browser.until(lambda: browser.all(".response.raw"))
    assert browser.all("#raw[aria-pressed=true]")
    assert browser.errors() == []


def test_a_report_compares_its_output_with_another(two: tuple[Path, Path], tmp_path: Path, browser: Browser) -> None:
    one, other = two
    browser.open(report(other, tmp_path / "page.html", against=one, price=2.0).as_uri())
    browser.click('.contents a[href="#against"]')
    section = "return [...document.querySelectorAll('#against ~ section')].slice(0, 3).map(s => s.innerText)"
    tiles, sources, yields = browser.js(section)
    assert re.search(r"\b2\s+pairs gained\s+3 in both", tiles)
    assert re.search(r"\b3\s+pairs lost", tiles)
    assert re.search(r"bars\s+2\s+50\.0%\s+50\.0%\s+\+0\.0", sources)
    rows = dict(line.split("\t", 1) for line in yields.splitlines() if "\t" in line)
    assert rows["Pairs"].split() == ["6", "5", "-17%"]
    assert rows["Tokens generated"].split()[0] == "258"
    assert rows["Cost"].split()[:2] == ["0.00", "0.00"]
    assert "No longer solved" in browser.text("main")
    pdf = base64.b64decode(browser.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 20
    assert browser.errors() == []


def test_a_phone_folds_more_than_half_of_a_report_of_long_pairs(tmp_path: Path, browser: Browser) -> None:
    words = " ".join(f"step {n} says that the bar is {n} units tall;" for n in range(40))
    outcomes = []
    for number in range(0, 60, 5):
        outcome = make_outcome(number)
        pairs = (
            p.model_copy(update={"chosen": f"{p.chosen} {words} yes", "rejected": f"{p.rejected} {words} no"})
            for p in outcome.pairs
        )
        outcomes.append(replace(outcome, pairs=tuple(pairs)))
    store = open_store(tmp_path / "out")
    store.write(layout.CONFIG, json_bytes({"digest": IDENTITY, "identity": {}}))
    write_shard(store, 0, 1, outcomes)
    browser.open(report(tmp_path / "out", tmp_path / "page.html", pairs=24).as_uri(), PHONE)
    browser.until(lambda: browser.all(".unfold"))
    folded = browser.js(HEIGHT)
    browser.click(".all-pairs")
    for number in range(len(browser.all(".response[data-fold]"))):
        browser.js("document.querySelectorAll('.response[data-fold] + .unfold')[arguments[0]].click()", number)
    assert len(browser.all(".response[data-open]")) == 48
    assert folded < browser.js(HEIGHT) / 2
    assert browser.errors() == []
