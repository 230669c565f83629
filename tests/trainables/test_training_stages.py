"""Training in two stages is that of two HF Trainer runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hf_trainer import batches_of, build_without_dropout, trainer_on
from killed_trials import located
from staged_specs import (
    NO_DROPOUT,
    NUM_FIRST,
    NUM_SECOND,
    STAGES,
    MakeSpec,
    in_stages,
)
from torch import nn

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.inference.kept_model import load_kept_model
from xlt.trainables.loading.tokenize import encode
from xlt.trainables.spec.packable import compute_pack_key
from xlt.trainables.spec.training import Training
from xlt.trainables.training.loop import predict
from xlt.trainables.training.micro_batches import MicroBatches
from xlt.trainables.trial.fit_stages import fit_stages, join_history, split_stages
from xlt.trainables.trial.run_trial import prepare_trial, run_trial

pytestmark = pytest.mark.usefixtures("one_thread")


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
