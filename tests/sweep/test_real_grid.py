"""A small grid with real checkpoints on real text: `make real`.

XLT_REAL_TEXTS names a table of Wikinews sentences with topics (MewsC-16; docs/wikinews.md), which
the project does not contain.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from real_checkpoints import Unavailable, find_checkpoint
from repository import ROOT

from xlt.analysis.trials.collect import collect
from xlt.sweep.cli.main import main

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1800)]


def test_a_grid_on_real_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Embeddings of a multilingual model carry the task over, and n-grams need Japanese rows."""
    texts = os.environ.get("XLT_REAL_TEXTS")
    if not texts:
        pytest.skip("XLT_REAL_TEXTS names no table of Wikinews sentences")
    try:
        folder = str(find_checkpoint("multilingual-e5-small"))
    except Unavailable as reason:
        pytest.skip(str(reason))
    values = yaml.safe_load((ROOT / "docs/real.yaml").read_text("utf-8"))
    values["data"]["path"] = texts
    values["models"] = [
        {"name": "e5-small", "path": folder},
        {"name": "e5-embed", "path": folder, "method": "embed"},
        {"name": "ngram", "method": "ngram"},
    ]
    values["patterns"] = [{"ja0": {"source_rows": 128}}, {"ja16": {"source_rows": 128}}]
    values |= {"seeds": [0], "sampling": {"test_rows": 256}}
    values["training"] |= {"num_train_epochs": 2}
    file = tmp_path / "real.yaml"
    file.write_text(yaml.safe_dump(values, allow_unicode=True), "utf-8")
    results = str(tmp_path / "results")
    assert main(["run", str(file), "--results", results, "--backend", "inline"]) == 0
    auroc = {tuple(row.cell): row.metrics["auroc"] for row in collect(results).rows}
    assert len(auroc) == 6
    assert auroc["e5-embed", "ja0"] > 0.85  # 0.93 of 512 English rows (docs/real.md)
    assert auroc["ngram", "ja0"] < 0.7 < auroc["ngram", "ja16"]  # 0.57 and 0.86
    assert auroc["e5-small", "ja0"] > 0.6  # 16 steps
    assert main(["report", results, "--intervals"]) == 0
    assert "Baseline ngram" in capsys.readouterr().out
