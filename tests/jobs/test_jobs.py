"""The recipes in jobs/ and docker/: their settings load, their manifests hold together, their scripts run."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.training.settings import load_train_config
from tests.pipeline.made import make_source
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
JOBS = ROOT / "jobs"
BIN = Path(sys.executable).parent
MANIFESTS = ["kuberay-build.yaml", "kuberay-train.yaml"]
LOADERS = {"build": load_config, "train": load_train_config}


def documents(name: str) -> dict[str, Any]:
    return {found["kind"]: found for found in yaml.safe_load_all((JOBS / name).read_text())}


def locked(package: str) -> str:
    lock = (ROOT / "requirements" / "cpu.lock").read_text()
    return re.findall(rf"^{package}==(\S+)", lock, re.MULTILINE)[0]


@pytest.mark.parametrize("what", ["build", "train"])
def test_settings_files_load_and_are_meant_for_a_cluster(what: str) -> None:
    settings = LOADERS[what](JOBS / f"{what}.yaml", {})
    assert (settings.address if what == "build" else settings.launch.address) == "auto"  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_rayjob_holds_together(name: str, tmp_path: Path) -> None:
    found = documents(name)
    job = found["RayJob"]
    assert job["apiVersion"] == "ray.io/v1"
    spec = job["spec"]
    what, path, *_ = re.fullmatch(r"mmpr (build|train) /etc/mmpr/(\S+)( --resume)?", spec["entrypoint"]).groups()  # type: ignore[union-attr]
    (tmp_path / path).write_text(found["ConfigMap"]["data"][path])
    LOADERS[what](tmp_path / path, {})
    cluster = spec["rayClusterSpec"]
    assert cluster["rayVersion"] == locked("ray")
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["settings"]["configMap"]["name"] == found["ConfigMap"]["metadata"]["name"]
        [container] = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
        assert container["resources"]["limits"].keys() >= {"cpu", "memory"}
    [workers] = cluster["workerGroupSpecs"]
    assert 0 <= workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]


def test_the_object_store_of_a_build_fits_its_shared_memory_and_caches_outlive_pods() -> None:
    """Ray puts a store that is larger than /dev/shm on disk, and says so only in a log."""
    found = documents("kuberay-build.yaml")
    cluster = found["RayJob"]["spec"]["rayClusterSpec"]
    [workers] = cluster["workerGroupSpecs"]
    for group in (cluster["headGroupSpec"], workers):
        volumes = {volume["name"]: volume for volume in group["template"]["spec"]["volumes"]}
        shm = int(volumes["shm"]["emptyDir"]["sizeLimit"].removesuffix("Gi")) * 2**30
        assert int(group["rayStartParams"]["object-store-memory"]) < 0.95 * shm
        claim = volumes["cache"]["persistentVolumeClaim"]["claimName"]
        assert claim == found["PersistentVolumeClaim"]["metadata"]["name"]
        [container] = group["template"]["spec"]["containers"]
        cached = {each["name"] for each in container["env"] if each.get("value", "").startswith("/cache")}
        assert cached == {"HF_HOME", "VLLM_CACHE_ROOT"}
    engine = yaml.safe_load(found["ConfigMap"]["data"]["build.yaml"])["engine"]
    assert workers["minReplicas"] > 0 or engine["node_wait_seconds"] > 0, "from zero, someone must wait for a node"


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_gpus_of_a_rayjob_are_those_that_its_settings_ask_for(name: str) -> None:
    found = documents(name)
    [workers] = found["RayJob"]["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    [container] = workers["template"]["spec"]["containers"]
    gpus = int(container["resources"]["limits"]["nvidia.com/gpu"]) * workers["maxReplicas"]
    [settings] = (yaml.safe_load(text) for text in found["ConfigMap"]["data"].values())
    wanted = settings["engine"]["actors"] if "engine" in settings else settings["launch"]["workers"]
    assert gpus == wanted


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_rayjob_lets_nobody_in_without_its_token(name: str) -> None:
    """The operator sets RAY_AUTH_MODE and the token in every pod, the one that submits the job included."""
    cluster = documents(name)["RayJob"]["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert tuple(map(int, cluster["rayVersion"].split("."))) >= (2, 52, 0)


@pytest.mark.skipif("MMPR_RAYJOB_CRD" not in os.environ, reason="KubeRay's CRD file is not given")
@pytest.mark.parametrize("name", MANIFESTS)
def test_a_rayjob_is_valid_by_kuberays_own_schema_and_holds_no_unknown_field(name: str) -> None:
    import jsonschema

    crd = yaml.safe_load(Path(os.environ["MMPR_RAYJOB_CRD"]).read_text())
    [schema] = [v["schema"]["openAPIV3Schema"] for v in crd["spec"]["versions"] if v["name"] == "v1"]
    close(schema)
    schema["properties"]["metadata"].pop("additionalProperties", None)
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(documents(name)["RayJob"]))
    assert [f"{error.json_path}: {error.message[:200]}" for error in errors] == []


def close(schema: Any) -> None:
    """Refuse unknown fields, which a cluster would drop without a word."""
    if isinstance(schema, dict):
        if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
            schema.setdefault("additionalProperties", bool(schema.get("x-kubernetes-preserve-unknown-fields")))
        for part in schema.values():
            close(part)
    elif isinstance(schema, list):
        for part in schema:
            close(part)


@pytest.mark.parametrize("name", ["Dockerfile.cpu", "Dockerfile.gpu"])
def test_an_image_is_pinned_small_and_not_roots(name: str) -> None:
    text = (ROOT / "docker" / name).read_text()
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    assert len(stages) == 2, "what builds is left behind"
    assert all(re.match(r"python:\d+\.\d+\.\d+-slim", stage) for stage in stages)
    last = stages[-1]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert "--no-install-recommends" in last
    assert "rm -rf /var/lib/apt/lists" in last
    assert "pip install" not in last
    for source in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        for path in source.split()[:-1]:
            assert (ROOT / path).exists(), path
            kept = (ROOT / ".dockerignore").read_text().splitlines()
            assert f"!{path.split('/')[0]}" in kept, f"{path} is not sent to the builder"


@pytest.mark.parametrize("name", ["Dockerfile.cpu", "Dockerfile.gpu"])
def test_hadolint_has_nothing_to_say(name: str) -> None:
    linter = shutil.which("hadolint") or shutil.which("hadolint", path=str(BIN))
    if not linter:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([linter, str(ROOT / "docker" / name)], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""


def scripted(tmp_path: Path) -> tuple[Path, Path]:
    """Settings of a small build on the cluster that runs, and its output."""
    source = make_source(tmp_path / "source", questions=12, open_ended=2)
    out, config = tmp_path / "out", tmp_path / "build.yaml"
    engine = {"name": "scripted", "actors": 2}
    settings = {"sources": [str(source)], "out": str(out), "shards": 3, "address": "auto", "engine": engine}
    config.write_text(yaml.safe_dump(settings))
    return config, out


def node_address() -> str:
    """This machine as Ray's nodes on it know each other."""
    import ray.util

    return str(ray.util.get_node_ip_address())


def shim(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\n{body}\n")
    path.chmod(0o755)


def slurm(folder: Path, nodes: int = 1) -> dict[str, str]:
    """What a job of Slurm finds in its environment, on `nodes` nodes that are all this machine: Ray's are real. Slurm's
    commands lie in `folder`/bin: they run their command here, and what they are asked is in `folder`/log."""
    (folder / "bin").mkdir(exist_ok=True)
    # Who reads only the first name is gone when the next one comes.
    names = "; sleep 1; ".join(f"echo node-{number}" for number in range(nodes))
    shim(folder / "bin", "scontrol", f'echo "scontrol $*" >>"$SHIM_LOG"; [[ $1 == requeue ]] || {{ {names}; }}')
    shim(
        folder / "bin",
        "srun",
        'while [[ $1 == --* ]]; do shift; done; echo "$@" >>"$SHIM_LOG"\n'
        "[[ $1 == hostname ]] && { echo $NODE_IP 10.0.0.1; exit; }\n"
        'ray=$1; shift; exec "$ray" "$@" --num-cpus 4 $([[ $1$2 == start--head ]] && echo --include-dashboard=false)',
    )
    return {
        "PATH": f"{folder / 'bin'}:{BIN}:{os.environ['PATH']}", "SLURM_JOB_NUM_NODES": str(nodes), "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "node-[0-9]", "RAY_PORT": str(free_port()), "SHIM_LOG": str(folder / "log"),
        "NODE_IP": node_address(), "RAY_HEAD_SECONDS": "5",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.campaign
def test_the_slurm_script_builds_on_a_cluster_of_two_nodes(tmp_path: Path) -> None:
    """(`make test` trains by the script, on two nodes: test_slurm_training.py.)"""
    config, out = scripted(tmp_path)
    job = subprocess.Popen(
        ["bash", str(JOBS / "slurm.sh"), "build", str(config)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **slurm(tmp_path, nodes=2)},
        start_new_session=True,
    )  # fmt: skip
    try:
        said = job.communicate(timeout=240)[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGTERM)
    assert job.returncode == 0, said[-3000:]
    assert (out / "summary.json").exists()


@pytest.mark.parametrize(("what", "again"), [("build", ""), ("train", " --resume")])
def test_a_submission_takes_the_settings_and_nothing_else_along(what: str, again: str, tmp_path: Path) -> None:
    shim(tmp_path, "ray", 'echo "$*"; ls -A "$6"; cat "$6"/*')
    (tmp_path / "mine.yaml").write_text("out: here\n")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "RAY_ADDRESS": "http://head:8265"}
    command = ["bash", str(JOBS / "ray-job.sh"), what, str(tmp_path / "mine.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    submitted, *files = done.stdout.splitlines()
    wanted = rf"job submit --address http://head:8265 --working-dir (\S+) -- mmpr {what} settings\.yaml{again}"
    found = re.fullmatch(wanted, submitted)
    assert found, submitted
    assert files == ["settings.yaml", "out: here"]
    assert not Path(found[1]).exists()


@pytest.mark.slow
@pytest.mark.campaign
def test_a_job_that_is_submitted_builds(tmp_path: Path) -> None:
    folder = tempfile.mkdtemp(prefix="mmpr-", dir="/tmp")  # Ray's sockets need a short path
    port, dashboard = free_port(), free_port()
    ray = str(BIN / "ray")
    head = subprocess.Popen(
        [ray, "start", "--head", "--block", f"--port={port}", f"--dashboard-port={dashboard}", "--num-cpus=3",
         f"--dashboard-agent-listen-port={free_port()}",  # it takes the jobs; another Ray of this machine has the usual
         "--include-dashboard=true", "--disable-usage-stats", f"--temp-dir={folder}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "RAY_AUTH_MODE": "disabled", "PATH": f"{BIN}:{os.environ['PATH']}"},
    )  # fmt: skip
    try:
        wait_for_port(dashboard, head)
        config, out = scripted(tmp_path)
        environment = {
            **os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "RAY_ADDRESS": f"http://127.0.0.1:{dashboard}",
            "RAY_AUTH_MODE": "disabled",
        }  # fmt: skip
        for _ in range(20):  # the agent that takes jobs comes up after the dashboard
            done = subprocess.run(
                ["bash", str(JOBS / "ray-job.sh"), "build", str(config)],
                capture_output=True, text=True, timeout=240, env=environment, check=False,
            )  # fmt: skip
            if "No available agent" not in done.stdout + done.stderr:
                break
            time.sleep(3)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert (out / "summary.json").exists()
    finally:
        head.terminate()
        head.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_port(port: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.5)
    raise AssertionError("Ray's dashboard does not come up")


@pytest.mark.parametrize("words", [[], ["paint", "x.yaml"], ["build", "nowhere.yaml"]])
def test_a_wrong_submission_stops_before_anything_is_sent(words: list[str]) -> None:
    environment = {"PATH": os.environ["PATH"], "RAY_ADDRESS": "http://127.0.0.1:1"}
    done = subprocess.run(["bash", str(JOBS / "ray-job.sh"), *words], capture_output=True, env=environment, check=False)
    assert done.returncode != 0
    assert done.stderr
