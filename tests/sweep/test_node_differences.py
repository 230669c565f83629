"""Nodes with other code, versions or packages than the driver are refused, each with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import RayError

from xlt.data.core.errors import InputError
from xlt.sweep.on_ray import node_differences
from xlt.sweep.on_ray.connection import describe_connection_error
from xlt.sweep.on_ray.node_differences import find_needs, list_differences, refuse_different_nodes
from xlt.trainables.models.tokenizer_files import TOKENIZER_CONFIG
from xlt.trainables.spec.trial_spec import TrialSpec

HERE: dict[str, Any] = {
    "python": "3.11.9",
    "versions": {"torch": "2.9.0+cpu", "transformers": "4.57.1"},
    "missing": [],
    "error": "",
    "folder": "/here/xlt",
    "digest": "1",
}
NEEDS = {"bitsandbytes": "which lora.quantize_base needs; run pip install it on every node"}
THE_SAME = "in this process; run pip install transformers==4.57.1 on every node"


def versions(**changes: str) -> dict[str, Any]:
    return {"versions": HERE["versions"] | changes}


@pytest.mark.parametrize(
    ("there", "sentences"),
    [
        ({}, []),
        ({"python": "3.11.2"}, []),
        (versions(torch="2.9.0+cu128"), []),
        (
            {"python": "3.12.1"},
            [
                "Python is 3.12.1 on n1 and 3.11.9 in this process; install Python 3.11 on every "
                "node"
            ],
        ),
        (
            versions(transformers="4.56.0"),
            [f"transformers is 4.56.0 on n1 and 4.57.1 {THE_SAME}"],
        ),
        (
            versions(transformers="") | {"error": "no {transformers}"},
            [
                f"transformers is missing on n1 and 4.57.1 {THE_SAME}",
                "workers on n1 cannot import xlt: no {transformers}; install it on every node, or "
                "rename the file that hides a package",
            ],
        ),
        (
            {"missing": ["bitsandbytes"]},
            [f"bitsandbytes is missing on n1, {NEEDS['bitsandbytes']}"],
        ),
        (
            {"digest": "2", "folder": "/there/xlt"},
            [
                "workers on n1 import other code of xlt, from /there/xlt, than this process, from "
                "/here/xlt; install the same version on every node, or use `xlt submit`, which "
                "sends the code along"
            ],
        ),
    ],
)
def test_each_difference_is_one_sentence(there: dict[str, Any], sentences: list[str]) -> None:
    assert list_differences(HERE, [("n1", HERE | there)], NEEDS) == sentences


def test_nodes_with_the_same_difference_share_a_sentence() -> None:
    other = HERE | versions(transformers="4.56.0")
    answers = [("n1", other), ("n2", HERE), ("n3", other), ("n4", RayError("gone\nrest"))]
    first, second = list_differences(HERE, answers, NEEDS)
    assert first.startswith("transformers is 4.56.0 on n1, n3 and 4.57.1 in this process")
    assert second.startswith("workers on n4 give no answer: gone; see raylet.out of Ray's logs in ")


def test_nodes_need_the_optional_packages_of_the_trials_alone(
    make_spec: Callable[..., TrialSpec], tmp_path: Path
) -> None:
    assert find_needs([make_spec("llama"), make_spec("bert")]) == {}
    (tmp_path / TOKENIZER_CONFIG).write_text('{"word_tokenizer_type": "mecab"}')
    words = make_spec("bert").model_copy(
        update={"base_path": str(tmp_path), "base_identity": "words", "base_model": "waseda"}
    )
    needs = find_needs([words, make_spec("llama", lora={"quantize_base": "nf4"})])
    assert list(needs) == ["fugashi", "unidic_lite", "bitsandbytes"]
    assert needs["fugashi"] == (
        "which the tokenizer of 'waseda' needs; run pip install 'xlt-sweep[words]' on every node"
    )


def test_a_cluster_with_other_versions_is_named_as_that() -> None:
    error = (
        "Version mismatch: The cluster was started with:\n    Ray: 2.50.0\n    Python: 3.10.4\n"
        "This process on node 10.0.0.1 was started with:\n    Ray: 2.60.0\n    Python: 3.11.9\n"
    )
    assert describe_connection_error("10.0.0.1:6379", error).startswith(
        "the cluster at 10.0.0.1:6379 runs Ray 2.50.0 on Python 3.10.4, and this process runs Ray "
        "2.60.0 on Python 3.11.9; install the same versions"
    )


@pytest.mark.ray
def test_real_nodes_are_compared(
    ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_different_nodes([])
    (tmp_path / "xlt" / "data").mkdir(parents=True)
    (tmp_path / "xlt" / "data" / "schema.py").write_text("COLUMNS = ()\n")
    monkeypatch.setattr(node_differences.xlt, "__file__", str(tmp_path / "xlt" / "__init__.py"))
    with pytest.raises(InputError) as caught:
        refuse_different_nodes([], {"no_such_module": "why; how"})
    missing, code = caught.value.problems
    assert missing.startswith("no_such_module is missing on ") and missing.endswith(", why; how")
    assert "import other code of xlt, from " in code and "xlt submit" in code
