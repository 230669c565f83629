"""xlt export: the model that a trial kept, as a folder for transformers and the hub."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from xlt.sweep.cli.arguments import add_command, add_results, add_test_lang, add_threshold
from xlt.sweep.cli.exit_status import OK

if TYPE_CHECKING:
    from xlt.sweep.export.run import Exported


def add_commands(commands: Any) -> None:
    """Add ``export`` to the parser."""
    export = add_command(
        commands, "export", _export,
        "Write the model that a trial kept as a folder that transformers loads, with a model card.",
        "export results --model elyza --pattern ja104 --out elyza-ja104",
        "export results --model elyza --pattern ja104 --seed 1 --merge --out merged",
        "export results --model mbert --pattern ja16 --out mbert --push ORG/NAME",
    )  # fmt: skip
    add_results(export)
    export.add_argument("--model", required=True, metavar="NAME", help="base model")
    export.add_argument("--pattern", required=True, metavar="NAME", help="pattern")
    export.add_argument(
        "--seed", type=int, metavar="N",
        help="seed (default: the only run with a kept model, or the one nearest to the median)",
    )  # fmt: skip
    export.add_argument(
        "--out", required=True, metavar="FOLDER", help="a new or empty folder to write"
    )
    export.add_argument(
        "--base-path", metavar="FOLDER", help="folder of the base model, if it was moved"
    )
    weights = export.add_argument_group("weights of a trial with an adapter")
    weights.add_argument(
        "--merge", action="store_true", help="add the adapter to the weights of the base model"
    )
    weights.add_argument(
        "--with-base", action="store_true",
        help="put the weights of a hub's base model beside the adapter",
    )  # fmt: skip
    threshold = export.add_argument_group("the threshold")
    add_threshold(threshold)
    add_test_lang(export)
    hub = export.add_argument_group("the hub")
    hub.add_argument(
        "--push", metavar="ORG/NAME", help="upload the folder to this repository, a private one"
    )
    hub.add_argument("--public", action="store_true", help="let everybody read the repository")


def _export(options: argparse.Namespace) -> int:
    from xlt.sweep.export.run import Export, export

    names = Export.model_fields
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    exported = export(
        options.results,
        options.out,
        Export.parse(given),
        experiment=options.experiment,
        base_path=options.base_path,
    )
    print(_summary(exported, options.out))
    return OK


def _summary(exported: Exported, out: str) -> str:
    subject, saved = exported.subject, exported.subject.saved
    lines = [
        f"Model: {subject.trial.trial_id} ({subject.run.name}); {subject.run.why}",
        f"Weights: {saved.form}; loaded by transformers they score as the trial up to "
        f"{saved.difference:.2g} (largest difference on {saved.compared})",
    ]
    if subject.threshold:
        about = f" ({subject.about_threshold})" if subject.about_threshold else ""
        lines.append(f"Threshold: {subject.threshold.value:.6g}{about}")
    lines.append(f"Output: {out}")
    if exported.uploaded:
        lines.append(f"Uploaded: {exported.uploaded}")
    return "\n".join(lines)
