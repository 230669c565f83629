"""A step learns the same for any size of its passes, also after memory ran out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from trained_tiny import make_trained

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.loading.tokenize import encode
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.classification import fit_classifier
from xlt.trainables.training.micro_batches import MicroBatches
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]
ROWS = 11


class Regression:
    """A small model whose passes may fail as a full GPU's do."""

    def __init__(self, fits: int = ROWS, dropout: float = 0.0) -> None:
        torch.manual_seed(0)
        self.fits = fits
        self.model = torch.nn.Sequential(torch.nn.Dropout(dropout), torch.nn.Linear(5, 3))
        self.x, self.y = torch.randn(ROWS, 5), torch.randint(0, 3, (ROWS,))
        self.passes: list[int] = []

    def loss_of(self, rows: list[int]) -> torch.Tensor:
        self.passes.append(len(rows))
        loss = F.cross_entropy(self.model(self.x[rows]), self.y[rows])
        if len(rows) > self.fits:
            torch.autograd.backward(loss, retain_graph=True)  # half of the gradients are there
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss

    def gradients(self) -> list[torch.Tensor]:
        return [p.grad for p in self.model.parameters() if p.grad is not None]


@given(size=st.integers(1, ROWS + 3), num_rows=st.integers(1, ROWS))
def test_gradients_and_loss_are_those_of_the_whole_batch(size: int, num_rows: int) -> None:
    whole, cut = Regression(), Regression()
    rows = list(range(num_rows))
    expected = whole.loss_of(rows)
    torch.autograd.backward(expected)
    loss = MicroBatches(cut.model, cut.loss_of, size)(rows)
    assert max(cut.passes) <= size and sum(cut.passes) == num_rows
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(cut.gradients(), whole.gradients())


@pytest.mark.parametrize(
    ("fits", "size", "halved"), [(11, None, 0), (5, 5, 1), (3, 2, 2), (1, 1, 3)]
)
def test_out_of_memory_halves_the_pass_and_takes_the_step_again(
    fits: int, size: int | None, halved: int
) -> None:
    whole, cut = Regression(), Regression(fits)
    rows = list(range(ROWS))
    torch.autograd.backward(whole.loss_of(rows))
    step = MicroBatches(cut.model, cut.loss_of)
    step(rows)
    assert (step.size, step.num_halved) == (size, halved)
    torch.testing.assert_close(cut.gradients(), whole.gradients())
    cut.passes.clear()
    step(rows)
    assert max(cut.passes) == (size or ROWS)  # it does not fail again in the next step


def test_a_step_taken_again_drops_what_a_step_of_that_size_drops() -> None:
    """The generators are put back: the failed pass leaves no trace."""
    whole, halved = Regression(dropout=0.5), Regression(fits=5, dropout=0.5)
    torch.manual_seed(1)
    MicroBatches(whole.model, whole.loss_of, 5)(list(range(ROWS)))
    torch.manual_seed(1)
    MicroBatches(halved.model, halved.loss_of)(list(range(ROWS)))
    for ours, theirs in zip(halved.gradients(), whole.gradients(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_row_that_never_fits_is_an_error_with_remedies() -> None:
    hopeless = Regression(fits=0)
    with pytest.raises(InputError, match=r"single row.*gradient_checkpointing.*fsdp"):
        MicroBatches(hopeless.model, hopeless.loss_of)([0, 1, 2])


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox", "bert"])
def test_a_trial_in_micro_batches_has_the_loss_curve_of_whole_batches(
    architecture: str, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    """Batches of 8 in passes of 3; dropout is off, because it drops other units of a cut batch."""
    losses = []
    for micro_batch_size in (None, 3):
        spec = make_spec(
            architecture, method="lora", lora={"lora_dropout": 0.0},
            resources={"micro_batch_size": micro_batch_size},
        )  # fmt: skip
        base, model = make_trained(spec)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        token_ids = encode(base, tiny_dataset.table, 64)
        labels = tiny_dataset.table["label"].to_pylist()
        fitted = fit_classifier(model, token_ids, labels, spec, lambda *_: None)
        assert fitted.micro_batch_size == micro_batch_size
        losses.append(fitted.history["loss"].to_numpy())
    assert np.ptp(losses[0]) > 1e-3
    np.testing.assert_allclose(losses[1], losses[0], atol=1e-5, rtol=0)


def test_a_trial_records_that_memory_ran_out(
    make_spec: MakeSpec, tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec("llama")
    accumulate = MicroBatches._accumulate

    def limited(self: MicroBatches, batch: Any) -> torch.Tensor:
        if (self.size or len(batch)) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return accumulate(self, batch)

    monkeypatch.setattr(MicroBatches, "_accumulate", limited)
    result = run_trial(spec, tiny_dataset)
    assert result.execution["micro_batch_size"] == 2
    assert result.execution["times_out_of_memory"] == 2
    asked = make_spec("llama", resources={"micro_batch_size": 2})
    monkeypatch.undo()
    assert result.predictions.equals(run_trial(asked, tiny_dataset).predictions)
    assert asked.trial_id == spec.trial_id
