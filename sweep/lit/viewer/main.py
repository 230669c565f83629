"""An export in LIT's page, until standard input is closed.

Started by :mod:`xlt.sweep.lit.server` with LIT's Python, which has none of our packages.
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
    """Where LIT's modules stand.

    Contributions have a whole column: trials share its height, and each needs 190 pixels. The
    editor is there if there are classifiers: stored predictions have no answer to an edited text.
    It has a tab to itself, as its buttons need more room than the table leaves.
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
        description="What trials say of their test rows, and by which tokens.",
    )


def make_app(manifest: Row, folder: Path, classifiers: Classifiers | None) -> LitApp:
    """LIT's application over an export, and over classifiers if there are any."""
    classes = manifest["classes"]
    datasets = {}
    for one in manifest["datasets"]:
        spec = {
            "id": lit_types.StringLitType(),
            "text": lit_types.TextSegment(),
            # With its value, so that LIT never asks a trial of one language about another's rows.
            "language": lit_types.CategoryLabel(vocab=[one["language"]]),
            "label": lit_types.CategoryLabel(vocab=classes),
        }
        about = "\n".join([manifest["title"], *manifest["notes"]])
        datasets[one["name"]] = lit_dataset.Dataset(spec, _rows(folder / one["file"]), about)
    models = {
        one["name"]: Trial(
            one, _rows(folder / one["file"]), datasets[one["dataset"]], classes, classifiers
        )
        for one in manifest["models"]
    }
    methods = sorted({one["method"] for one in manifest["models"] if "method" in one})
    return LitApp(
        models,
        datasets,
        generators={},  # they split texts at spaces, or need gradients
        interpreters={
            **{f"contributions by {name}": Contributions(name) for name in methods},
            **({"LIT's LIME on sub-words": SubwordLime()} if classifiers else {}),
            "thresholder": thresholder.Thresholder(),
        },
        metrics={"multiclass": metrics.MulticlassMetrics()},
        layouts={"xlt": make_layout(classifiers is not None)},
        default_layout="xlt",
        dataset_loaders={},  # with demo_mode: nobody who reaches the page reads or writes files
        model_loaders={},
        demo_mode=True,
        page_title=f"xlt {manifest['experiment']}",
        client_root=str(CLIENT),
    )


def _rows(file: Path) -> list[Row]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _end_with_parent() -> None:
    """Whoever started this holds standard input open, and lets go of it however it ends."""
    while os.read(0, 1):  # not sys.stdin: its lock would hide the reason for an early end
        pass
    os._exit(0)


def main(folder: str, host: str, port: str, descriptor: str = "") -> None:
    """Serve an export.

    Args:
        folder: The export.
        host: To listen on.
        port: To listen on.
        descriptor: Of the connection to trained classifiers; empty: there are none.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    manifest = json.loads((Path(folder) / "lit.json").read_text("utf-8"))
    classifiers = Classifiers(int(descriptor)) if descriptor else None
    app = make_app(manifest, Path(folder), classifiers)
    page = serve_page(app, host, manifest["datasets"][0]["language"])
    serving.run_simple(host, int(port), page, threaded=True)
