"""Training in two stages: that of two HF Trainer runs, resumed anywhere, and from a kept model."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from gloo_group import run_together
from hf_trainer import batches_of, build_without_dropout, trainer_on
from tiny_checkpoints import make_classifier, make_config
from torch import nn

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.sweep.backends.worker import ArtifactPolicy, run_and_save
from xlt.trainables.inference.kept import load_kept_model
from xlt.trainables.loading.tokenize import encode
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.packable import compute_pack_key
from xlt.trainables.spec.resources import Resources
from xlt.trainables.spec.training import Training
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints, PreemptedError
from xlt.trainables.training.loop import predict
from xlt.trainables.training.micro_batches import MicroBatches
from xlt.trainables.trial import fit_stages as fit_stages_module
from xlt.trainables.trial.first_stage_kept import KeptFirstStage
from xlt.trainables.trial.fit_stages import fit_stages, join_history, split_stages
from xlt.trainables.trial.run_trial import prepare_trial, run_trial
from xlt.trainables.trial.signature import read_versions

MakeSpec = Callable[..., TrialSpec]
VOCABULARY = 1003
"""Rows of the embedding matrix, of which the texts use less than half."""
STAGES: dict[str, Any] = {
    "num_train_epochs": 2, "batch_size": 8, "weight_decay": 0.1,
    "target_stage": {"num_train_epochs": 3, "learning_rate": 2e-3},
}  # fmt: skip
NUM_FIRST = {"sequential": 6, "multistage": 8}
"""Steps of 24 source rows, or of 24 and 8 target rows, in two epochs of batches of 8."""
NUM_SECOND = 3
KINDS: dict[str, dict[str, Any]] = {
    "full": {"method": "full"},
    "lora": {"method": "lora"},
    "dora": {"method": "lora", "lora": {"use_dora": True}},
    "bitfit": {"method": "bitfit"},
    "averaged": {"method": "full", "training": {"average": {"last_k": 2}}},
}
NO_DROPOUT = {"lora_dropout": 0.0}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def in_stages(make_spec: MakeSpec, regime: str, architecture: str = "bert", **changes: Any) -> Any:
    training = STAGES | {"regime": regime} | changes.get("training", {})
    return make_spec(architecture, **(changes | {"training": training}))


@pytest.fixture(scope="module")
def make_large(make_spec: MakeSpec, tmp_path_factory: pytest.TempPathFactory) -> MakeSpec:
    """The same specs, with a BERT that has more embeddings than the texts use."""
    folder = tmp_path_factory.mktemp("large")
    torch.manual_seed(0)
    classifier = make_classifier(make_config("bert", vocab_size=VOCABULARY, pad_token_id=0))
    classifier.base_model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((Path(make_spec("bert").base_path) / name).read_bytes())

    def make(architecture: str, **changes: Any) -> TrialSpec:
        assert architecture == "bert"
        return make_spec(
            "bert", base_path=str(folder), base_identity="test:large-vocabulary", **changes
        )

    return make


def located(folder: Path) -> Results:
    results = Results(str(folder))
    results.prepare()
    return results


def same(first: TrialResult, second: TrialResult) -> bool:
    tables = ("predictions", "history", "train_rows")
    return (
        bool(first.model)
        and first.model == second.model
        and first.metrics == second.metrics
        and first.convergence == second.convergence
        and all(getattr(first, name).equals(getattr(second, name)) for name in tables)
    )


# --- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize("regime", ["sequential", "multistage"])
def test_stages_are_joint_trials_on_their_rows(regime: str, make_spec: MakeSpec) -> None:
    spec = in_stages(make_spec, regime)
    first, second = spec.stages
    rows = [(s.pattern.source_rows, s.pattern.target_rows) for s in spec.stages]
    assert rows == [(24, 0 if regime == "sequential" else 8), (0, 8)]
    assert (first.num_steps, second.num_steps) == (NUM_FIRST[regime], NUM_SECOND)
    assert spec.num_steps == NUM_FIRST[regime] + NUM_SECOND
    assert (first.learning_rate, second.learning_rate) == (5e-3, 2e-3)
    assert first.seed == spec.seed != second.seed
    pattern = {"name": "ja0", "target_lang": "ja", "target_rows": 0, "source_rows": 24}
    plain = {"num_train_epochs": 2, "batch_size": 8, "weight_decay": 0.1}
    changes = {"pattern": pattern} if regime == "sequential" else {}
    joint = make_spec("bert", training=plain, **changes)
    assert first.training_identity() == joint.training_identity()
    assert spec.first_stage == first and joint.first_stage is None
    assert compute_pack_key(spec) is None
    training = spec.training.model_dump()
    taking = make_spec(
        "bert", method="lora", lora={"init_lora_weights": "pissa"}, training=training
    )
    assert taking.first_stage is None and len(taking.stages) == 2


def test_a_dev_fold_leaves_fewer_steps_to_its_stage(make_spec: MakeSpec) -> None:
    fold = {"kind": "target", "num_folds": 2, "fold": 0}
    training = STAGES | {"batch_size": 4}
    spec = in_stages(make_spec, "sequential", training=training, dev=fold)
    assert [stage.num_steps for stage in spec.stages] == [12, 3]  # 8 target rows, 4 held out
    assert spec.first_stage is None


def test_settings_without_effect_leave_no_trace(make_spec: MakeSpec) -> None:
    plain = make_spec("bert")
    for values in ({"regime": "joint"}, {"target_stage": None}, {"target_stage": {}}):
        training = plain.training.model_dump() | values
        assert make_spec("bert", training=training).trial_id == plain.trial_id
    staged = Training.parse(STAGES | {"regime": "sequential"})
    for changes in ({"source_rows": 0}, {"target_rows": 0}):
        dropped = staged.drop_without_effect(plain.pattern.model_copy(update=changes), "en")
        assert (dropped.regime, dropped.target_stage) == ("joint", None)
    assert staged.drop_without_effect(plain.pattern, "en") == staged
    with pytest.raises(InputError, match="target_stage is given but the regime is joint"):
        make_spec("bert", training=STAGES)
    pattern = {"name": "ja8", "target_lang": "ja", "target_rows": 8, "source_rows": 0}
    with pytest.raises(InputError, match="regime sequential needs source rows and target rows"):
        in_stages(make_spec, "sequential", pattern=pattern)


# --- golden -----------------------------------------------------------------------------------


@pytest.mark.parametrize("regime", ["sequential", "multistage"])
@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("bert", {}),
        ("bert", {"training": {"warmup_ratio": 0.3, "max_grad_norm": 0.1}}),
        ("llama", {"method": "full"}),
        ("llama", {"lora": NO_DROPOUT}),
        ("bert", {"method": "lora", "lora": NO_DROPOUT}),
    ],
)
def test_two_stages_are_two_runs_of_the_hf_trainer(
    regime: str,
    architecture: str,
    changes: dict[str, Any],
    make_spec: MakeSpec,
    tiny_dataset: Dataset,
    tmp_path: Path,
) -> None:
    spec = in_stages(make_spec, regime, architecture, **changes)
    trial = prepare_trial(spec, tiny_dataset)
    for module in trial.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    history = join_history(fit_stages(trial, lambda *_: None))
    reference = build_without_dropout(spec)
    losses, logged = list[float](), list[dict[str, float]]()
    for stage in split_stages(trial):
        langs = {"en": stage.spec.pattern.source_rows, "ja": stage.spec.pattern.target_rows}
        assert {*stage.train["lang"].to_pylist()} == {lang for lang, n in langs.items() if n}
        pad = reference.config.pad_token_id
        batches = list(batches_of(stage.spec, stage.train_ids, stage.labels, pad))
        trainer = trainer_on(reference, stage.spec, batches, tmp_path / str(stage.spec.seed))
        trainer.train()
        losses += trainer.losses
        logged += [entry for entry in trainer.state.log_history if "grad_norm" in entry]
    assert history["stage"].to_pylist() == [1] * NUM_FIRST[regime] + [2] * NUM_SECOND
    assert len(history) == len(losses) == len(logged) == spec.num_steps
    np.testing.assert_allclose(history["loss"].to_pylist(), losses, atol=1e-5, rtol=0)
    for name, rtol in (("grad_norm", 1e-4), ("learning_rate", 1e-9)):
        theirs = [entry[name] for entry in logged]
        np.testing.assert_allclose(history[name].to_pylist(), theirs, atol=1e-4, rtol=rtol)
    weights = dict(trial.model.named_parameters())
    for name, parameter in reference.named_parameters():
        torch.testing.assert_close(weights[name], parameter, atol=1e-4, rtol=1e-3)


def test_history_and_scores_of_rows_go_on(make_spec: MakeSpec, tiny_dataset: Dataset) -> None:
    steps: list[tuple[int, int]] = []
    spec = in_stages(make_spec, "sequential", training={"num_train_epochs": 4})
    result = run_trial(spec, tiny_dataset, report=lambda step, num, _: steps.append((step, num)))
    assert result.history["step"].to_pylist() == list(range(1, 16))
    epochs = result.history["epoch"].to_pylist()
    assert epochs[11:] == [4.0, 5.0, 6.0, 7.0]
    assert steps == [(10, 15), (12, 15), (15, 15)]
    assert result.train_rows["lang"].to_pylist() == ["en"] * 24 + ["ja"] * 8
    alone = run_trial(spec.stages[0], tiny_dataset)
    scores = result.train_rows["y_score"].to_pylist()
    assert scores[:24] == alone.train_rows["y_score"].to_pylist()
    both = run_trial(in_stages(make_spec, "multistage"), tiny_dataset)
    joint = run_trial(both.spec.stages[0], tiny_dataset).train_rows["y_score"].to_pylist()
    scores = both.train_rows["y_score"].to_pylist()
    assert scores[:24] == joint[:24]
    assert not {*scores[24:]} & {*joint[24:]}
    measured = alone.convergence.items()
    assert {f"first_stage_{name}": value for name, value in measured}.items() <= (
        result.convergence.items()
    )
    last = both.history.filter(both.history["epoch"].to_numpy() > 4.0)
    assert both.convergence["final_loss"] == pytest.approx(np.mean(last["loss"].to_pylist()))


def test_both_stages_have_the_class_weights(make_spec: MakeSpec, tiny_dataset: Dataset) -> None:
    weights = {tiny_dataset.classes[1]: 3.0}
    spec = in_stages(make_spec, "multistage", training={"class_weights": weights})
    trial = prepare_trial(spec, tiny_dataset)
    for stage in split_stages(trial):
        expected = [3.0 if label else 1.0 for label in stage.labels]
        assert stage.row_weights == expected


@pytest.mark.parametrize(
    ("regime", "given", "kept"),
    [
        ("multistage", {"target_share": 0.5}, {"target_share": 0.5}),
        ("sequential", {"loss_weights": {"ja": 3.0}}, {}),
        ("sequential", {"loss_weights": "balanced"}, {}),
        ("multistage", {"loss_weights": {"ja": 3.0}}, {"loss_weights": {"ja": 3.0}}),
    ],
)
def test_weights_of_rows_hold_in_the_stage_that_has_both_kinds(
    regime: str, given: dict[str, Any], kept: dict[str, Any], make_spec: MakeSpec
) -> None:
    pattern = make_spec("bert").pattern
    plain = Training.parse(STAGES | {"regime": regime})
    training = Training.parse(plain.model_dump() | given)
    used = training.drop_without_effect(pattern, "en")
    assert used == Training.parse(plain.model_dump() | kept)
    spec = make_spec("bert", training=used.model_dump())
    first, second = (stage.training for stage in spec.stages)
    assert (first.target_share, first.loss_weights) == (used.target_share, used.loss_weights)
    assert (second.target_share, second.loss_weights) == (None, None)
    several = Training.parse(plain.model_dump() | {"loss_weights": {"en": 2.0, "ja": 3.0}})
    weights = several.drop_without_effect(pattern, ("en", "de")).loss_weights
    assert weights == ({"en": 2.0} if regime == "sequential" else {"en": 2.0, "ja": 3.0})


# --- resumed ----------------------------------------------------------------------------------


class Killed(BaseException):
    """Ends a trial as SIGKILL does."""


class KilledAfter(Checkpoints):
    """Checkpoints at each step; the process dies after a number of them."""

    left = 0

    def save(self, *rest: Any) -> None:
        super().save(*rest)
        self.left -= 1
        if not self.left:
            raise Killed


def kill_after(num: int, results: Results, run: Callable[..., Any], trial_id: str) -> None:
    """Run a trial until its process dies; if it resumes, after so many more steps."""
    kept = KilledAfter(results, trial_id, 0, read_versions())
    kept.left = num
    with pytest.raises(Killed):
        run(checkpoints=kept)
    torch.manual_seed(12345)  # another process has other generators


@pytest.mark.parametrize("regime", ["sequential", "multistage"])
@pytest.mark.parametrize("kind", ["full", "lora", "averaged"])
@pytest.mark.parametrize("kills", [(2,), (NUM_FIRST,), (1, NUM_FIRST), (NUM_FIRST, 1, 1)])
def test_a_trial_killed_in_any_stage_gives_the_same_bytes(
    regime: str,
    kind: str,
    kills: tuple[Any, ...],
    make_large: MakeSpec,
    tiny_dataset: Dataset,
    tmp_path: Path,
) -> None:
    spec = in_stages(make_large, regime, **KINDS[kind])
    run = partial(run_trial, spec, tiny_dataset, keep_models="all")
    undisturbed = run()
    results, steps = located(tmp_path), []
    for kill in kills:
        num = NUM_FIRST[regime] + 1 if kill is NUM_FIRST else kill
        kill_after(num - steps[-1] if num > 1 and steps else num, results, run, spec.trial_id)
        steps.append(steps[-1] + 1 if num == 1 and steps else num)
    resumed = run(checkpoints=Checkpoints(results, spec.trial_id, 3600, read_versions()))
    assert resumed.execution["resumed_at_steps"] == steps
    assert resumed.execution["padding_share"] == undisturbed.execution["padding_share"]
    assert same(resumed, undisturbed)


def test_a_checkpoint_of_the_second_stage_in_another_form_means_the_beginning(
    make_large: MakeSpec, tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = in_stages(make_large, "sequential")
    run = partial(run_trial, spec, tiny_dataset, keep_models="all")
    undisturbed, results = run(), located(tmp_path)
    kill_after(NUM_FIRST["sequential"] + 1, results, run, spec.trial_id)
    monkeypatch.setattr(fit_stages_module, "train_used_rows", lambda *_: None)  # as on a GPU
    resumed = run(checkpoints=Checkpoints(results, spec.trial_id, 3600, read_versions()))
    assert resumed.execution["resumed_at_steps"] == []
    assert "another form" in resumed.execution["not_resumed"]
    assert same(resumed, undisturbed)


def test_a_lost_checkpoint_of_the_second_stage_fails_the_trial(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model was not trained in the first stage, and must not be trained in the second one."""
    spec, results = in_stages(make_spec, "sequential"), located(tmp_path)
    run = partial(run_trial, spec, tiny_dataset)
    kill_after(NUM_FIRST["sequential"] + 1, results, run, spec.trial_id)
    saved = [results.read_checkpoint(spec.trial_id), None]
    monkeypatch.setattr(results, "read_checkpoint", lambda _: saved.pop(0))
    with pytest.raises(RuntimeError, match="second stage was there and is lost"):
        run(checkpoints=Checkpoints(results, spec.trial_id, 3600, read_versions()))


@pytest.mark.parametrize("regime", ["sequential", "multistage"])
@pytest.mark.parametrize("kind", ["source", "target"])
def test_dev_rows_of_a_search_are_left_out_of_their_stage(
    regime: str, kind: str, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    devs = {"source": {"kind": "source", "rows": 8}, "target": {"kind": "target", "num_folds": 2}}
    dev = devs[kind] | ({"fold": 0} if kind == "target" else {})
    spec = in_stages(make_spec, regime, dev=dev, training={"batch_size": 4})
    result = run_trial(spec, tiny_dataset)
    assert result.history.num_rows == spec.num_steps
    langs = result.train_rows["lang"].to_pylist()
    assert (langs.count("en"), langs.count("ja")) == (24, 4 if kind == "target" else 8)
    dev_ids = {*result.predictions["id"].to_pylist()}
    assert len(dev_ids) == (4 if kind == "target" else 8)
    assert not dev_ids & {*result.train_rows["id"].to_pylist()}
    assert spec.num_epochs == 5


def test_the_second_stage_starts_with_the_passes_that_fitted_into_memory(
    make_spec: MakeSpec, tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int | None] = []
    accumulate = MicroBatches._accumulate

    def scarce(self: MicroBatches, batch: Any) -> Any:
        sizes.append(self.size)
        if (self.size or len(batch)) > 4:
            raise torch.OutOfMemoryError
        return accumulate(self, batch)

    monkeypatch.setattr(MicroBatches, "_accumulate", scarce)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    spec = in_stages(make_spec, "sequential")
    result = run_trial(spec, tiny_dataset)
    assert sizes == [None] + [4] * spec.num_steps
    assert result.execution["times_out_of_memory"] == 1
    assert result.execution["micro_batch_size"] == 4


def test_the_kept_model_of_a_trial_gives_its_scores(
    make_large: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec, results = in_stages(make_large, "sequential"), located(tmp_path)
    result = run_trial(spec, tiny_dataset, keep_models="all")
    results.save(result)
    base, model = load_kept_model(spec, results, 2)
    test = tiny_dataset.rows(result.predictions["id"].to_pylist())
    scores = predict(model, encode(base, test, spec.training.max_length), spec)
    assert scores.tolist() == result.predictions["y_score"].to_pylist()


def test_a_preempted_trial_counts_the_steps_of_both_stages(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec = in_stages(make_spec, "sequential")
    calls: list[int] = []

    def preempted() -> bool:
        calls.append(1)
        return len(calls) > NUM_FIRST["sequential"]

    kept = Checkpoints(located(tmp_path), spec.trial_id, 3600, read_versions(), preempted)
    with pytest.raises(PreemptedError) as error:
        run_trial(spec, tiny_dataset, checkpoints=kept)
    assert error.value.step == NUM_FIRST["sequential"] + 1


# --- from a kept model ------------------------------------------------------------------------


def find_first(spec: TrialSpec, **changes: Any) -> TrialSpec:
    """The trial that the first stage repeats, as a grid has it: with the name of its pattern."""
    first = spec.first_stage
    assert first
    name = f"ja{first.pattern.target_rows}"
    pattern = first.pattern.model_copy(update={"name": name})
    return first.model_copy(update={"pattern": pattern, **changes})


def keep_first(spec: TrialSpec, dataset: Dataset, results: Results, **changes: Any) -> TrialSpec:
    """Train the trial that the first stage repeats, under another name, and keep its model."""
    other = find_first(spec, base_model="other-name", **changes)
    results.save(run_trial(other, dataset, keep_models="all"))
    return other


@pytest.mark.parametrize("regime", ["sequential", "multistage"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_from_a_kept_model_has_the_bytes_of_one_that_trains_anew(
    regime: str, kind: str, make_large: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec, results = in_stages(make_large, regime, **KINDS[kind]), located(tmp_path)
    other = keep_first(spec, tiny_dataset, results)
    anew = run_trial(spec, tiny_dataset, keep_models="all")
    steps: list[int] = []
    shared = run_trial(
        spec,
        tiny_dataset,
        keep_models="all",
        first_stage=KeptFirstStage(results, other.trial_id),
        report=lambda step, *_: steps.append(step),
    )
    assert same(shared, anew)
    assert steps == [spec.num_steps]
    expected = {"taken_from": other.trial_id, "why_trained": ""}
    assert shared.execution["first_stage"] == expected
    assert anew.execution["first_stage"] == {"taken_from": "", "why_trained": ""}


@pytest.mark.parametrize("kind", ["full", "averaged"])
def test_a_trial_from_a_kept_model_resumes_without_it(
    kind: str, make_large: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec, results = in_stages(make_large, "sequential", **KINDS[kind]), located(tmp_path)
    kept = KeptFirstStage(results, keep_first(spec, tiny_dataset, results).trial_id)
    run = partial(run_trial, spec, tiny_dataset, keep_models="all")
    kill_after(1, results, partial(run, first_stage=kept), spec.trial_id)
    resumed = run(checkpoints=Checkpoints(results, spec.trial_id, 3600, read_versions()))
    assert resumed.execution["resumed_at_steps"] == [NUM_FIRST["sequential"] + 1]
    assert resumed.execution["first_stage"]["taken_from"] == kept.trial_id
    assert same(resumed, run())


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ("absent", "is absent"),
        ("settings", "other settings"),
        ("no model", "kept no model"),
        ("damaged", "was changed after it was written"),
        ("threads", "num_threads 2, here 1"),
        ("passes", "micro_batch_size 4, here None"),
    ],
)
def test_another_model_is_not_taken(
    other: str, why: str, make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec, results = in_stages(make_spec, "sequential"), located(tmp_path)
    changes: dict[str, Any] = {
        "settings": {"learning_rate": 1e-3},
        "threads": {"resources": Resources(cpus=2)},
        "passes": {"resources": Resources(micro_batch_size=4)},
    }.get(other, {})
    trial = find_first(spec, **changes)
    if other == "no model":
        results.save(run_trial(trial, tiny_dataset))
    elif other != "absent":
        trial = keep_first(spec, tiny_dataset, results, **changes)
    if other == "damaged":
        file = tmp_path / "trials" / trial.trial_id / "model" / "model.safetensors"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    run = partial(run_trial, spec, tiny_dataset, keep_models="all")
    result = run(first_stage=KeptFirstStage(results, trial.trial_id))
    assert why in result.execution["first_stage"]["why_trained"]
    assert not result.execution["first_stage"]["taken_from"]
    assert same(result, run())


# --- several processes ------------------------------------------------------------------------


def train_together(rank: int, folder: str, text: str) -> None:
    """One worker: the trial anew, resumed in the second stage, and from a kept model."""
    spec = TrialSpec.parse(json.loads(text))
    dataset = Dataset.from_table(pq.read_table(f"{folder}/rows.parquet"))
    results = Results(f"{folder}/results")
    run = partial(run_trial, spec, dataset, keep_models="all")
    anew = run()
    kill_after(NUM_FIRST["sequential"] + 1, results, run, spec.trial_id)
    resumed = run(checkpoints=Checkpoints(results, spec.trial_id, 3600, read_versions()))
    assert resumed.execution["resumed_at_steps"] == [NUM_FIRST["sequential"] + 1]
    first = find_first(spec)
    kept = run_trial(first, dataset, keep_models="all")
    if rank == 0:
        results.save(kept)
    torch.distributed.barrier()
    shared = run(first_stage=KeptFirstStage(results, first.trial_id))
    assert shared.execution["first_stage"]["taken_from"] == first.trial_id
    if rank == 0:
        assert same(resumed, anew) and same(shared, anew)
        Path(folder, "compared").touch()


@pytest.mark.chaos
@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_two_processes_train_both_stages(
    sharding: str, method: str, make_large: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    resources = Resources(workers=2, sharding=sharding)
    spec = in_stages(make_large, "sequential", method=method, resources=resources.model_dump())
    located(tmp_path / "results")
    pq.write_table(tiny_dataset.table, tmp_path / "rows.parquet")
    run_together(train_together, (str(tmp_path), spec.model_dump_json()), resources.workers)
    assert (tmp_path / "compared").exists()


def test_a_worker_takes_the_model_of_the_policy(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec, results = in_stages(make_spec, "sequential"), located(tmp_path)
    other = keep_first(spec, tiny_dataset, results)
    policy = ArtifactPolicy(first_stages={spec.trial_id: other.trial_id})
    run_and_save(spec, tiny_dataset, results, policy, lambda *_: None)
    record = results.state(spec.trial_id).record
    assert record and record["execution"]["first_stage"]["taken_from"] == other.trial_id
