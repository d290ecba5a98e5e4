"""Looking closely, in a real browser: the queue of doubtful verdicts, several images, and reduced motion."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest

from mmpr_pipeline.core.records import CheckedRollout, Image, QuestionOutcome
from mmpr_pipeline.dataset.files.marks import marks_of
from mmpr_pipeline.report.assets import tile_grid
from mmpr_pipeline.report.compare import compare_outputs
from mmpr_pipeline.report.pages.diff_page import diff_page
from mmpr_pipeline.report.viewer.browse import Library
from mmpr_pipeline.report.viewer.doubt import WHY
from mmpr_pipeline.storage import open_store
from tests.dataset.conftest import make_outcome, write_shard
from tests.report.viewer.driven import Browser, serving
from tests.report.viewer.test_browser import faults_of
from tests.report.viewer.test_runs import a_run

pytestmark = pytest.mark.slow


def judged_again(outcome: QuestionOutcome, rollouts: list[CheckedRollout]) -> QuestionOutcome:
    seen = [rollout.outcome for rollout in rollouts if rollout.parent is None]
    counts = {name: seen.count(name) for name in ("correct", "incorrect", "unparseable")}
    return replace(outcome, row=outcome.row.model_copy(update=counts), rollouts=tuple(rollouts))


def test_the_most_doubtful_verdict_comes_first_and_one_key_judges_it(tmp_path: Path, browser: Browser) -> None:
    store = open_store(tmp_path / "out")
    outcomes = [make_outcome(5 * number, rollouts=8) for number in range(3)]
    judged = []
    for outcome in outcomes:
        right = {"outcome": "correct", "extracted": "0"}
        rollouts = [rollout.model_copy(update=right) for rollout in outcome.rollouts]
        judged.append((outcome, rollouts))
    disagrees = {"outcome": "unparseable", "extracted": "nought", "rule": "second_disagrees"}
    judged[1][1][3] = judged[1][1][3].model_copy(update=disagrees)
    judged[2][1][5] = judged[2][1][5].model_copy(update={"outcome": "incorrect", "extracted": "99"})
    write_shard(store, 0, 1, [judged_again(outcome, rollouts) for outcome, rollouts in judged])
    (columns,) = Library(tmp_path / "out").doubts(0).items
    assert [WHY[why] for why in columns["why"].data] == ["", "second opinion disagrees", "one against all"]
    assert columns["doubt"].data[1] > columns["doubt"].data[2]
    with serving(tmp_path / "out") as address:
        browser.open(f"{address}#view=review")
        browser.until(lambda: browser.text("#review-body .why b") == "second opinion disagrees")
        assert browser.all("#review-kinds button[data-drawn=queue][aria-pressed=true]")
        assert browser.text("#review .question") == "How tall is bar 5?"
        assert browser.all("#review .rollout[data-index='3']")
        assert browser.text("#review-count") == "0 of 2 · 0 overruled"
        assert faults_of(browser) == []
        browser.keep("queue")
        browser.keys("c")
        browser.until(lambda: browser.text("#review-body .why b") == "one against all")
        (mark,) = marks_of(store).values()
        assert (mark.index, mark.outcome, mark.judged, mark.rule, mark.drawn) == (
            3, "correct", "unparseable", "second_disagrees", "queue",
        )  # fmt: skip
        assert browser.text("#review-count") == "1 of 2 · 1 overruled"
        browser.keys("u")
        browser.until(lambda: browser.text("#review-body .why b") == "second opinion disagrees")
        assert not marks_of(store)
        browser.until(lambda: browser.all("#review-body[aria-busy=false]"))
        browser.keys("c")
        browser.until(lambda: browser.text("#review-count").startswith("1 of 2"))
        browser.until(lambda: browser.all("#review-body[aria-busy=false]"))
        browser.keys("a")
        browser.until(lambda: "2 verdicts given, 1 overruled" in browser.text("#review-body"))
        browser.click(".review-end .agree")
        browser.until(lambda: "No doubtful verdict is left" in browser.text("#review-body"))
        assert browser.errors() == []


SIZES = ((900, 300), (300, 900), (60, 40))


def test_several_images_stand_in_a_strip_and_full_screen_with_their_tiles(tmp_path: Path, browser: Browser) -> None:
    outcome, images = make_outcome(0), []
    for number, size in enumerate(SIZES):
        buffer = io.BytesIO()
        PIL.Image.new("RGB", size, (60 * number, 120, 90)).save(buffer, "PNG")
        name = hashlib.sha256(buffer.getvalue()).hexdigest()
        images.append(Image(sha256=name, data=buffer.getvalue(), format="png", width=size[0], height=size[1]))
    text = "Compare <image> with <image> and <image>."
    shown = {"text": text, "images": tuple(image.sha256 for image in images), "tiles": 6}
    row = outcome.row.model_copy(update={**shown, "status": "unpaired", "reason": "no_correct", "pairs": 0})
    write_shard(open_store(tmp_path / "out"), 0, 1, [replace(outcome, row=row, images=tuple(images), pairs=())])
    name, wide = "#zoom-name", "return document.querySelector('#zoom img').clientWidth"
    scrolled = "return document.querySelector('#zoom .canvas').scrollLeft"
    cells = (
        "return [...document.querySelectorAll(arguments[0])].map(shot => shot.querySelectorAll('.tile-grid i').length)"
    )
    with serving(tmp_path / "out") as address:
        browser.open(address)
        browser.until(lambda: len(browser.all(".strip .shot img")) == 3)
        assert [label.text for label in browser.all(".shot .number")] == ["1", "2", "3"]
        assert [label.text for label in browser.all(".question .image-ref")] == ["Image 1", "Image 2", "Image 3"]
        assert len(set(browser.js("return [...document.querySelectorAll('.shot')].map(s => s.offsetTop)"))) == 1
        assert browser.js(cells, ".shot") == [0, 0, 0]
        browser.keys("g")
        seen = [across * down for across, down in (tile_grid(*size, 6) for size in SIZES)]
        assert seen[:2] == [3, 3]
        browser.until(lambda: browser.js(cells, ".shot") == seen)
        browser.keep("strip")
        assert faults_of(browser) == []
        browser.click(".shot", 2)
        browser.until(lambda: browser.text(name).startswith("3 of 3 · 60 × 40 · "))
        browser.keys("\ue014")  # the arrow to the right goes round
        browser.until(lambda: browser.text(name) == "1 of 3 · 900 × 300 · 3 tiles and a thumbnail")
        assert browser.js(cells, "#zoom .picture") == [3]
        browser.keep("strip-zoom")
        fits = browser.js(wide)
        browser.keys("++++")
        browser.until(lambda: browser.js(wide) > 3 * fits)
        middle = browser.js(scrolled)
        _drag(browser, -150, 0)
        browser.until(lambda: abs(browser.js(scrolled) - middle - 150) <= 1)
        browser.keys("0")
        browser.until(lambda: browser.js(wide) == fits)
        browser.keys("\ue00c")
        browser.until(lambda: not browser.all("#zoom[open]"))
        assert browser.errors() == []


def _drag(browser: Browser, across: int, down: int) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    canvas = browser.all("#zoom .canvas")[0]
    ActionChains(browser.driver).move_to_element(canvas).click_and_hold().move_by_offset(
        across, down
    ).release().perform()


MOVING = """
document.styleSheets[0].insertRule("body, body * { transition: color 9s; animation: turn 9s infinite; }", 0);
return [...document.body.querySelectorAll("*")].map((element) => getComputedStyle(element))
  .filter((style) => style.animationName !== "none" || style.transitionDuration !== "0s").length;
"""  # elements that a rule of motion moves


def test_nothing_moves_for_who_wants_no_motion(
    out: Path, two: tuple[Path, Path], tmp_path: Path, browser: Browser
) -> None:
    page = diff_page(compare_outputs(*two), tmp_path / "diff.html")
    with serving(out) as viewer, serving(a_run(tmp_path / "run", steps=3)) as run:
        for address in (page.as_uri(), viewer, run):
            browser.open(address)
            assert browser.js(MOVING) > 0, "what would move is seen"
            browser.open(address, still=True)
            assert browser.js(MOVING) == 0, address
