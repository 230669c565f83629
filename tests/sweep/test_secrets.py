"""No credential of the environment reaches a file, a process argument or a message."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml
from ctrl_c import started_xlt

from xlt.sweep.cli.main import main

CANARY = "canary-7f3a"
SECRETS = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_API_KEY", "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN", "MLFLOW_TRACKING_PASSWORD", "WANDB_API_KEY",
)  # fmt: skip
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
FAILING = "overrides=[{match: {pattern: ja8}, learning_rate: 1.0e+30}]"
"""The loss of these trials is infinite, so their error.json is read, too."""


@pytest.fixture
def canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, CANARY)
    for name in PROXIES:
        monkeypatch.setenv(name, f"http://user:{CANARY}@127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder of all temporary files; its path is short, because Ray's sockets allow 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="xlt-") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


@pytest.mark.ray
@pytest.mark.usefixtures("canaries")
def test_tune_gives_its_workers_no_credentials() -> None:
    """Ray writes the runtime environment of a worker into a log that everybody may read."""
    from ray.tune.execution.class_cache import _ActorClassCache

    import xlt.sweep.on_ray.tune  # noqa: F401  replaces what Tune passes on

    class Trainable:
        pass

    options = _ActorClassCache().get(Trainable)._default_options
    assert options["runtime_env"]["env_vars"] == {"PL_DISABLE_FORK": "1"}


@pytest.mark.ray
@pytest.mark.attack
@pytest.mark.usefixtures("canaries")
def test_a_run_writes_no_credentials(
    experiment_file: Path, scratch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A finished trial of two processes and a failed one, with checkpoints after each step."""
    values = yaml.safe_load(experiment_file.read_text())
    llama, *_ = values["models"]
    values |= {"models": [{**llama, "resources": {"workers": 2}}], "seeds": [0]}
    file, root = tmp_path / "tiny.yaml", tmp_path / "results"
    file.write_text(yaml.safe_dump(values))
    arguments = set()
    settings = ("--set", FAILING, "--set", "storage.checkpoint_minutes=0")
    with started_xlt("run", str(file), "--results", str(root), *settings) as process:
        while process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    arguments.add(" ".join(child.cmdline()))
            time.sleep(0.2)
        printed = "".join(process.communicate())
    assert process.returncode == 1, printed
    assert len(list(root.glob("trials/*/trial.json"))) == 1
    assert len(list(root.glob("trials/*/error.json"))) == 1
    page = tmp_path / "page.html"
    assert main(["report", str(root), "--format", "html", "--out", str(page)]) == 0
    files = [p for f in (scratch, root, page.parent) for p in f.rglob("*") if p.is_file()]
    assert any(path.name == "runtime_env_agent.log" for path in files)
    leaks = [str(path) for path in files if CANARY.encode() in path.read_bytes()]
    leaks += [text for text in arguments if CANARY in text]
    assert not leaks
    assert any(text.startswith("ray::") for text in arguments)
    assert CANARY not in printed + "".join(capsys.readouterr())
