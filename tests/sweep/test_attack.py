"""The standing attack: random damage to every kind of file, through every command. `make attack`.

Nothing may fall: a command gives the undisturbed numbers, or says in a sentence what is wrong. It
never ends with a traceback and never hangs. Set XLT_ATTACK_SEED
and XLT_ATTACK_CASES for other and for more cases.
"""

from __future__ import annotations

import json
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from attacks import (
    KINDS,
    NUM_CASES,
    SEED,
    Report,
    as_case,
    copy_tree,
    damage,
    flip_bit,
    run_command,
    same_numbers,
)
from ctrl_c import started_xlt
from result_folders import trial_files

from xlt.sweep.cli.main import main
from xlt.trainables.results.result import Results

pytestmark = [pytest.mark.attack, pytest.mark.filterwarnings("ignore")]

REPORT = ["report", "{results}", "--format", "csv"]
PREDICT = [
    "predict", "{results}", "{texts}", "--model", "llama", "--pattern", "ja8", "--seed", "0",
    "--out", "{out}/tagged.csv",
]  # fmt: skip
READING = (
    REPORT,
    ["status", "{results}"],
    ["report", "{results}", "--intervals"],
    ["report", "{results}", "--format", "html", "--out", "{out}/page.html"],
    ["report", "{results}", "--format", "parquet", "--out", "{out}/rows.parquet"],
    ["report", "{results}", "--format", "eee", "--texts", "--out", "{out}/records"],
    ["compare", "{results}", "--resamples", "1000"],
    ["boundary", "{results}"],
    ["curves", "{results}"],
    ["claims", "{results}"],
    ["explanations", "{results}", "--only", "model=llama"],
    ["figures", "{results}", "--out", "{out}/figures", "--kinds", "seeds"],
    ["lit", "export", "{results}", "--out", "{out}/lit"],
    ["plan", "{experiment}", "--results", "{results}"],
    ["check", "{experiment}", "--results", "{results}", "--backend", "inline"],
    ["data", "show", "{experiment}"],
    ["data", "audit", "{experiment}"],
    ["data", "prepare", "{experiment}", "--out", "{out}/prepared"],
    PREDICT,
    ["export", "{results}", "--model", "llama", "--pattern", "ja8", "--out", "{out}/model"],
    ["explain", "{results}", "--only", "model=llama", "--backend", "inline", "--method",
     "occlusion", "--rows", "2"],
)  # fmt: skip
RUN = ["run", "{experiment}", "--results", "{results}", "--backend", "inline"]
FAILING = {"match": {"model": "bert", "pattern": "ja8"}, "learning_rate": 1e30, "why": "fails"}


@pytest.fixture(scope="module")
def pristine(experiment_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a finished sweep with kept models, explanations and two failed trials."""
    folder = tmp_path_factory.mktemp("pristine")
    values = yaml.safe_load(experiment_file.read_text())
    copy = folder / "data.parquet"
    copy.write_bytes(Path(values["data"]["path"]).read_bytes())
    values["data"]["path"] = str(folder.parent / "attacked" / "data.parquet")
    values["storage"] = {"keep_models": "all"}
    values["overrides"] = [FAILING]
    (folder / "tiny.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    (folder / "texts.csv").write_text("id,text\n1,3 炭素 得点 3\n2,4 株式 試合 4\n")
    copy_tree(folder, folder.parent / "attacked")
    attacked = folder.parent / "attacked"
    words = fill(RUN, attacked)
    assert main(words) == 1  # two trials fail by design
    explain = ["explain", str(attacked / "results"), "--only", "model=llama", "--backend", "inline"]
    assert main([*explain, "--num-samples", "20", "--rows", "4"]) == 0
    copy_tree(attacked, folder)
    return folder


def fill(command: list[str], folder: Path) -> list[str]:
    places = {
        "results": folder / "results", "experiment": folder / "tiny.yaml",
        "texts": folder / "texts.csv", "out": folder / "out",
    }  # fmt: skip
    return [word.format(**places) for word in command]


def kind_of(file: str) -> str:
    """The kind of a file: its name without the trial, the experiment and the number."""
    name = re.sub(r"^results/(trials/[^/]+/|experiments/|)", "", file)
    return re.sub(r"^tiny\.(?=plan|lease)|[0-9a-f]{12}", "", name)


def test_damaged_files(pristine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def read() -> str:
        captured = capsys.readouterr()
        return captured.out + captured.err

    rng, report = random.Random(SEED), Report()
    attacked = pristine.parent / "attacked"
    results = Results(str(attacked / "results"))
    expected = trial_files(Results(str(pristine / "results")))
    names = sorted(str(p.relative_to(pristine)) for p in pristine.rglob("*") if p.is_file())
    by_kind: dict[str, list[str]] = {}
    for name in names:
        by_kind.setdefault(kind_of(name), []).append(name)
    copy_tree(pristine, attacked)
    read()
    (attacked / "out").mkdir()
    assert main(fill(PREDICT, attacked)) == 0
    tagged = (attacked / "out/tagged.csv").read_bytes()
    read()
    undisturbed = run_command(main, fill(REPORT, attacked), lambda: capsys.readouterr().out).text
    for number in range(NUM_CASES):
        file = rng.choice(by_kind[rng.choice(sorted(by_kind))])
        kind = rng.choice(KINDS)
        command = RUN if rng.random() < 0.3 else rng.choice(READING)
        copy_tree(pristine, attacked)
        (attacked / "out").mkdir(exist_ok=True)
        damage(attacked / file, kind, [pristine / name for name in names], rng)
        outcome = run_command(main, fill(command, attacked), read)
        fault = outcome.fault
        if not fault and outcome.status == 2 and "xlt: " not in outcome.text:
            fault = f"no sentence: {outcome.text[:200]}"
        if not fault and command is RUN and outcome.status == 1:
            fault = compare_files(expected, results)
        if not fault and command is PREDICT and outcome.status == 0 and file != "texts.csv":
            is_same = (attacked / "out/tagged.csv").read_bytes() == tagged
            fault = "" if is_same else "texts are tagged otherwise"
        if not fault and command is not RUN:
            after = run_command(main, fill(REPORT, attacked), lambda: capsys.readouterr().out)
            if after.status == 0 and not same_numbers(after.text, undisturbed):
                fault = "the report has other numbers"
        case = as_case(file, kind, command, number)
        report.add(kind_of(file), case, fault, is_refused=outcome.status == 2)
    with capsys.disabled():
        print(f"\n{report.write()}")
    assert not report.fell


def compare_files(expected: dict[str, bytes], results: Results) -> str:
    """Compare finished trials with undisturbed ones after a run that ended regularly.

    Weights are compared with their hashes when they are loaded, not by a run.
    """
    found = trial_files(results)
    left = "attributions", "error.json", ".safetensors"
    ours = {n: c for n, c in expected.items() if not any(word in n for word in left)}
    wrong = [name for name, content in ours.items() if found.get(name) != content]
    return f"other files than undisturbed: {wrong[:3]}" if wrong else ""


def test_flipped_bits_in_checkpoints(
    experiment_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged checkpoint is left aside, and the trial has the bytes of an undisturbed one."""
    rng, report = random.Random(SEED), Report()
    settings = ["seeds=[0]", "patterns=[{ja8: {source_rows: 24}}]", "training.num_train_epochs=30"]
    settings += ["storage.checkpoint_minutes=0"]
    words = ["run", str(experiment_file), "--backend", "inline", "--only", "model=bert"]
    words += [word for setting in settings for word in ("--set", setting)]
    whole, stopped, again = (tmp_path / name for name in ("whole", "stopped", "again"))
    assert main([*words, "--results", str(whole)]) == 0
    with started_xlt(*words, "--results", str(stopped)) as process:
        while not list(stopped.glob("checkpoints/*.safetensors")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=100)
    saved = list(stopped.glob("checkpoints/*.safetensors"))
    assert saved, "the run ended before it was stopped, so this test proves nothing"
    expected = trial_files(Results(str(whole)))
    for number in range(max(6, NUM_CASES // 25)):
        copy_tree(stopped, again)
        file = again / saved[0].relative_to(stopped)
        file.write_bytes(flip_bit(file.read_bytes(), rng))
        status = main([*words, "--results", str(again)])
        files = trial_files(Results(str(again)))
        reasons = [take_reason(files, name) for name in files if name.endswith("trial.json")]
        is_same = status == 0 and files == expected
        other = [name for name in expected if files.get(name) != expected[name]]
        fault = "" if is_same else f"exit status {status}, or other bytes: {other}"
        report.add("checkpoint", f"flip {number}", fault, is_refused=any(reasons))
    with capsys.disabled():
        print(f"\n{report.write()}")
    assert not report.fell and report.refused == report.tried


def take_reason(files: dict[str, bytes], name: str) -> str:
    """Why a trial did not resume, which is taken out of its record."""
    record = json.loads(files[name])
    reason: str = record["execution"]["not_resumed"]
    record["execution"]["not_resumed"] = ""
    files[name] = json.dumps(record).encode()
    return reason


def test_the_attack_sees_what_falls(tmp_path: Path) -> None:
    """A traceback, an unknown status and other numbers are found."""

    def broken(command: list[str]) -> int:
        raise RecursionError("deep")

    read: Callable[[], Any] = str
    assert "RecursionError" in run_command(broken, [], read).fault
    assert "exit status 7" in run_command(lambda _: 7, [], read).fault
    heading = "base_model,pattern,metric,n,mean\n"
    assert same_numbers(f"{heading}a,ja0,f1,2,0.5\n", f"{heading}a,ja0,f1,2,0.5\n")
    two = f"{heading}a,ja0,f1,2,0.5\nb,ja0,f1,2,0.7\n"
    assert same_numbers(f"{heading}a,ja0,f1,1,0.4\nb,ja0,f1,2,0.7\n", two)
    assert not same_numbers(heading, two)
    assert not same_numbers(f"{heading}a,ja0,f1,2,0.6\n", f"{heading}a,ja0,f1,2,0.5\n")
    file = tmp_path / "file.json"
    for kind in KINDS:
        file.write_text('{"a": 1.5, "b": [2]}')
        damage(file, kind, [Path(__file__)], random.Random(1))
        assert not file.is_file() or file.read_bytes() != b'{"a": 1.5, "b": [2]}'
        if file.is_dir():
            file.rmdir()
        else:
            file.unlink(missing_ok=True)
