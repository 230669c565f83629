"""Show an export in LIT's page until standard input is closed.

:mod:`xlt.sweep.lit.server` starts this program with LIT's Python, which has none of our packages.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import layout
from lit_nlp.api import types as lit_types
from lit_nlp.app import LitApp
from lit_nlp.components import metrics, thresholder
from werkzeug import serving

from .interpreters import Contributions, SubwordLime
from .page import CLIENT, serve_page
from .trials import Classifiers, Row, Trial

MODULES = layout.LitModuleName


def make_layout(is_live: bool) -> layout.LitCanonicalLayout:
    """Arrange LIT's modules on the page.

    Contributions have a whole column, because each trial needs 190 pixels of its height. The
    editor is shown only with classifiers, because an edited text has no stored prediction. It has
    its own tab, because its buttons need more room than the table leaves.
    """
    editor = {"Edit": [MODULES.DatapointEditorModule]} if is_live else {}
    return layout.LitCanonicalLayout(
        left={"Contributions": [MODULES.SalienceMapModule]},
        upper={"Test rows": [MODULES.DataTableModule], **editor},
        lower={
            "Predictions": [MODULES.ClassificationModule],
            "Scores": [MODULES.ScalarModule],
            "Metrics": [
                MODULES.MetricsModule,
                MODULES.ConfusionMatrixModule,
                MODULES.ThresholderModule,
            ],
        },
        description="Predictions of trials for their test rows, and the tokens behind them.",
    )


def make_app(manifest: Row, folder: Path, classifiers: Classifiers | None) -> LitApp:
    """Create LIT's application for an export and, if there are any, for classifiers."""
    classes = manifest["classes"]
    datasets = {}
    for entry in manifest["datasets"]:
        spec = {
            "id": lit_types.StringLitType(),
            "text": lit_types.TextSegment(),
            # A vocabulary of one language, so that LIT never pairs a trial with rows of another.
            "language": lit_types.CategoryLabel(vocab=[entry["language"]]),
            "label": lit_types.CategoryLabel(vocab=classes),
        }
        description = "\n".join([manifest["title"], *manifest["notes"]])
        rows = _rows(folder / entry["file"])
        if "text_pair" in rows[0]:
            spec["text_pair"] = lit_types.TextSegment()
        datasets[entry["name"]] = lit_dataset.Dataset(spec, rows, description)
    models = {
        entry["name"]: Trial(
            entry, _rows(folder / entry["file"]), datasets[entry["dataset"]], classes, classifiers
        )
        for entry in manifest["models"]
    }
    methods = sorted({entry["method"] for entry in manifest["models"] if "method" in entry})
    return LitApp(
        models,
        datasets,
        generators={},  # those of LIT split texts at spaces or need gradients
        interpreters={
            **{f"contributions by {name}": Contributions(name) for name in methods},
            **({"LIT's LIME on sub-words": SubwordLime()} if classifiers else {}),
            "thresholder": thresholder.Thresholder(),
        },
        metrics={"multiclass": metrics.MulticlassMetrics()},
        layouts={"xlt": make_layout(classifiers is not None)},
        default_layout="xlt",
        dataset_loaders={},  # with demo_mode, visitors of the page cannot read or write files
        model_loaders={},
        demo_mode=True,
        page_title=f"xlt {manifest['experiment']}",
        client_root=str(CLIENT),
    )


def _rows(file: Path) -> list[Row]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _end_with_parent() -> None:
    """End this process when the parent process ends, which closes standard input."""
    while os.read(0, 1):  # not sys.stdin, whose lock would hide the reason for an early end
        pass
    os._exit(0)


def main(folder: str, host: str, port: str, descriptor: str = "") -> None:
    """Serve an export.

    Args:
        folder: Folder of the export.
        host: Address to listen on.
        port: Port to listen on.
        descriptor: File descriptor of the connection to the trained classifiers; empty if there
            are none.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    manifest = json.loads((Path(folder) / "lit.json").read_text("utf-8"))
    classifiers = Classifiers(int(descriptor)) if descriptor else None
    app = make_app(manifest, Path(folder), classifiers)
    page = serve_page(app, host, manifest["datasets"][0]["language"])
    serving.run_simple(host, int(port), page, threaded=True)
