"""Tiny checkpoints of the three architectures, with real tokenizers, and a learnable data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pyarrow.parquet as pq
import pytest
import yaml
from chromium import CHROMIUM
from tiny_data import (
    make_dataset,
    save_tiny_base,
)

from xlt.data.dataset.schema import Dataset
from xlt.sweep.experiment.experiment import Experiment, load_experiment
from xlt.trainables.spec.trial_spec import TrialSpec

# Machines that run tests are busy: time says nothing about a property. No files beside the code.
hypothesis.settings.register_profile("xlt", deadline=None, database=None)
hypothesis.settings.load_profile("xlt")


@pytest.fixture(scope="session")
def tiny_dataset() -> Dataset:
    return make_dataset()


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Dataset) -> Any:
    """A function: architecture -> folder of a random 2-layer checkpoint with its tokenizer."""
    texts = tiny_dataset.table["text"].to_pylist()
    made: dict[str, Path] = {}

    def base(architecture: str) -> Path:
        if architecture not in made:
            folder = tmp_path_factory.mktemp(architecture)
            save_tiny_base(architecture, texts, folder)
            made[architecture] = folder
        return made[architecture]

    return base


@pytest.fixture(scope="session")
def make_spec(tiny_base: Callable[[str], Path], tiny_dataset: Dataset) -> Any:
    """A function: architecture, **changes -> TrialSpec on the tiny data and checkpoints."""

    def spec(architecture: str = "llama", **changes: Any) -> TrialSpec:
        values: dict[str, Any] = {
            "base_model": f"tiny-{architecture}",
            "base_identity": f"test:{architecture}",
            "base_path": str(tiny_base(architecture)),
            "method": "full" if architecture == "bert" else "lora",
            "source_lang": "en",
            "pattern": {"name": "ja8", "target_lang": "ja", "target_rows": 8, "source_rows": 24},
            "sampling": {"test_rows": 20},
            "training": {"num_train_epochs": 2, "batch_size": 8},
            "learning_rate": 5e-3,
            "seed": 0,
            "data_fingerprint": tiny_dataset.fingerprint,
        }
        return TrialSpec.parse(values | changes)

    return spec


@pytest.fixture(scope="session")
def make_prompt(make_spec: Callable[..., TrialSpec]) -> Any:
    """A function: architecture, number of shots, settings of prompts, **changes -> TrialSpec."""
    from tiny_prompts import PROMPT, few  # imports torch

    def make(architecture: str = "llama", shots: int = 4, **changes: Any) -> TrialSpec:
        settings = PROMPT | changes.pop("prompt", {})
        fields = {"method": "prompt", "learning_rate": None, "pattern": few(shots)}
        return make_spec(architecture, **fields, prompt=settings, **changes)

    return make


@pytest.fixture(scope="session")
def experiment_file(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_base: Callable[[str], Path],
    tiny_dataset: Dataset,
) -> Path:
    folder = tmp_path_factory.mktemp("experiment")
    pq.write_table(tiny_dataset.table, folder / "data.parquet")

    def model(name: str, **fields: object) -> dict[str, object]:
        return {"name": name, "path": str(tiny_base(name)), "learning_rate": 0.01, **fields}

    values = {
        "name": "tiny",
        "task": {"positive": "news"},
        "data": {
            "source": "table", "path": str(folder / "data.parquet"), "positive": ["1"],
            "columns": {"id": "id", "published": "published"},
        },
        "models": [
            model("llama", method="lora"),
            model("gpt_neox", method="lora", languages=["ja"]),
            model("bert", method="full"),
        ],
        "patterns": [{"ja0": {"source_rows": 24}}, {"ja8": {"source_rows": 24}}],
        "seeds": [0, 1],
        "sampling": {"test_rows": 20},
        "training": {"num_train_epochs": 1, "batch_size": 8},
    }  # fmt: skip
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    return file


@pytest.fixture
def small(experiment_file: Path, tmp_path: Path) -> Experiment:
    """That experiment with one seed, its results in the test's own folder."""
    return load_experiment(experiment_file, ["seeds=[0]", f"storage.results={tmp_path / 'r'}"])


@pytest.fixture(scope="session")
def fork_server() -> Iterator[dict[str, str]]:
    """Environment variables with which the workers of a Ray are forks; none where forks fail.

    One process imports torch for the clusters of all modules, not each worker of each run.
    """
    from xlt.sweep.on_ray.local.forking import forked_workers
    from xlt.sweep.on_ray.local.launcher import VARIABLE

    with forked_workers():
        variables = {VARIABLE: os.environ.pop(VARIABLE)} if VARIABLE in os.environ else {}
        yield variables
        os.environ.update(variables)


@pytest.fixture(scope="module")
def ray_address(fork_server: dict[str, str]) -> Iterator[str]:
    """A cluster of this module's own, started in process as a run starts it."""
    import ray

    import xlt.sweep.on_ray  # noqa: F401  sets what Ray reads at import
    from xlt.sweep.on_ray.local.own_node import own_node

    with pytest.MonkeyPatch.context() as patch:
        for name, value in fork_server.items():
            patch.setenv(name, value)
        with own_node():
            context = ray.init(
                address="local",
                num_cpus=2,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
            )
        yield context.address_info["address"]
        ray.shutdown()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No hub for ``datasets``, and no trace in its cache."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()  # of the tests' own writers
    yield
    datasets.enable_progress_bars()
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_base: Callable[[str], Path]
) -> Iterator[Any]:
    """A hub with tiny checkpoints, and an empty cache."""
    from hub_server import Hub, serve_hub
    from huggingface_hub import constants

    for name in ("llama", "bert"):
        assert (tiny_base(name) / "model.safetensors").is_file()
    served = {"org/llama": tiny_base("llama"), "org/bert": tiny_base("bert")}
    with serve_hub(Hub(served)) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE",
            hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        )  # fmt: skip
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        # transformers keeps its client of the hub, with the address of an earlier test's hub.
        monkeypatch.setattr("transformers.utils.hub._hf_api", None)
        yield hub


@pytest.fixture
def sib200(tmp_path: Path) -> Path:
    from hub_folders import write_sib200

    return write_sib200(tmp_path / "sib200")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The machine's Chromium; for tests with ``needs_chromium``."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def unpacked_four_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four bits as every processor computes them.

    bitsandbytes 0.50 packs the weights of a classifier in eval mode anew where the processor has
    AVX512-BF16, and fails on layers as narrow as those of tiny checkpoints.
    """
    modules = pytest.importorskip("bitsandbytes.nn.modules")
    monkeypatch.setattr(modules, "has_avx512bf16", lambda: False)
