"""The report and the viewer in a real browser: by clicks and keys, in phone width, and under attack."""

from __future__ import annotations

import base64
import json
import re
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.marks import Mark, marks_of
from mmpr_pipeline.report.viewer.browse import Library
from mmpr_pipeline.report.viewer.bundle import write_bundle
from mmpr_pipeline.storage import Journal
from mmpr_pipeline.storage.store import open_store
from tests.dataset.conftest import make_outcome, write_shard
from tests.report.conftest import ATTACK
from tests.report.viewer.driven import PHONE, VIEWS, Browser, serving
from tests.report.viewer.test_runs import a_run

pytest.importorskip("vl_convert", reason="charts need vl-convert-python")
pytestmark = pytest.mark.slow


def test_questions_are_walked_through_by_keys_and_found_again_by_their_link(out: Path, browser: Browser) -> None:
    with serving(out) as address:
        browser.open(address)
        browser.until(lambda: len(browser.all(".item")) == 40 and browser.text(".question"))
        browser.keep("viewer")
        first = browser.text(".question")
        browser.keys("j")
        browser.until(lambda: browser.text(".question") not in ("", first))
        browser.keys("k")
        browser.until(lambda: browser.text(".question") == first)
        assert browser.all(".item[aria-current]")[0].text.startswith(first)
        one = browser.text(".side.chosen .response")
        browser.keys("n")
        browser.until(lambda: browser.text(".side.chosen .response") not in ("", one))
        link, shown = browser.driver.current_url, browser.text(".sides")
        assert "pair=" in link
        browser.open(link)
        browser.until(lambda: browser.text(".sides") == shown)
        browser.keys("t")
        browser.until(lambda: len(browser.all(".rollout")) == 4)
        assert {tag.text for tag in browser.all(".rollout .tag")} == {"correct", "incorrect"}
        browser.keep("viewer-rollouts")
        assert browser.errors() == []


def test_filters_and_search_narrow_the_list(out: Path, browser: Browser) -> None:
    with serving(out) as address:
        browser.open(address)
        browser.until(lambda: len(browser.all(".item")) == 40)
        browser.keys("/")
        browser.keys("BAR 12?")
        browser.until(lambda: len(browser.all(".item")) == 1)
        assert browser.text(".item-text") == "How tall is bar 12?"
        assert browser.text("mark.hit").lower() == "bar 12?"
        browser.click("#more summary")
        browser.click("#clear")
        browser.until(lambda: len(browser.all(".item")) == 40)
        browser.all("select[data-column=strategy]")[0].send_keys("Drop")
        browser.until(lambda: len(browser.all(".item")) == 8)
        assert browser.text("#matches") == "8 questions"
        browser.click(".item", 2)
        browser.until(lambda: browser.text(".chips .tag") == "DropNTP")
        browser.open(browser.driver.current_url)
        browser.until(lambda: len(browser.all(".item")) == 8 and browser.text(".chips .tag") == "DropNTP")
        assert browser.errors() == []


def test_a_wrong_verdict_is_marked_by_click_and_by_key(out: Path, browser: Browser) -> None:
    store = open_store(out)
    with serving(out) as address:
        browser.open(address)
        browser.click(".side.chosen .mark.incorrect")
        (mark,) = browser.until(lambda: marks_of(store)).values()
        assert (mark.index, mark.outcome) == (0, "incorrect")
        browser.until(lambda: browser.all(".side.chosen .note"))
        browser.click(".side.chosen .note")
        browser.keys("reads <b>the wrong</b> bar\ue007")
        browser.until(lambda: [m.note for m in marks_of(store).values()] == ["reads <b>the wrong</b> bar"])
        assert "1 marked" in browser.text("#totals")
        browser.open(browser.driver.current_url)
        browser.until(lambda: browser.all(".side.chosen .mark.incorrect[aria-pressed=true]"))
        assert browser.all(".side.chosen .note")[0].get_attribute("value") == "reads <b>the wrong</b> bar"
        browser.keep("viewer-marked")
        browser.keys("t")
        browser.until(lambda: browser.all(".rollout"))
        browser.keys("nu")
        browser.until(lambda: not marks_of(store))
        browser.keys("nx")
        browser.until(lambda: [(m.index, m.outcome) for m in marks_of(store).values()] == [(1, "ignore")])
        assert browser.errors() == []


def test_a_note_is_typed_on_while_another_mark_is_still_being_kept(
    out: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, keep, may = open_store(out), Library.mark, threading.Event()

    def slowly(self: Library, mark: Mark) -> None:
        assert may.wait(60)
        keep(self, mark)

    with serving(out) as address:
        browser.open(address)
        browser.click(".side.chosen .mark.correct")
        browser.until(lambda: browser.all(".side.chosen .note"))
        monkeypatch.setattr(Library, "mark", slowly)
        browser.click(".side.rejected .mark.ignore")
        browser.click(".side.chosen .note")
        browser.keys("half of ")
        may.set()
        browser.until(lambda: browser.all(".side.rejected .mark.ignore[aria-pressed=true]"))
        browser.keys("it\ue007")
        browser.until(lambda: "half of it" in [mark.note for mark in marks_of(store).values()])
        assert len(marks_of(store)) == 2
        assert browser.errors() == []


def test_a_mark_that_cannot_be_kept_is_told(out: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Library, mark: Mark) -> None:
        from mmpr_pipeline.core.errors import StoreError

        raise StoreError("No space is left.")

    monkeypatch.setattr(Library, "mark", full)
    with serving(out) as address:
        browser.open(address)
        browser.click(".side.chosen .mark.incorrect")
        browser.until(lambda: "No space is left" in browser.text("#toast"))
        assert not browser.all(".mark[aria-pressed=true]")


def test_the_image_is_zoomed(out: Path, browser: Browser) -> None:
    with serving(out) as address:
        browser.open(address)
        browser.click(".shot")
        wide = "return document.querySelector('#zoom[open] img')?.clientWidth ?? 0"
        before = browser.until(lambda: browser.js(wide))
        browser.click("[data-zoom=in]")
        browser.until(lambda: browser.js(wide) > before * 1.3)
        browser.click("[data-zoom=fit]")
        browser.until(lambda: browser.js(wide) == before)
        browser.click("[data-zoom=close]")
        browser.until(lambda: not browser.all("#zoom[open]"))
        assert browser.errors() == []


def test_a_phone_shows_the_list_then_the_question_and_nothing_sticks_out(out: Path, browser: Browser) -> None:
    with serving(out) as address:
        browser.open(address, PHONE, dark=True)
        browser.until(lambda: browser.all(".item"))
        assert not browser.all("#detail")[0].is_displayed()
        assert browser.fits()
        browser.keep("viewer-phone-list")
        browser.click(".item", 2)
        browser.until(lambda: browser.all(".side"))
        assert not browser.all("#list")[0].is_displayed()
        assert browser.fits()
        browser.keep("viewer-phone")
        browser.click(".back")
        browser.until(lambda: browser.all("#list")[0].is_displayed())
        assert browser.errors() == []


def test_the_theme_follows_the_system_until_the_button_is_pressed(out: Path, browser: Browser) -> None:
    colour = "return getComputedStyle(document.body).backgroundColor"
    with serving(out) as address:
        browser.open(address)
        light = browser.js(colour)
        browser.open(address, dark=True)
        dark = browser.js(colour)
        assert light != dark
        browser.click(".theme-toggle")
        assert browser.js(colour) == light
        browser.open(address, dark=True)
        assert browser.js(colour) == light, "remembered"


def test_a_link_copied_after_escape_names_the_question(out: Path, browser: Browser) -> None:
    with serving(out) as address:
        browser.open(address)
        browser.until(lambda: browser.text(".question"))
        browser.keys("jj")
        browser.until(lambda: browser.text(".question").endswith("6?"))
        browser.keys("/")
        browser.keys("\ue00c")
        browser.keys("\ue00c")
        browser.click("#copy-link")
        assert "question=" in browser.driver.current_url
        browser.open(browser.driver.current_url)
        browser.until(lambda: browser.text(".question").endswith("6?"))


def test_the_table_filters_by_a_click_sorts_and_groups(out: Path, browser: Browser) -> None:
    with serving(out) as address:
        browser.open(address)
        browser.until(lambda: browser.text(".question"))
        browser.keys("v")
        browser.until(lambda: len(browser.all("#table-body tr")) > 20)
        browser.keep("table")
        browser.click('th[data-column=source] .bin[aria-label^="source grids"]')
        browser.until(lambda: browser.text("#table-matches") == "14 questions")
        browser.click("th[data-column=pairs] .sort-name")
        pairs = "return [...document.querySelectorAll('#table-body tr')].map(r => Number(r.cells[5].textContent))"
        heads = "return [...document.querySelectorAll('#table-head th')].map(h => h.dataset.column ?? '')"
        at = browser.js(heads).index("pairs")
        browser.until(lambda: "sort=-pairs" in browser.driver.current_url)
        found = browser.js(pairs.replace("cells[5]", f"cells[{at}]"))
        assert found == sorted(found, reverse=True)
        assert len(set(found)) > 1
        browser.open(browser.driver.current_url)
        browser.until(lambda: browser.text("#table-matches") == "14 questions")
        browser.click("#tables .filter-chip")
        browser.until(lambda: browser.text("#table-matches") == "40 questions")
        browser.js("const s = document.getElementById('group'); s.value = 'kind'; s.dispatchEvent(new Event('change'))")
        browser.until(lambda: len(browser.all("#table-body tr")) == 2)
        browser.keep("table-groups")
        browser.js("const s = document.getElementById('group'); s.value = 'rule'; s.dispatchEvent(new Event('change'))")
        browser.until(lambda: browser.text("#table-body .open") == "number")
        browser.until(lambda: "group=rule" in browser.driver.current_url)
        browser.js("const s = document.getElementById('group'); s.value = 'kind'; s.dispatchEvent(new Event('change'))")
        browser.until(lambda: browser.text("#table-head th").lower() == "kind")
        browser.click("#table-body tr")
        browser.until(lambda: browser.text("#table-matches") in ("16 questions", "24 questions"))
        browser.click("#table-body .open")
        browser.until(lambda: browser.js("return document.body.dataset.view") == "browse" and browser.text(".question"))
        assert browser.errors() == []


def test_verdicts_are_reviewed_by_one_key_each_and_undone(out: Path, browser: Browser) -> None:
    store = open_store(out)
    with serving(out) as address:
        browser.open(address)
        browser.until(lambda: browser.text(".question"))
        browser.keys("r")
        browser.click("#review-kinds button", 1)
        browser.until(lambda: browser.text("#review-count").startswith("0 of "))
        browser.until(lambda: browser.all(".verdict-button"))
        browser.keep("review")
        first = browser.text("#review .question")
        browser.keys("a")
        browser.until(lambda: browser.text("#review .question") not in ("", first))
        (mark,) = browser.until(lambda: marks_of(store)).values()
        assert (mark.outcome, mark.drawn, mark.rule) == (mark.judged, "sample", "number")
        browser.keys("u")
        browser.until(lambda: browser.text("#review .question") == first)
        browser.until(lambda: not marks_of(store))
        browser.until(lambda: browser.all("#review-body[aria-busy=false]"))
        browser.keys("w")
        browser.until(lambda: browser.text("#review-count").startswith("1 of "))
        browser.until(lambda: len(marks_of(store)) == 4)
        assert {m.outcome for m in marks_of(store).values()} == {"ignore"}, "the gold is wrong: none may be used"
        total = int(browser.text("#review-count").split(" of ")[1].split()[0])
        for done in range(1, total):
            browser.until(lambda: browser.all("#review-body[aria-busy=false]"))
            browser.keys("s")
            browser.until(lambda done=done: browser.text("#review-count").startswith(f"{done + 1} of "))
        browser.until(lambda: "How precise are the verdicts?" in browser.text("#review-body"))
        assert browser.errors() == []


MATH = {"text": r"Solve $\frac{x}{2} = 3$ for <image> and $5 or $6.", "answer": r"\frac{12}{2}"}
RESPONSE = (
    "# Steps\n\n1. **Double** both sides\n2. so $x = 6$\n\n| a | b |\n|---|---|\n| 1 | `2` |\n\n\\[ x^2 = 36 \\]\n"
)
RESPONSE += "$\\href{javascript:attack()}{x}$ **Final answer**: \\boxed{6}"


def test_mathematics_and_markdown_are_drawn_and_m_shows_them_as_written(tmp_path: Path, browser: Browser) -> None:
    outcome = make_outcome(0)
    row = outcome.row.model_copy(update=MATH)
    rollouts = tuple(r.model_copy(update={"text": RESPONSE, "extracted": "6"}) for r in outcome.rollouts)
    store = open_store(tmp_path / "math")
    write_shard(store, 0, 1, [replace(outcome, row=row, rollouts=rollouts)])
    with serving(tmp_path / "math") as address:
        browser.open(address)
        browser.until(lambda: browser.all(".question mfrac"))
        assert browser.text(".question").endswith("$5 or $6."), "money is no mathematics"
        assert browser.text(".question .image-ref") == "Image 1"
        assert browser.all(".gold mfrac")
        browser.keys("t")
        browser.until(lambda: browser.all(".rollout .md-list li strong"))
        assert browser.all(".rollout .md-table td code")
        assert browser.all(".rollout .math.display msup")
        assert browser.all(".rollout mark.answer math"), "the answer found is marked within the mathematics"
        assert not browser.all(".rollout a, .rollout math [href]"), "TeX makes no links"
        browser.keep("math")
        browser.keys("m")
        browser.until(lambda: RESPONSE.strip() in browser.text(".rollout .response"))
        assert not browser.all(".rollout math")
        browser.keys("m")
        browser.until(lambda: browser.all(".rollout math"))
        assert browser.errors() == []


def test_hostile_text_does_not_run_in_the_viewer(hostile: Path, browser: Browser) -> None:
    with serving(hostile) as address:
        browser.open(address)
        browser.keys("m")  # as it is written
        browser.until(lambda: browser.text(".question") == ATTACK and browser.text(".item-text") == ATTACK)
        browser.until(lambda: ATTACK in browser.text(".side.chosen .response"))
        browser.keep("viewer-hostile")
        browser.keys("t")
        browser.until(lambda: browser.all(".rollout"))
        assert ATTACK in browser.text(".rollout .response")
        assert browser.js("return window.attacked ?? null") is None
        assert browser.js("return document.querySelectorAll('script').length") == 3
        assert browser.errors() == []


@pytest.mark.parametrize(("size", "dark"), [((1280, 860), False), ((1280, 860), True), (PHONE, False)])
def test_the_report_reads_well_everywhere(
    out: Path, tmp_path: Path, browser: Browser, size: tuple[int, int], dark: bool
) -> None:
    from mmpr_pipeline.report.pages.page import report

    browser.open(report(out, tmp_path / "page.html").as_uri(), size, dark=dark)
    assert browser.fits()
    assert browser.js("return [...document.images].every(i => i.complete && i.naturalWidth > 0 || i.closest('dialog'))")
    ink = "return getComputedStyle(document.querySelector('.chart svg text')).fill"
    before = browser.js(ink)
    browser.click(".theme-toggle")
    assert browser.js(ink) != before, "charts follow the theme"
    browser.click(".pair img")
    browser.until(lambda: browser.all("#zoom[open]"))
    browser.keep(f"report-{size[0]}-{'dark' if dark else 'light'}")
    assert browser.errors() == []


def test_the_report_prints_as_a_whole(out: Path, tmp_path: Path, browser: Browser) -> None:
    from mmpr_pipeline.report.pages.page import report

    browser.open(report(out, tmp_path / "page.html").as_uri(), dark=True)
    browser.until(lambda: browser.all(".pair"))
    pdf = base64.b64decode(browser.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert pdf.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 20
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert browser.js("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", "dark or not"
    assert not any(each.is_displayed() for each in browser.all(".contents, .switch, .theme-toggle, .unfold"))
    cut = "return [...document.querySelectorAll('[data-fold]')].filter(e => e.scrollHeight > e.clientHeight + 2).length"
    assert browser.js(cut) == 0, "nothing is folded on paper"
    shown = "return [...document.querySelectorAll('.pair')].filter(e => e.getBoundingClientRect().height > 0).length"
    assert browser.js(shown) == len(browser.all(".pair")) > 0
    browser.keep("report-print")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert browser.errors() == []


def test_hostile_text_does_not_run_in_the_report(hostile: Path, tmp_path: Path, browser: Browser) -> None:
    from mmpr_pipeline.report.pages.page import report

    browser.open(report(hostile, tmp_path / "page.html").as_uri())
    browser.until(lambda: ATTACK in browser.text(".side.chosen .response"))
    assert browser.js("return window.attacked ?? null") is None
    assert browser.errors() == []


class _Ranged(SimpleHTTPRequestHandler):
    """A file server that answers ranges, as object stores and the Hub do."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked or not path.is_file():
            return super().do_GET()
        data = path.read_bytes()
        first, last = int(asked[1]), int(asked[2] or len(data) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(len(data[first : last + 1])))
        self.end_headers()
        self.wfile.write(data[first : last + 1])
        return None


@pytest.mark.parametrize("handler", [SimpleHTTPRequestHandler, _Ranged], ids=["plain", "ranges"])
def test_a_static_folder_needs_no_server_of_ours(
    out: Path, tmp_path: Path, browser: Browser, handler: type[SimpleHTTPRequestHandler]
) -> None:
    write_bundle(out, tmp_path / "bundle")
    quiet = type("Quiet", (handler,), {"log_message": lambda *_: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(tmp_path / "bundle")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        browser.open(f"http://127.0.0.1:{server.server_port}/")
        browser.until(lambda: len(browser.all(".item")) == 40 and browser.text(".sides"))
        assert browser.js("return document.querySelector('.shot img').naturalWidth") > 0
        browser.keys("/")
        browser.keys("blindly")
        browser.until(lambda: browser.text("#matches") == "8 questions")
        browser.click(".side.chosen .mark.ignore")
        browser.until(lambda: "1 marked" in browser.text("#totals"))
        browser.open(browser.driver.current_url)
        browser.until(lambda: browser.all(".side.chosen .mark.ignore[aria-pressed=true]"))
        browser.js("localStorage.removeItem('mmpr-marks-out')")
        assert [error for error in browser.errors() if "favicon" not in error] == []
    finally:
        server.shutdown()


def test_a_running_build_shows_its_first_shard_and_its_newest_rollouts(tmp_path: Path, browser: Browser) -> None:
    store = open_store(tmp_path / "live")
    store.write(layout.CONFIG, json_bytes({"config": {"shards": 2}}))
    said = {"question_id": "a" * 32, "index": 0, "round": 0, "text": "It is $x^2$.", "tokens": 9, "model": "m"}
    with Journal(store, layout.shard_key("journal", 0, 2)).open() as journal:
        journal.append({"question": "a" * 32, "step": "sample/0", "rollouts": [said]})
    with serving(tmp_path / "live") as address:
        browser.open(address)
        browser.until(lambda: browser.all("#live msup"))
        assert "No build is at work here" in browser.text("#live"), "nobody holds the lease"
        browser.keep("live")
        write_shard(store, 1, 2, [make_outcome(0), make_outcome(1)])
        browser.until(lambda: len(browser.all(".item")) == 2 and browser.text(".question"))
        assert "1 of 2 shards" in browser.text("#totals")
        write_shard(store, 0, 2, [make_outcome(2)])
        browser.until(lambda: not browser.all("#live:not([hidden])"))
        assert browser.text("#matches") == "3 questions"
        assert browser.errors() == []


@pytest.mark.parametrize(("size", "dark"), [((1280, 860), False), (PHONE, True)])
def test_a_training_run_is_drawn_as_it_goes(
    tmp_path: Path, browser: Browser, size: tuple[int, int], dark: bool
) -> None:
    folder = a_run(tmp_path / "run", steps=40)
    sample = {"step": 4, "question": ATTACK, "text": f"$\\frac12$ {ATTACK}", "answer": "1"}
    (folder / "samples.jsonl").write_text(json.dumps(sample) + "\n")
    with serving(folder) as address:
        browser.open(address, size, dark=dark)
        browser.until(lambda: browser.all("#charts svg .line") and browser.all(".sample mfrac"))
        assert browser.fits()
        assert "40 / 9" in browser.text("#tiles")
        assert "Memory, GiB" in browser.text("#charts"), "what never changes is drawn, too"
        browser.keep(f"run-{size[0]}")
        with open(folder / "metrics.jsonl", "a") as file:
            file.write(json.dumps({"step": 40, "steps": 9, "loss": 0.1}) + "\n")
        with open(folder / "held_out.jsonl", "a") as file:
            file.write(json.dumps({"step": 40, "accuracy": 0.7}) + "\n")
        browser.until(lambda: "41 / 9" in browser.text("#tiles"))
        browser.until(lambda: "Held out: accuracy" in browser.text("#charts"))
        assert browser.js("return window.attacked ?? null") is None
        assert browser.errors() == []


AXE = Path(__file__).with_name("axe") / "axe.min.js"
RUN_AXE = "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}).then(r => arguments[0](r.violations))"


def faults_of(browser: Browser) -> list[tuple[str, str]]:
    """What axe-core finds against WCAG 2.1 A and AA on the page as it stands: (rule, element)."""
    browser.js(AXE.read_text("utf-8"))
    found = browser.driver.execute_async_script(RUN_AXE)
    return [(fault["id"], node["html"][:200]) for fault in found for node in fault["nodes"]]


@pytest.mark.parametrize(("size", "dark"), VIEWS)
def test_no_view_has_a_fault_that_axe_finds(out: Path, browser: Browser, size: tuple[int, int], dark: bool) -> None:
    faults = {}
    with serving(out) as address:
        for view in (
            "",
            "#tab=rollouts",
            "#f.status=rejected",
            "#view=table",
            "#view=table&group=kind",
            "#view=review",
        ):
            browser.open(address + view, size, dark=dark)
            browser.until(lambda: browser.js("return document.querySelector('#matches').innerText"))
            if "review" in view:
                browser.until(lambda: browser.all(".verdict-buttons"))
            elif size != PHONE and "table" not in view:
                browser.until(lambda: browser.text(".question"))
            if "rollouts" in view:
                browser.keys("t")
            faults[view] = faults_of(browser)
            browser.keep(f"axe-{len(faults)}-{size[0]}-{'dark' if dark else 'light'}")
        browser.open(address, size, dark=dark)
        browser.until(lambda: browser.all(".item"))
        browser.keys("?")
        faults["keys"] = faults_of(browser)
        if size != PHONE:
            browser.keys("\ue00c")
            browser.until(lambda: browser.text(".question"))
            browser.keys("z")
            browser.until(lambda: browser.all("#zoom[open]"))
            faults["zoom"] = faults_of(browser)
    assert {view: found for view, found in faults.items() if found} == {}


@pytest.mark.parametrize("dark", [False, True])
def test_no_page_has_a_fault_that_axe_finds(out: Path, tmp_path: Path, browser: Browser, dark: bool) -> None:
    from mmpr_pipeline.report.pages.page import report

    browser.open(report(out, tmp_path / "page.html").as_uri(), dark=dark)
    faults = {"report": faults_of(browser)}
    with serving(a_run(tmp_path / "run", steps=40)) as address:
        browser.open(address, dark=dark)
        browser.until(lambda: browser.all("#charts svg .line"))
        faults["run"] = faults_of(browser)
    assert {page: found for page, found in faults.items() if found} == {}
