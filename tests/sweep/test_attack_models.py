"""The standing attack on what models are read from: folders of base models, and the user's cache.

A damaged file may be refused in a sentence, or change nothing. A base model that was changed and
still is one is another base model, whose trials have other ids. Other bytes of the same trial fall.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from attacks import KINDS, NUM_CASES, SEED, Report, as_case, copy_tree, damage, run_command
from result_folders import trial_files

from xlt.sweep.cli.main import main
from xlt.trainables.loading import base
from xlt.trainables.results.result import Results

pytestmark = [pytest.mark.attack, pytest.mark.filterwarnings("ignore")]

OF_EXPERIMENT = ["{experiment}", "--results", "{results}", "--only", "model={model}"]
OF_TRIAL = ["--model", "{model}", "--pattern", "ja8", "--seed", "0"]
COMMANDS = {
    "run": [*OF_EXPERIMENT, "--backend", "inline"],
    "plan": OF_EXPERIMENT,
    "check": [*OF_EXPERIMENT, "--backend", "inline"],
    "predict": ["{results}", "{texts}", *OF_TRIAL, "--out", "{out}/tagged.csv"],
    "export": ["{results}", *OF_TRIAL, "--out", "{out}/model"],
    "explain": ["{results}", "--only", "model={model}", "--backend", "inline", "--method",
                "occlusion", "--rows", "2"],
}  # fmt: skip
WEIGHTS = {"run": 4, "plan": 1, "check": 1, "predict": 2, "export": 1, "explain": 2}
"""Command -> how often it is drawn."""
MINIATURE = "mini-mbert"
MODELS = ("llama", "bert", MINIATURE)


@pytest.fixture(scope="module")
def pristine(experiment_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Base models, a cache, and results of a sweep with kept models and explanations."""
    folder = tmp_path_factory.mktemp("models")
    attacked = folder / "attacked"
    values = yaml.safe_load(experiment_file.read_text())
    for model in values["models"]:
        copied = attacked / "base" / model["name"]
        shutil.copytree(model["path"], copied)
        special = {"unk_token": "[UNK]" if model["name"] == "bert" else "<unk>"}
        (copied / "special_tokens_map.json").write_text(json.dumps(special))
        model["path"] = str(copied)
    values["models"] = [m for m in values["models"] if m["name"] in MODELS] + [MINIATURE]
    values["pretraining"] = {
        "corpus": "phrasebook", "num_documents": 150, "num_mixed": 150, "vocab_size": 1600,
        "step_factor": 0.002,
    }  # fmt: skip
    values |= {"patterns": [{"ja8": {"source_rows": 24}}], "seeds": [0]}
    values["storage"] = {"keep_models": "all"}
    (attacked / "tiny.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    (attacked / "texts.csv").write_text("id,text\n1,3 炭素 得点 3\n2,4 株式 試合 4\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLT_CACHE", str(attacked / "cache"))
        whole = [word for word in COMMANDS["run"] if word not in ("--only", "model={model}")]
        assert main(["run", *fill(whole, attacked, "")]) == 0
        copy_tree(attacked, folder / "pristine")
        yield folder / "pristine"


def fill(words: list[str], folder: Path, model: str) -> list[str]:
    places = {
        "results": folder / "results", "experiment": folder / "tiny.yaml", "model": model,
        "texts": folder / "texts.csv", "out": folder / "out",
    }  # fmt: skip
    return [word.format(**places) for word in words]


def kind_of(file: str) -> str:
    """The kind of a file: its name without the base model and hashes."""
    name = re.sub(r"^base/[^/]+/", "base model: ", file)
    name = re.sub(r"^cache/miniatures/[^/]+/", "miniature: ", name)
    return re.sub(r"[0-9a-f]{32}", "", name)


def read_made(command: str, folder: Path) -> dict[str, bytes]:
    """Read what a command made of the base models, without times."""
    if command == "run":
        return trial_files(Results(str(folder / "results")))
    made = {"predict": "out/tagged.csv", "explain": "results/trials/*/attributions-*"}
    files = {p: p.read_bytes() for p in folder.glob(made.get(command, "-"))}
    for path in files:
        if path.suffix == ".json":
            record = json.loads(files[path])
            del record["seconds"]
            files[path] = json.dumps(record).encode()
    return {str(path.relative_to(folder)): content for path, content in files.items()}


def test_damaged_models(pristine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def read() -> str:
        captured = capsys.readouterr()
        return captured.out + captured.err

    rng, report = random.Random(SEED), Report()
    attacked = pristine.parent / "attacked"
    parts = (p for part in ("base", "cache") for p in (pristine / part).rglob("*"))
    names = sorted(str(p.relative_to(pristine)) for p in parts if p.is_file())
    by_kind: dict[str, list[str]] = {}
    for name in names:
        by_kind.setdefault(kind_of(name), []).append(name)

    def attempt(command: str, model: str, file: str = "", kind: str = "") -> tuple[str, int]:
        copy_tree(pristine, attacked)
        (attacked / "out").mkdir()
        if command == "run":
            shutil.rmtree(attacked / "results")
        if file:
            damage(attacked / file, kind, [pristine / name for name in names], rng)
        base._LOADED.clear()  # else the base model of the command before is not read again
        outcome = run_command(main, [command, *fill(COMMANDS[command], attacked, model)], read)
        fault = outcome.fault
        if not fault and outcome.status == 2 and "xlt: " not in outcome.text:
            fault = f"no sentence: {outcome.text[:200]}"
        return fault, outcome.status

    expected: dict[tuple[str, str], dict[str, bytes]] = {}
    for command in COMMANDS:
        for model in MODELS:
            assert attempt(command, model) == ("", 0), (command, model)
            expected[command, model] = read_made(command, attacked)
    for number in range(NUM_CASES // 4):
        file = rng.choice(by_kind[rng.choice(sorted(by_kind))])
        kind = rng.choice(KINDS)
        (command,) = rng.choices(list(WEIGHTS), [*WEIGHTS.values()])
        model = next((m for m in MODELS if f"/{m}" in file), rng.choice(MODELS))
        fault, status = attempt(command, model, file, kind)
        before, found = expected[command, model], read_made(command, attacked)
        if not fault:
            # Another base model gives other trials. These here are of the same one.
            wrong = [n for n in before.keys() & found.keys() if before[n] != found[n]]
            wrong = [n for n in wrong if status != 1 or not n.endswith("error.json")]
            fault = f"other bytes: {sorted(wrong)[:3]}" if wrong else ""
        case = as_case(file, kind, [command], number)
        report.add(kind_of(file), case, fault, is_refused=status in (1, 2))
    with capsys.disabled():
        print(f"\n{report.write()}")
    assert not report.fell
