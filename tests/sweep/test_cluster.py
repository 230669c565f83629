"""Launch files of clusters hold the experiment, and their launchers accept them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from repository import ROOT

from xlt.data.core.errors import InputError
from xlt.sweep.cli.main import main
from xlt.sweep.cluster import TEMPLATES, fill_launch_file
from xlt.sweep.cluster.settings import Machines
from xlt.sweep.experiment.experiment import Experiment, load_experiment

NEEDED: dict[str, dict[str, str]] = {
    "slurm": {},
    "kuberay": {"image": "registry/xlt:1"},
    "aws": {"image": "registry/xlt:1"},
    "skypilot": {"image": "registry/xlt:1"},
}
STORE = "s3://bucket/xlt"


def filled(kind: str, experiment: str = "paper", **more: Any) -> str:
    values = {"results": STORE, "machines": Machines(nodes=4, gpus_per_node=2)} | more
    values["options"] = NEEDED[kind] | values.get("options", {})
    return fill_launch_file(kind, experiment, **values)


def ray_job(**more: Any) -> dict[str, Any]:
    _, job = yaml.safe_load_all(filled("kuberay", **more))
    resource: dict[str, Any] = job
    return resource


@pytest.mark.parametrize("kind", TEMPLATES)
def test_every_kind_has_token_ports_and_no_statistics(kind: str) -> None:
    text = filled(kind)
    assert "RAY_USAGE_STATS_ENABLED" in text
    assert "10002" in text and "19999" in text
    assert re.search(r"(mode|RAY_AUTH_MODE)(: |=)token", text)
    assert "RAY_AUTH_TOKEN=" not in text  # it would show in lists of processes


@pytest.mark.parametrize("kind", TEMPLATES)
def test_results_that_nodes_do_not_share_are_refused(kind: str) -> None:
    if kind == "slurm":  # its nodes share folders
        assert f"--results {Path('there').absolute()} " in filled(kind, results="there")
        return
    with pytest.raises(InputError, match="would lie on one node's own disk; give --results s3"):
        filled(kind, results="results")
    with pytest.raises(InputError, match="would lie on one node's own disk"):
        filled(kind, results="file:///results")


@pytest.mark.parametrize("kind", TEMPLATES)
def test_trials_that_never_fit_are_refused(kind: str) -> None:
    with pytest.raises(InputError, match=r"elyza: a trial needs 9 x \(1 CPUs, 1 GPU\), 4 nodes"):
        filled(kind, settings=["resources.workers=9"])
    with pytest.raises(InputError, match=r"with 2 CPUs and 1 GPUs hold 0 of these"):
        filled(kind, settings=["resources.cpus=4"], machines=Machines(nodes=1, cpus_per_node=2))


def test_a_node_has_the_cores_that_the_trials_on_its_gpus_request() -> None:
    assert "--cpus-per-task=2\n" in filled("slurm")
    shared = ["resources.gpus=0.25", "resources.cpus=3"]
    assert "--cpus-per-task=24\n" in filled("slurm", settings=shared)
    no_gpus = Machines(gpus_per_node=0)
    text = filled("slurm", settings=["resources.cpus=3"], machines=no_gpus)
    assert "--cpus-per-task=3\n" in text
    assert "--gres" not in text


def test_slurm_file_is_bash_with_every_directive_before_the_first_command(tmp_path: Path) -> None:
    odd = tmp_path / "it's $HOME.yaml"
    odd.write_text("{name: odd, models: [mini-mbert], patterns: [ja0], seeds: [0]}")
    text = filled(
        "slurm", str(odd), settings=["title=a 'b' $(c)"], options={"time": "1-00:30:00"},
    )  # fmt: skip
    (tmp_path / "job").write_text(text)
    subprocess.run(["bash", "-n", str(tmp_path / "job")], check=True)
    head, _, body = text.partition("\nset ")
    assert "#SBATCH" not in body
    assert "#SBATCH --time=1-00:30:00" in head
    line = next(line for line in body.splitlines() if "attend xlt run" in line)
    # What bash makes of the line is what was given, quotes and dollars included.
    said = subprocess.run(
        ["bash", "-c", f"attend() {{ printf '%s\\0' \"$@\"; }}; {line}"],
        capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    assert said[:7] == ["xlt", "run", str(odd), "--set", "title=a 'b' $(c)", "--results", STORE]


def test_all_wrong_options_are_named_in_one_error() -> None:
    with pytest.raises(InputError) as caught:
        fill_launch_file(
            "kuberay", "paper", machines=Machines(), options={"imag": "x"}, results=STORE
        )
    assert "image: is required" in str(caught.value)
    assert "Did you mean 'image'? Known: claim, " in str(caught.value)
    with pytest.raises(InputError, match=r"unknown kind of cluster 'slrm'\. Did you mean 'slurm'"):
        fill_launch_file("slrm", "paper", machines=Machines(), options={})
    for bad in ("gpu; rm -rf /", "gpu\n#SBATCH --uid=0", "$(id)", ""):
        with pytest.raises(InputError, match="partition"):
            filled("slurm", options={"partition": bad})


def test_the_command_prints_the_file_alone(capsys: pytest.CaptureFixture[str]) -> None:
    words = "--nodes 4 --gpus-per-node 2 --image registry/xlt:1 --results s3://bucket/xlt"
    assert main(["cluster", "template", "kuberay", "paper", *words.split()]) == 0
    captured = capsys.readouterr()
    assert captured.out == filled("kuberay")
    assert captured.err == "Start it with: kubectl apply -f FILE\n"
    assert main(["cluster", "template", "slurm", "paper", "--option", "time"]) == 2
    assert "--option 'time' is not key=value" in capsys.readouterr().err


def test_a_kuberay_file_holds_the_experiment_and_does_not_run_as_root() -> None:
    settings = ["training.num_train_epochs=3"]
    config, job = yaml.safe_load_all(filled("kuberay", settings=settings))
    carried = Experiment.from_yaml(config["data"]["experiment.yaml"], "carried")
    assert carried == load_experiment("paper", settings)
    assert f"--results {STORE} --address auto" in config["data"]["launch.sh"]
    spec = job["spec"]
    cluster = spec["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    pods = [spec["submitterPodTemplate"], cluster["headGroupSpec"]["template"], group["template"]]
    for pod in (template["spec"] for template in pods):
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert [pod["spec"]["automountServiceAccountToken"] for pod in pods] == [False, True, False]
    assert cluster["authOptions"] == {"mode": "token", "secretName": "xlt-ray-token"}
    assert cluster["enableInTreeAutoscaling"] is True
    assert (group["minReplicas"], group["maxReplicas"]) == (1, 4)
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "2", "nvidia.com/gpu": "2"}


def test_kuberay_starts_enough_nodes_for_the_largest_trial() -> None:
    settings = ["resources.workers=5"]
    config, job = yaml.safe_load_all(filled("kuberay", settings=settings))
    assert job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["minReplicas"] == 3
    assert "cluster wait --address auto --nodes 4 " in config["data"]["launch.sh"]


def test_kuberay_keeps_results_and_base_models_on_a_volume() -> None:
    options = {"claim": "disk"}
    job = ray_job(results="/mnt/xlt/results", options=options)
    pod = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert {"name": "shared", "persistentVolumeClaim": {"claimName": "disk"}} in pod["volumes"]
    assert {"name": "HF_HOME", "value": "/mnt/xlt/huggingface"} in pod["containers"][0]["env"]
    with pytest.raises(InputError, match="--results /mnt/xlt/"):
        ray_job(results="/elsewhere", options=options)


def test_a_queue_admits_the_whole_job() -> None:
    """Kueue manages the pods that a job has at its start, so their number is fixed."""
    job = ray_job(options={"queue": "team"})
    assert job["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "team"}
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["enableInTreeAutoscaling"] is False and "autoscalerOptions" not in cluster
    (group,) = cluster["workerGroupSpecs"]
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"] == 4
    head = cluster["headGroupSpec"]["template"]["spec"]
    assert head["automountServiceAccountToken"] is False

    job = ray_job(options={"queue": "team", "queue_of": "volcano"})
    labels = {"ray.io/scheduler-name": "volcano", "volcano.sh/queue-name": "team"}
    assert job["metadata"]["labels"] == labels
    assert job["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"] is True
    with pytest.raises(InputError, match=r"queue: .*pattern"):
        ray_job(options={"queue": "Team A"})
    with pytest.raises(InputError, match=r"queue_of: .*'kueue' or 'volcano'"):
        ray_job(options={"queue": "team", "queue_of": "slurm"})


@pytest.mark.skipif(
    "RAYJOB_CRD" not in os.environ, reason="RAYJOB_CRD names no ray.io_rayjobs.yaml"
)
@pytest.mark.parametrize(
    "options",
    [{}, {"claim": "disk", "service_account": "writer"}, {"queue": "team"},
     {"queue": "team", "queue_of": "volcano"}],
)  # fmt: skip
def test_every_field_of_a_kuberay_file_is_in_its_crd(options: dict[str, str]) -> None:
    """The CRD is KubeRay's file ray-operator/config/crd/bases/ray.io_rayjobs.yaml."""
    crd = yaml.safe_load(Path(os.environ["RAYJOB_CRD"]).read_text())
    (version,) = [v for v in crd["spec"]["versions"] if v["name"] == "v1"]
    schema = _closed(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.validate(ray_job(options=options), schema)
    broken = ray_job(options=options)
    broken["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["contaners"] = []
    with pytest.raises(jsonschema.ValidationError, match="contaners"):
        jsonschema.validate(broken, schema)


def _closed(schema: Any) -> Any:
    """A CRD's schema in which unknown fields are errors; a server drops them silently."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if "properties" in schema and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


@pytest.mark.parametrize("spot", ["true", "false"])
def test_ec2_file_passes_rays_own_check(spot: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load(filled("aws", options={"spot": spot}))
    validate_config(prepare_config(config))
    kinds = config["available_node_types"]
    assert ("InstanceMarketOptions" in kinds["trials"]["node_config"]) is (spot == "true")
    assert "InstanceMarketOptions" not in kinds["head"]["node_config"]
    broken = prepare_config(config | {"max_worker": 1})
    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        validate_config(broken)


def test_an_ec2_file_names_the_command_for_its_head(tmp_path: Path) -> None:
    file = tmp_path / "my own.yaml"
    file.write_text("{name: own, models: [mini-mbert], patterns: [ja0], seeds: [0]}")
    text = filled("aws", str(file), settings=["title=a b"])
    assert yaml.safe_load(text)["file_mounts"]["/home/xlt/experiment.yaml"] == str(file)
    line = next(line for line in text.splitlines() if "ray exec FILE" in line)
    command = shlex.split(line.lstrip("# "))[3]
    assert shlex.split(command)[-8:] == [
        "run", "experiment.yaml", "--set", "title=a b", "--results", STORE, "--address", "auto",
    ]  # fmt: skip


@pytest.mark.exits
def test_the_image_passes_hadolint() -> None:
    """Warnings fail, too; `make exits` installs the linter."""
    linter = Path(sys.executable).with_name("hadolint")
    file = ROOT / "sweep/cluster/Dockerfile"
    done = subprocess.run([linter, file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    wrong = file.read_text().replace("--no-install-recommends ", "")
    done = subprocess.run([linter, "-"], input=wrong, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "DL3015" in done.stdout


def test_the_image_follows_the_lock_and_holds_every_package() -> None:
    text = (ROOT / "sweep/cluster/Dockerfile").read_text()
    top = {"xlt", "data", "trainables", "analysis", "sweep"}
    assert set(re.findall(r"^COPY (\w+) /opt/xlt/\w+$", text, re.MULTILINE)) == top
    assert "--requirement /opt/xlt/requirements.lock" in text
    assert re.search(r"^USER 1000$", text, re.MULTILINE)
