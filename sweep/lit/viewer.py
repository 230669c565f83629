"""Runs inside LIT's environment: an export in LIT's page, until standard input is closed.

Imports the standard library and what comes with lit_nlp alone. Started by :mod:`sweep.lit.server`:
``python -I viewer.py FOLDER HOST PORT``. The page loads nothing from elsewhere: headlines may be
licensed, and machines that hold them offline.
"""

from __future__ import annotations

import html
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import attr
import lit_nlp
from lit_nlp.api import components, dtypes, layout
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types
from lit_nlp.app import LitApp
from lit_nlp.components import metrics, thresholder
from werkzeug import serving, wrappers

Row = dict[str, Any]
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PACKAGES = Path(lit_nlp.__file__).parent.parent
CLIENT = PACKAGES / "lit_nlp" / "client" / "build" / "default"
ICONS = {
    "Material Icons": "MaterialIcons-Regular.ttf",
    "Material Icons Outlined": "MaterialIconsOutlined-Regular.otf",
}
"""Fonts that LIT's page would load from the web -> files of tkinter_icons_gmi, which is never
imported. Without them every button shows its icon's name."""
MODULES = layout.LitModuleName
LAYOUT = layout.LitCanonicalLayout(
    left={"Contributions": [MODULES.SalienceMapModule]},
    upper={"Test rows": [MODULES.DataTableModule]},
    lower={
        "Predictions": [MODULES.ClassificationModule],
        "Scores": [MODULES.ScalarModule],
        "Metrics": [
            MODULES.MetricsModule,
            MODULES.ConfusionMatrixModule,
            MODULES.ThresholderModule,
        ],
    },
    description="What trials said of their test rows, and by which tokens.",
)
"""Contributions have a whole column: trials share its height, and each needs 190 pixels. Without
LIT's modules for edits: stored predictions have no answer to a text that they do not hold."""


class Trial(lit_model.Model):
    """A trial as one of LIT's models: it looks up what it predicted.

    Args:
        about: Its entry in the manifest.
        rows: Its file.
        headlines: The data set that it was tested on.
        classes: Names of the classes 0 and 1.
    """

    def __init__(
        self, about: Row, rows: list[Row], headlines: lit_dataset.Dataset, classes: list[str]
    ) -> None:
        self._about = about
        self._classes = classes
        self._spec = headlines.spec()
        texts = {row["id"]: row["text"] for row in headlines.examples}
        self._rows = {(row["id"], texts[row["id"]]): self._output(row) for row in rows}

    def _output(self, row: Row) -> Row:
        output = {"probabilities": row["probabilities"]}
        if "method" in self._about:
            output[self._about["method"]] = dtypes.TokenSalience(row["tokens"], row["salience"])
        return output

    def description(self) -> str:
        """Where it is from, shown in LIT's list of models."""
        settings = json.dumps(self._about.get("settings", {}), sort_keys=True)
        return f"Trial {self._about['trial_id']}. Explained by: {settings}"

    def input_spec(self) -> Row:
        """The fields of its data set."""
        # Not required: LIT merges the required fields of all models, which must then be equal.
        # Whatever a data set has of the others is compared all the same.
        language = attr.evolve(self._spec["language"], required=False)
        return {**self._spec, "language": language}

    def output_spec(self) -> Row:
        """Probabilities of both classes and, where it was explained, contributions of tokens."""
        spec: Row = {
            "probabilities": lit_types.MulticlassPreds(
                vocab=self._classes, null_idx=0, parent="label"
            ),
        }
        if "method" in self._about:
            spec[self._about["method"]] = lit_types.TokenSalience(autorun=True, signed=True)
        return spec

    def predict(self, inputs: Iterable[Row], **unused: Any) -> Iterator[Row]:
        """Stored predictions; an edited text has none."""
        for row in inputs:
            stored = self._rows.get((row["id"], row["text"]))
            if stored is None:
                raise ValueError("predictions are stored: there are none of an edited text")
            yield stored


class Contributions(components.Interpreter):
    """The stored contributions of tokens, for the class that is chosen in the page.

    Of two classes, what a token adds to the probability of one it takes from the other's.

    Args:
        method: Whose they are.
    """

    def __init__(self, method: str) -> None:
        self._method = method

    def is_compatible(self, model: lit_model.Model, dataset: lit_dataset.Dataset) -> bool:
        """Whether the trial was explained."""
        del dataset
        return self._method in model.output_spec()

    def config_spec(self) -> Row:
        """Makes the page say which class is chosen."""
        return {"_salience_target": lit_types.SalienceTargetInfo()}

    def meta_spec(self) -> Row:
        """What the page draws."""
        return {self._method: lit_types.TokenSalience(autorun=True, signed=True)}

    def run(
        self,
        inputs: list[Row],
        model: lit_model.Model,
        dataset: lit_dataset.Dataset,
        model_outputs: list[Row] | None = None,
        config: Row | None = None,
    ) -> list[Row]:
        """A TokenSalience a row."""
        del dataset
        outputs = list(model.predict(inputs)) if model_outputs is None else model_outputs
        target = (config or {}).get("_salience_target") or {}
        sign = -1 if target.get("index") == 0 else 1
        stored = [output[self._method] for output in outputs]
        return [
            {self._method: dtypes.TokenSalience(one.tokens, [sign * x for x in one.salience])}
            for one in stored
        ]


def make_app(manifest: Row, folder: Path) -> LitApp:
    """LIT's application over an export."""
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
        one["name"]: Trial(one, _rows(folder / one["file"]), datasets[one["dataset"]], classes)
        for one in manifest["models"]
    }
    methods = sorted({one["method"] for one in manifest["models"] if "method" in one})
    return LitApp(
        models,
        datasets,
        generators={},  # these and LIT's own explainers ask for predictions of other texts
        interpreters={
            **{f"contributions by {name}": Contributions(name) for name in methods},
            "thresholder": thresholder.Thresholder(),
        },
        metrics={"multiclass": metrics.MulticlassMetrics()},
        layouts={"xlt": LAYOUT},
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


def serve_page(app: Callable[..., Any], host: str, lang: str) -> Callable[..., Any]:
    """The application behind a page of our own and a check of who asks.

    Args:
        app: LIT's application.
        host: That it listens on. On loopback, requests in any other name are refused: a page of
            another site could read the texts through a name of its own.
        lang: Of the texts, so that browsers choose its glyphs: Japanese and Chinese share codes.
    """
    fonts = {
        f"/fonts/{name}": PACKAGES / "tkinter_icons_gmi/fonts" / name for name in ICONS.values()
    }
    faces = (
        f'@font-face {{font-family: "{family}"; src: url("fonts/{name}")}}'
        for family, name in ICONS.items()
    )
    page = re.sub(
        r"<link[^>]*https://[^>]*>", "", (CLIENT / "static/index.html").read_text("utf-8")
    )
    page = page.replace("<html>", f'<html lang="{html.escape(lang)}">')
    page = page.replace("</head>", f"<style>{''.join(faces)}</style></head>")
    # The page evaluates strings; what matters is that nothing goes to or comes from elsewhere.
    sources = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
    policy = {"Content-Security-Policy": sources}

    def answer(environ: Row, start: Any) -> Any:
        request = wrappers.Request(environ)
        if host in LOOPBACK and _name(request.host) not in LOOPBACK:
            return wrappers.Response("unknown host", 403)(environ, start)
        if request.path == "/":
            return wrappers.Response(page, 200, policy, mimetype="text/html")(environ, start)
        if request.path in fonts:
            content = fonts[request.path].read_bytes()
            return wrappers.Response(content, 200, mimetype="font/otf")(environ, start)
        return app(environ, start)

    return answer


def _name(host: str) -> str:
    """``[::1]:5432`` and ``localhost:5432`` without port and brackets."""
    return re.sub(r":\d+$", "", host).strip("[]")


def _end_with_parent() -> None:
    """Whoever started this holds standard input open, and lets go of it however it ends."""
    while os.read(0, 1):  # not sys.stdin: its lock would hide the reason for an early end
        pass
    os._exit(0)


def main(folder: Path, host: str, port: int) -> None:
    """Serve an export."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    manifest = json.loads((folder / "lit.json").read_text("utf-8"))
    app = serve_page(make_app(manifest, folder), host, manifest["datasets"][0]["language"])
    serving.run_simple(host, port, app, threaded=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
