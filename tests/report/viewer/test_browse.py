from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.dataset import layout
from mmpr_pipeline.dataset.marks import Mark, read_marks
from mmpr_pipeline.errors import DatasetError
from mmpr_pipeline.records import QuestionOutcome
from mmpr_pipeline.report.viewer import browse
from mmpr_pipeline.report.viewer.browse import Filter, Library, Place
from mmpr_pipeline.report.viewer.detail import pair_detail, question_detail
from mmpr_pipeline.storage import open_store
from tests.dataset.conftest import make_outcome, write_shard

SHARDS = 3


def made() -> list[QuestionOutcome]:
    """The questions of `out`, in the dataset's order."""
    return [make_outcome(n, "bars" if n % 3 else "grids") for shard in range(SHARDS) for n in range(shard, 40, SHARDS)]


def found(library: Library, wanted: Filter, limit: int = 7) -> list[dict[str, Any]]:
    """Everything that matches, page by page."""
    items, place = [], Place(0, 0)
    while place:
        page = library.search(wanted, place, limit)
        assert len(page.items) <= limit
        items += page.items
        place = page.following
    return items


WANTED: list[tuple[Filter, Callable[[QuestionOutcome], bool]]] = [
    (Filter(), lambda o: True),
    (Filter(source="grids"), lambda o: o.row.source == "grids"),
    (Filter(strategy="dropout_ntp"), lambda o: any(p.strategy == "dropout_ntp" for p in o.pairs)),
    (Filter(verdict="mixed"), lambda o: o.row.correct > 0 and o.row.incorrect > 0),
    (Filter(verdict="unparseable"), lambda o: o.row.unparseable > 0),
    (Filter(verdict="unchecked"), lambda o: o.row.kind == "none" and o.row.rollouts > 0),
    (Filter(status="rejected"), lambda o: o.row.status == "rejected"),
    (Filter(reason="no_correct", source="bars"), lambda o: o.row.reason == "no_correct" and o.row.source == "bars"),
    (Filter(text="BAR 7?"), lambda o: o.row.text == "How tall is bar 7?"),
    (Filter(text="blindly THEY"), lambda o: any("blindly they" in r.text for r in o.rollouts)),
    (Filter(text="q12"), lambda o: o.row.source_id == "q12"),
    (Filter(source="nowhere"), lambda o: False),
]


@pytest.mark.parametrize(("wanted", "right"), WANTED, ids=lambda x: str(x) if isinstance(x, Filter) else "")
def test_a_search_finds_what_a_look_at_every_question_finds(
    out: Path, wanted: Filter, right: Callable[[QuestionOutcome], bool]
) -> None:
    expected = [(o.row.source, o.row.source_id) for o in made() if right(o)]
    assert [(i["source"], i["source_id"]) for i in found(Library(out), wanted)] == expected
    assert expected or wanted.source == "nowhere", "the case tests something"


def test_a_search_without_time_goes_on_where_it_stopped(out: Path) -> None:
    page = Library(out).search(Filter(text="nothing says this"), Place(0, 0), 10, seconds=-1)
    assert (page.items, page.following) == ([], Place(1, 0))


def test_a_shard_that_cannot_hold_the_source_is_not_opened(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    library = Library(out)
    monkeypatch.setattr(library, "shard", lambda number: opened.append(number))
    assert library.search(Filter(source="nowhere"), Place(0, 0), 10).items == []
    assert opened == []


def test_only_few_shards_stay_open(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for shard in range(9):
        write_shard(store, shard, 9, [make_outcome(shard)])
    library = Library(tmp_path)
    assert len(found(library, Filter())) == 9
    assert list(library._open) == [5, 6, 7, 8]


def test_questions_and_pairs_are_found_by_id(out: Path) -> None:
    library = Library(out)
    outcome = next(o for o in made() if len(o.pairs) > 1)
    place, pair = library.find(outcome.pairs[1].pair_id) or (None, None)
    assert place
    assert library.shard(place.shard).question(place.row)["question_id"] == outcome.row.question_id
    assert pair == outcome.pairs[1].pair_id
    assert library.find(str(outcome.row.question_id)) == (place, None)
    assert library.find("0" * 32) is None
    assert [i["question_id"] for i in found(library, Filter(text=pair))] == [outcome.row.question_id]


def test_a_question_is_shown_with_all_that_came_of_it(out: Path) -> None:
    library = Library(out)
    outcome = next(o for o in made() if any(p.strategy == "dropout_ntp" for p in o.pairs))
    place, _ = library.find(str(outcome.row.question_id)) or (None, None)
    assert place
    library.mark(Mark(question_id=str(outcome.row.question_id), index=1, outcome="ignore", note="why"))
    files = library.shard(place.shard)
    detail = question_detail(files, place.row, library.marks_on(str(outcome.row.question_id)))
    assert [r["index"] for r in detail["rollouts"]] == [r.index for r in outcome.rollouts]
    assert ["".join(p["text"] for p in r["pieces"]) for r in detail["rollouts"]] == [r.text for r in outcome.rollouts]
    assert detail["rollouts"][1]["mark"]["note"] == "why"
    assert detail["rollouts"][-1]["pieces"][0] == {
        "text": outcome.rollouts[-1].text[:25],
        "shared": True,
        "answer": False,
    }
    assert detail["images"] == [{"sha256": i.sha256, "width": i.width, "height": i.height} for i in outcome.images]
    assert files.image(outcome.images[0].sha256) == ("png", outcome.images[0].data)
    pair = pair_detail(files, str(outcome.row.question_id), outcome.pairs[0].pair_id)
    assert pair
    assert "".join(p["text"] for p in pair["rejected"]) == outcome.pairs[0].rejected
    assert pair_detail(files, str(outcome.row.question_id), "0" * 32) is None


def test_marks_are_kept_and_can_be_searched_for(out: Path) -> None:
    library = Library(out)
    name = str(next(o for o in made() if o.pairs).row.question_id)
    assert found(library, Filter(marked=True)) == []
    library.mark(Mark(question_id=name, index=0, outcome="incorrect"))
    assert [i["marks"] for i in found(Library(out), Filter(marked=True))] == [1]
    assert read_marks(open_store(out)) == {(name, 0): "incorrect"}
    library.mark(Mark(question_id=name, index=0, outcome="clear"))
    assert found(library, Filter(marked=True)) == []


def test_a_build_that_goes_on_can_be_looked_at(out: Path) -> None:
    (out / layout.manifest(1, SHARDS)).unlink()
    library = Library(out)
    assert (library.overview()["finished"], library.overview()["shards"]) == (2, 3)
    assert {item["shard"] for item in found(library, Filter())} == {0, 2}
    with pytest.raises(KeyError):
        library.shard(1)
    shutil.rmtree(out / "manifests")
    with pytest.raises(DatasetError):
        Library(out)


def test_a_question_whose_rows_cross_a_batch_is_whole(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    outcomes = [make_outcome(n, rollouts=400) for n in range(0, 60, 5)]
    write_shard(store, 0, 1, outcomes)
    files = Library(tmp_path).shard(0)
    for outcome in outcomes:
        rows = files.rollouts(str(outcome.row.question_id))
        assert [r["index"] for r in rows] == list(range(400))
    assert browse.OPEN_SHARDS > 0
