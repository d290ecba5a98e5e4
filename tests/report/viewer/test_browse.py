from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.core.records import QuestionOutcome
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.marks import Mark, read_marks
from mmpr_pipeline.report.viewer import browse
from mmpr_pipeline.report.viewer.browse import Library, QuestionPlace
from mmpr_pipeline.report.viewer.detail import pair_detail, question_detail
from mmpr_pipeline.storage.store import open_store
from tests.dataset.conftest import make_outcome, write_dataset, write_shard

SHARDS = 3


def made() -> list[QuestionOutcome]:
    """The questions of `out`, in the dataset's order."""
    return [make_outcome(n, "bars" if n % 3 else "grids") for shard in range(SHARDS) for n in range(shard, 40, SHARDS)]


def searched(library: Library, text: str, *, responses: bool) -> list[str]:
    """Ids of the rows that say the text, asked for piece by piece."""
    found: list[str] = []
    start: int | None = 0
    while start is not None:
        part = library.search(text, start, responses=responses, seconds=-1)
        places = [QuestionPlace(library.order[at], row) for at, rows in part.items for row in rows]
        found += [row["source_id"] for row in library.rows(places)]
        start = part.following
    return found


WANTED: list[tuple[str, bool, Callable[[QuestionOutcome], bool]]] = [
    ("BAR 7?", False, lambda o: o.row.text == "How tall is bar 7?"),
    ("q12", False, lambda o: o.row.source_id == "q12"),
    ("blindly THEY", True, lambda o: any("blindly they" in r.text for r in o.rollouts)),
    ("blindly THEY", False, lambda o: False),
    ("nothing says this", True, lambda o: False),
]


@pytest.mark.parametrize(("text", "responses", "right"), WANTED)
def test_a_search_finds_what_a_look_at_every_question_finds(
    out: Path, text: str, responses: bool, right: Callable[[QuestionOutcome], bool]
) -> None:
    assert searched(Library(out), text, responses=responses) == [o.row.source_id for o in made() if right(o)]


def test_a_search_without_time_says_where_to_go_on(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browse, "THREADS", 1)
    library = Library(out)
    part = library.search("nothing says this", 0, responses=True, seconds=-1)
    assert (part.items, part.following) == ([], 2)
    assert library.search("nothing says this", 2, responses=True, seconds=-1).following is None


def test_questions_are_searched_alike_whether_their_texts_are_kept_or_not(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Library(out)
    assert kept.index(0, seconds=60).following is None
    assert len(kept._texts) == SHARDS
    monkeypatch.setattr(browse, "KEPT_BYTES", 0)
    assert searched(kept, "bar 1", responses=False) == searched(Library(out), "bar 1", responses=False) != []


def test_only_few_shards_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browse, "OPEN_SHARDS", 4)
    store = open_store(tmp_path)
    for shard in range(9):
        write_shard(store, shard, 9, [make_outcome(shard)])
    library = Library(tmp_path)
    assert len(library.rows([QuestionPlace(shard, 0) for shard in range(9)])) == 9
    assert len(library.index(0, seconds=60).items) == 9, "looking at all of them in passing opens none for long"
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
    assert searched(library, pair, responses=False) == [outcome.row.source_id]


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
    assert detail["rollouts"][1]["marks"][0]["note"] == "why"
    assert detail["rollouts"][-1]["pieces"][0] == {
        "text": outcome.rollouts[-1].text[:25],
        "shared": True,
        "answer": False,
    }
    (image,) = detail["images"]
    assert (image["sha256"], image["width"]) == (outcome.images[0].sha256, outcome.images[0].width)
    assert files.image(outcome.images[0].sha256) == ("png", outcome.images[0].data)
    pair = pair_detail(files, str(outcome.row.question_id), outcome.pairs[0].pair_id)
    assert pair
    assert "".join(p["text"] for p in pair["rejected"]) == outcome.pairs[0].rejected
    assert pair_detail(files, str(outcome.row.question_id), "0" * 32) is None


def test_marks_are_kept_and_known_to_the_next_viewer(out: Path) -> None:
    library = Library(out)
    name = str(next(o for o in made() if o.pairs).row.question_id)
    library.mark(Mark(question_id=name, index=0, outcome="incorrect"))
    assert [m.outcome for m in Library(out).marks_on(name)[0]] == ["incorrect"]
    assert read_marks(open_store(out)) == {(name, 0): "incorrect"}
    library.mark(Mark(question_id=name, index=0, outcome="clear"))
    assert library.marks_on(name) == {}
    assert len(library.marks) == 0


def test_a_running_build_shows_each_shard_as_it_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browse, "FRESH_SECONDS", 0.0)
    store = open_store(tmp_path)
    with pytest.raises(DatasetError, match="holds no build"):
        Library(tmp_path)
    store.write(layout.CONFIG, json_bytes({"config": {"shards": 3}}))
    library = Library(tmp_path)
    assert library.overview() == {"shards": 3, "finished": 0, "questions": 0, "pairs": 0, "rollouts": 0, "marks": 0}
    with pytest.raises(KeyError):
        library.shard(1)
    write_shard(store, 2, 3, [make_outcome(0), make_outcome(1)])
    assert library.overview()["questions"] == 2
    write_shard(store, 0, 3, [make_outcome(2)])
    assert library.overview()["finished"] == 2
    assert library.order == [2, 0], "what was shown keeps its place"
    assert not library.complete


def test_a_finished_dataset_without_its_settings_is_shown_too(out: Path) -> None:
    (out / layout.CONFIG).unlink()
    assert Library(out).overview()["questions"] == 40
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


def test_the_index_is_a_row_a_question(tmp_path: Path) -> None:
    write_dataset(tmp_path / "out")
    parts = Library(tmp_path / "out").index(0, seconds=60).items
    sources = [part["source"].values[code] for part in parts for code in part["source"].data]
    assert sources == [o.row.source for o in made()]
    assert [n for part in parts for n in part["pairs"].data] == [len(o.pairs) for o in made()]
    strategies = {value for part in parts for value in part["strategy"].values or ()}
    assert strategies == {"", "correctness", "dropout_ntp"}
