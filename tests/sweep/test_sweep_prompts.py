"""Prompts in an experiment: rows of the same tables, from the plan to the page."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from xlt.analysis.page.details import arrange_trials
from xlt.analysis.page.rows import RowPool
from xlt.analysis.trials.collect import collect
from xlt.data.core.errors import InputError
from xlt.sweep.check.registry import check_sweep
from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import Experiment, load_experiment
from xlt.sweep.planning.cell import ZERO_SHOT
from xlt.sweep.planning.grid import Grid, expand
from xlt.sweep.planning.prepare import prepare
from xlt.sweep.run import RunOutcome, run_sweep
from xlt.trainables.baselines import prompt_scores
from xlt.trainables.baselines.prompt_scores import list_batches
from xlt.trainables.baselines.prompt_tokens import Prompts
from xlt.trainables.loading import base as loading
from xlt.trainables.spec.cell_key import CellKey

PROMPT: dict[str, Any] = {
    "templates": {"ja": "news: {text}\nlabel: "},
    "label_words": {"ja": {"negative": "goal", "positive": "waste"}},
}


@pytest.fixture(scope="module")
def make_values(experiment_file: Path, tiny_base: Callable[[str], Path]) -> Any:
    """A function: settings of prompts -> the tiny experiment with a prompted and a tuned Llama."""

    def make(architecture: str = "llama", **settings: Any) -> dict[str, Any]:
        values: dict[str, Any] = yaml.safe_load(experiment_file.read_text())
        path = str(tiny_base(architecture))
        prompted = {"name": "prompted", "path": path, "method": "prompt"}
        values["models"] = [values["models"][0], prompted | {"prompt": PROMPT | settings}]
        values["patterns"] = [{f"ja{n}": {"source_rows": 24}} for n in (0, 2, 8)]
        return values

    return make


@pytest.fixture(scope="module")
def experiment(make_values: Any) -> Experiment:
    return Experiment.parse(make_values(max_shots=2))


@pytest.fixture(scope="module")
def outcome(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> RunOutcome:
    results = str(tmp_path_factory.mktemp("results"))
    return run_sweep(experiment, results, backend="inline", only="pattern=ja0,pattern=ja2")


def expand_values(values: dict[str, Any]) -> Grid:
    return expand(prepare(Experiment.parse(values)))


def test_prompts_have_cells_up_to_the_largest_number_of_shots(outcome: RunOutcome) -> None:
    cells = {cell.key: cell for cell in outcome.grid.cells}
    for name, rows in (("ja0", 0), ("ja2", 2)):
        (first, _) = cells[CellKey("prompted", name)].specs
        assert (first.pattern.source_rows, first.pattern.target_rows) == (0, rows)
    assert cells[CellKey("prompted", "ja8")].skipped == (
        "ja8 has 8 ja rows, more than prompt.max_shots 2 of prompted"
    )
    assert cells[CellKey("llama", "ja0")].specs[0].pattern.source_rows == 24
    zero_shot = cells[CellKey("prompted", "ja0")]
    assert zero_shot.note == ZERO_SHOT
    assert cells[CellKey("prompted", "ja2")].note == ""


def test_settings_of_other_languages_change_no_trial(make_values: Any) -> None:
    templates = {"ja": PROMPT["templates"]["ja"], "ko": "{text}?"}
    grids = [expand_values(make_values(**s)) for s in ({}, {"templates": templates})]
    ids = [{spec.trial_id for spec in grid.specs} for grid in grids]
    assert ids[0] == ids[1]


def test_an_experiment_file_keeps_its_prompts(experiment: Experiment) -> None:
    again = Experiment.from_yaml(experiment.to_yaml(), "again")
    assert again == experiment


def test_the_plan_says_that_zero_shot_has_no_spread(
    make_values: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "prompts.yaml"
    file.write_text(yaml.safe_dump(make_values()))
    assert main(["plan", str(file), "--results", str(tmp_path)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "prompted" in line]
    assert [row[2:6] for row in rows[:3]] == [
        ["prompt", "0+0", "-", "2"], ["prompt", "0+2", "-", "2"], ["prompt", "0+8", "-", "2"],
    ]  # fmt: skip
    assert " ".join(rows[0][7:]).startswith("zero-shot prompts: every seed gives the same scores")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"templates": {"ja": "news: "}},
            "models: item 2: prompt.templates: ja: has no {text}; write it where the text belongs",
        ),
        (
            {"templates": {"ja": "{text} {label}: "}},
            "{label} is no placeholder; there are {text} and {text_pair}",
        ),
        ({"templates": {"ja": "{text} {: "}}, "write a brace that is meant as such twice"),
        ({"templates": {"ja": "{text} "}}, "has no words of its own; end it with a question"),
        ({"templates": {"en": "{text}?"}}, "prompt.templates: no template for ja; give one"),
        (
            {"templates": {"ja": "{text} {text_pair}?"}},
            "prompt.templates.ja: has {text_pair}, but rows have one text; remove it",
        ),
        ({"label_words": {}}, "none for ja; give a word for each of the classes negative, pos"),
        (
            {"label_words": {"ja": {"negative": "no", "postive": "yes"}}},
            "prompt.label_words.ja: no word for positive; add it",
        ),
        (
            {"label_words": {"ja": {"negative": "no", "positive": "yes", "postive": "y"}}},
            "prompt.label_words.ja: unknown class 'postive'. Did you mean 'positive'?",
        ),
        (
            {"label_words": {"ja": {"negative": "no", "positive": "no"}}},
            "label_words: ja: 'no' is the word of several classes",
        ),
        (
            {"label_words": {"ja": {"negative": "no", "positive": " yes"}}},
            "label_words: ja.positive: ' yes' is empty or has white space at an end",
        ),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_used_are_refused_before_anything_runs(
    settings: dict[str, Any],
    sentence: str,
    make_values: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "prompts.yaml"
    file.write_text(yaml.safe_dump(make_values(**settings), allow_unicode=True))
    for command in ("plan", "run"):
        assert main([command, str(file), "--results", str(tmp_path / "r")]) == 2
        assert sentence in capsys.readouterr().err
    assert not [*(tmp_path / "r").glob("trials/*")]


def test_an_encoder_is_refused(make_values: Any) -> None:
    with pytest.raises(InputError, match="'prompted': bert is an encoder, which predicts no next"):
        expand_values(make_values("bert"))


def test_pairs_need_a_place_for_the_second_text() -> None:
    from xlt.trainables.spec.prompt import Prompt

    (problem,) = Prompt.parse(PROMPT).problems("ja", ("negative", "positive"), paired=True)
    assert problem == (
        "prompt.templates.ja: has no {text_pair}, but rows are pairs of texts; add it"
    )


def test_the_check_counts_tokens_and_needs_no_memory_for_training(
    make_values: Any, tmp_path: Path
) -> None:
    experiment = Experiment.parse(make_values(max_shots=2))
    outcomes = {o.title: o for o in check_sweep(experiment, str(tmp_path), backend="inline")}
    assert not [problem for o in outcomes.values() for problem in o.problems]
    memory = {row[0]: row for row in outcomes["Memory"].rows}
    assert memory["prompted (ja2)"][4:7] == ("0", "0", "0")  # trained, gradients, AdamW
    assert int(memory["prompted (ja0)"][2]) > 1
    times = {row[0]: row for row in outcomes["Time"].rows}
    assert times["prompted (ja2)"][4] == "speed measured here"


def test_the_check_counts_the_tokens_of_the_trial(
    outcome: RunOutcome, experiment: Experiment, tmp_path: Path
) -> None:
    outcomes = {o.title: o for o in check_sweep(experiment, str(tmp_path), backend="inline")}
    spec = next(s for s in outcome.grid.specs if s.prompt and s.pattern.target_rows == 2)
    folder = Path(outcome.results.root, "trials", spec.trial_id)
    record = json.loads((folder / "trial.json").read_text())
    tokens = record["execution"]["tokens"]
    assert (
        f"prompted (ja2): {tokens['computed']:,} tokens a trial, {tokens['without_sharing']:,} "
        "without the shared beginning of prompts"
    ) in outcomes["Time"].notes


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"label_words": {"ja": {"negative": "carbon", "positive": "carbonate"}}},
            "the label words 'carbon' and 'carbonate' share their first token 'Ġcarbon'",
        ),
        ({"max_shots": None}, "set prompt.max_shots to fewer than 8"),
        ({"chat": True}, "prompt.chat is on, but the tokenizer has no chat template"),
    ],
    ids=["shared", "long", "chat"],
)
def test_the_check_finds_what_only_the_tokenizer_shows(
    settings: dict[str, Any], sentence: str, make_values: Any, tmp_path: Path
) -> None:
    experiment = Experiment.parse(make_values(**{"max_shots": 2} | settings))
    outcomes = check_sweep(experiment, str(tmp_path), backend="inline", only="model=prompted")
    problems = [problem for o in outcomes for problem in o.problems]
    assert [p.severity for p in problems] == ["error"]
    assert sentence in problems[0].sentence


def test_a_prompt_that_is_too_long_fails_its_trial_with_one_sentence(
    make_values: Any, tmp_path: Path
) -> None:
    experiment = Experiment.parse(make_values() | {"seeds": [0]})
    outcome = run_sweep(
        experiment, str(tmp_path), backend="inline", only="model=prompted,pattern=ja8"
    )
    (row,) = [row for row in collect(outcome.results).rows if row.state == "failed"]
    assert "positions; set prompt.max_shots to fewer than 8" in row.detail


@pytest.mark.parametrize(
    "command",
    [
        ["report"], ["report", "--intervals"], ["compare"], ["curves"], ["boundary"], ["status"],
        ["report", "--format", "csv"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_command_on_results_shows_prompts(
    command: list[str], outcome: RunOutcome, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command[0], outcome.results.root, *command[1:]]) == 0
    assert "prompted" in capsys.readouterr().out


def test_the_page_shows_prompts(outcome: RunOutcome, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main(["report", outcome.results.root, "--format", "html", "--out", str(page)]) == 0
    arranged = arrange_trials(collect(outcome.results), RowPool({}))
    assert any(text.startswith("prompt.calibration\t") for text in arranged["texts"])


def test_tables_have_the_footnote_of_zero_shot(
    outcome: RunOutcome, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["report", outcome.results.root])
    assert "zero-shot prompts: every seed gives the same scores" in capsys.readouterr().out
    rows = [r for r in collect(outcome.results).rows if r.cell == CellKey("prompted", "ja0")]
    assert len({json.dumps(row.metrics) for row in rows}) == 1


def test_prompts_alone_on_zero_shot_need_no_training_rows(
    make_values: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = make_values()
    values["models"], values["patterns"] = values["models"][1:], values["patterns"][:1]
    values["seeds"] = [0]
    outcome = run_sweep(Experiment.parse(values), str(tmp_path), backend="inline")
    assert len(outcome.ledger.done) == 1
    assert outcome.grid.draws[0].train == ()
    assert main(["report", outcome.results.root]) == 0
    assert "every other cell" not in capsys.readouterr().out  # there is none


def test_an_override_of_the_text_length_changes_prompts(make_values: Any) -> None:
    override = {"match": {"model": "prompted"}, "training": {"max_length": 9}}
    grid = expand_values(make_values() | {"overrides": [override]})
    assert {s.training.max_length for s in grid.specs if s.prompt} == {9}


def test_prompt_settings_without_the_method_are_refused(make_values: Any) -> None:
    values = make_values()
    values["models"][1]["method"] = "lora"
    with pytest.raises(InputError, match="prompt settings are given without method: prompt; add"):
        Experiment.parse(values)


def test_known_names_can_be_prompted() -> None:
    settings = ["models=[{name: elyza, method: prompt}, {name: llama2, method: prompt}]"]
    experiment = load_experiment("paper", [*settings, "overrides=[]"])
    assert [model.method for model in experiment.models] == ["prompt", "prompt"]


def test_patterns_with_translations_have_no_prompts(make_values: Any) -> None:
    values = make_values()
    patterns = [{name: {"source_rows": 24}} for name in ("ja0", "ja0+tt", "ja2+te")]
    values["models"], values["patterns"] = values["models"][1:], patterns
    skipped = {cell.pattern.name: cell.skipped for cell in expand_values(values).cells}
    assert skipped == {
        "ja0": "",
        "ja0+tt": "prompted reads no translations and ja0+tt has some",
        "ja2+te": "prompted reads no translations and ja2+te has some",
    }


def test_sigterm_stops_a_prompted_trial(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def receive_sigterm(prompts: Prompts) -> list[list[int]]:
        os.kill(os.getpid(), signal.SIGTERM)
        return list_batches(prompts)

    monkeypatch.setattr(loading, "_LOADED", {})  # and the scores of earlier trials
    monkeypatch.setattr(prompt_scores, "list_batches", receive_sigterm)
    console = Console(file=io.StringIO(), width=200)
    only, results = "model=prompted,pattern=ja2", str(tmp_path)
    stopped = run_sweep(experiment, results, backend="inline", only=only, console=console)
    assert stopped.interrupted and not stopped.ledger.done and not stopped.ledger.failed
    assert "prompted ja2 seed 0: preempted and will start again" in console.file.getvalue()
    monkeypatch.undo()
    finished = run_sweep(experiment, results, backend="inline", only=only)
    assert len(finished.ledger.done) == 2
