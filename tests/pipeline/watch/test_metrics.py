"""Metrics as Prometheus reads them from a node of a real cluster, and the dashboard that draws them."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.engines.actors import metrics
from tests.cluster.sessions import local_ray
from tests.pipeline.made import make_source
from tests.pipeline.workers.test_shards_on_ray import build

DASHBOARD = Path(__file__).parents[3] / "jobs" / "grafana-mmpr.json"


def exported() -> set[str]:
    """Names under which Ray's exporter shows our metrics."""
    counters = {f"ray_{name}_total" for name in metrics.COUNTERS}
    return counters | {f"ray_{name}" for name in metrics.GAUGES}


def queries(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel.get("targets", [])]


def test_the_dashboard_draws_metrics_that_exist_and_all_of_ours() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    named = {name for panel in panels for expr in queries(panel) for name in re.findall(r"ray_\w+", expr)}
    assert named <= exported(), "a panel names a metric that nobody tells"
    assert exported() <= named, "a metric is told that no panel shows"
    assert all(queries(panel) and panel["title"] for panel in panels)
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels]
    assert len(set(places)) == len(places)


def scraped(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, OSError):
        return ""


def value(text: str, name: str, **tags: str) -> float:
    """Sum of a metric's samples that have these tags."""
    found = 0.0
    for line in text.splitlines():
        if line.startswith(f"{name}{{") and all(f'{k}="{v}"' in line for k, v in tags.items()):
            found += float(line.rsplit(" ", 1)[1])
    return found


@pytest.mark.slow
@pytest.mark.campaign
def test_prometheus_reads_a_builds_metrics(tmp_path: Path) -> None:
    import ray

    with local_ray(3, _system_config={"metrics_report_interval_ms": 500}):
        [port] = [node["MetricsExportPort"] for node in ray.nodes()]
        source = make_source(tmp_path / "source", questions=36, open_ended=2)
        script = {"latency": 0.4, "fail_on": ["q1"]}
        text = ""

        class Scraper:
            def stage(self, text: str, done: int = 0, of: int = 0, /) -> None: ...
            def planned(self, plan: Any, missing: int) -> None: ...
            def progress(self, finished: int, tally: dict[str, int]) -> None:
                nonlocal text
                if tally.get("questions", 0) > 20:
                    time.sleep(1.5)  # the exporter is told every half second
                    text = scraped(port) or text

        build(source, tmp_path / "out", Scraper(), **{"engine.actors": 1, "engine.script": script, "in_flight": 1})
        assert text, "the node exports no metrics"
        only_of_vllm = re.compile("sequence_seconds|capacity_seconds|preemptions|prompt_tokens|cached_tokens")
        assert {name for name in exported() if name not in text and not only_of_vllm.search(name)} == set()
        assert value(text, "ray_mmpr_questions_total", status="paired") > 5
        assert value(text, "ray_mmpr_rejects_total", reason="prompt_too_long") == 1
        assert value(text, "ray_mmpr_engine_busy_seconds_total", engine="scripted") > 1
