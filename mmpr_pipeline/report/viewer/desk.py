"""Answers to the viewer's requests; blocking ones run in threads, as starlette does with plain functions."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mmpr_pipeline.dataset.files.marks import Mark
from mmpr_pipeline.report.assets import MEDIA_TYPES, STATIC, environment
from mmpr_pipeline.report.viewer.browse import BrowsePart, Library, QuestionPlace
from mmpr_pipeline.report.viewer.detail import origin_detail, pair_detail, question_detail
from mmpr_pipeline.report.viewer.index import encode, join
from mmpr_pipeline.report.viewer.live import Run, newest_rollouts, progress

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
MOST_ROWS = 200
"""Rows that one request may ask for."""
MOST_BODY = 16_384
"""Bytes of a request that changes something."""
Answers = dict[str, Callable[["Request"], "Response"]]


def static(request: Request) -> Response:
    """A script or style of the page."""
    from starlette.responses import Response

    path = (STATIC / request.path_params["name"]).resolve()
    if not path.is_relative_to(STATIC.resolve()) or path.suffix not in TYPES or not path.is_file():
        raise KeyError(path.name)
    return Response(path.read_bytes(), media_type=TYPES[path.suffix], headers={"Cache-Control": "no-cache"})


def page(template: str, **values: Any) -> Response:
    """A page from its template."""
    from starlette.responses import HTMLResponse

    return HTMLResponse(environment().get_template(template).render(**values), headers={"Cache-Control": "no-store"})


class Desk:
    """Answers about a dataset."""

    def __init__(self, library: Library, token: str) -> None:
        self._library, self._token = library, token
        self._blocks: dict[int, tuple[bytes, int, int | None]] = {}
        self.static = static

    def pages(self) -> Answers:
        """What can be asked for by path."""
        return {
            "/": self.page,
            "/api/overview": self.overview,
            "/api/index": self.index,
            "/api/doubts": self.doubts,
            "/api/rows": self.rows,
            "/api/search": self.search,
            "/api/question": self.question,
            "/api/pair": self.pair,
            "/api/find": self.find,
            "/api/marked": self.marked,
        }

    def page(self, request: Request) -> Response:
        return page(
            "viewer.html",
            name=self._library.store.url.rstrip("/").rpartition("/")[2],
            token=self._token,
            root="/static/",
            bundle="",
        )

    def overview(self, request: Request) -> Response:
        found = self._library.overview()
        if not self._library.complete:
            found |= {"progress": progress(self._library.store), "newest": newest_rollouts(self._library.store)}
        return _json(found)

    def index(self, request: Request) -> Response:
        self._library.refresh()
        start = _number(request.query_params, "from")
        if start not in self._blocks:
            part = self._library.index(start)
            found = encode(join(part.items)), start + len(part.items), part.following
            if not self._library.complete:
                return _block(*found)
            self._blocks[start] = found  # many people ask for the same, and it does not change any more
        return _block(*self._blocks[start])

    def doubts(self, request: Request) -> Response:
        start = _number(request.query_params, "from")
        part = self._library.doubts(start)
        return _block(encode(join(part.items)), start + len(part.items), part.following)

    def rows(self, request: Request) -> Response:
        asked = request.query_params["at"].split(",")[:MOST_ROWS]
        parts = [place.partition(".") for place in asked]
        return _json(self._library.rows([QuestionPlace(_whole(shard), _whole(row)) for shard, _, row in parts]))

    def search(self, request: Request) -> Response:
        asked = request.query_params
        part: BrowsePart = self._library.search(
            asked["text"][:500], _number(asked, "from"), responses=asked.get("in") == "responses"
        )
        return _json({"found": part.items, "next": part.following})

    def question(self, request: Request) -> Response:
        asked = request.query_params
        files = self._library.shard(_number(asked, "shard"))
        row = files.row_of[asked["id"]] if "id" in asked else _number(asked, "row")
        question = files.question(row)
        marks = self._library.marks_on(question["question_id"] or "")
        detail = question_detail(files, row, marks)
        if question["status"] == "rejected":
            origin = self._library.origins.row(question["source"], question["source_id"], files.shard)
            detail |= origin_detail(origin, question["tiles"]) if origin else {}
        return _json(detail)

    def pair(self, request: Request) -> Response:
        asked = request.query_params
        files = self._library.shard(_number(asked, "shard"))
        return _json(pair_detail(files, asked["question"], asked["id"]))

    def find(self, request: Request) -> Response:
        found = self._library.find(request.query_params["id"][:64])
        return _json(found and {"shard": found[0].shard, "row": found[0].row, "pair": found[1]})

    def marked(self, request: Request) -> Response:
        """Which questions are marked, by whom, and what the marks say of the dataset."""
        marks, summary = self._library.marked()
        kept = [{"question_id": m.question_id, "index": m.index, "by": m.by, "outcome": m.outcome} for m in marks]
        return _json({"marks": kept, "summary": summary})

    async def mark(self, request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import PlainTextResponse

        if not secrets.compare_digest(request.headers.get("x-mmpr-token", "").encode(), self._token.encode()):
            return PlainTextResponse("Reload the page: the server was started anew.", 403)
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_BODY:
                return PlainTextResponse("Too long.", 413)
        try:
            mark = Mark.model_validate_json(body)
        except ValidationError as error:
            return PlainTextResponse(f"Not a mark: {error.errors()[0]['msg']}", 422)
        await run_in_threadpool(self._library.mark, mark)
        return _json({"marks": len(self._library.marks)})

    def image(self, request: Request) -> Response:
        from starlette.responses import Response

        sha256 = request.path_params["sha256"]
        found = self._library.shard(request.path_params["shard"]).image(sha256)
        if found is None and (origin := self._library.origins.image(sha256)):
            found = origin.format, origin.data
        if found is None or found[0] not in MEDIA_TYPES:  # nothing else is an image that cannot run anything
            raise KeyError(sha256)
        return Response(
            found[1], media_type=MEDIA_TYPES[found[0]], headers={"Cache-Control": "private, max-age=3600, immutable"}
        )


class RunDesk:
    """Answers about a training run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.static = static

    def pages(self) -> Answers:
        """What can be asked for by path."""
        return {"/": self.page, "/api/run": self.overview, "/api/metrics": self.metrics, "/api/samples": self.samples}

    def page(self, request: Request) -> Response:
        return page("run.html", name=self._run.name, root="/static/")

    def overview(self, request: Request) -> Response:
        return _json(self._run.overview())

    def metrics(self, request: Request) -> Response:
        return _json(self._run.metrics(_number(request.query_params, "from")))

    def samples(self, request: Request) -> Response:
        return _json(self._run.samples())


def _number(asked: Any, name: str) -> int:
    return _whole(asked.get(name, "0"))


def _whole(value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) < 12):
        raise KeyError(value[:20])
    return int(value)


def _block(block: bytes, reached: int, following: int | None) -> Response:
    from starlette.responses import Response

    headers = {
        "Cache-Control": "no-store",
        "X-Mmpr-Reached": str(reached),
        "X-Mmpr-Next": "" if following is None else str(following),
    }
    return Response(block, media_type="application/octet-stream", headers=headers)


def _json(data: Any) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(data, headers={"Cache-Control": "no-store"})


def shown(request: Request, error: Exception) -> Response:
    """An error of ours, as text."""
    from starlette.responses import PlainTextResponse

    return PlainTextResponse(str(error), 500)


def missing(request: Request, error: Exception) -> Response:
    """What is not there."""
    from starlette.responses import PlainTextResponse

    return PlainTextResponse("There is no such thing here.", 404)
