"""The dry run of any type of peft against a real step."""

from __future__ import annotations

from typing import Any

import pytest
from dry_run_specs import HEADS, make_spec
from measured_memory import counted, real_peaks
from peft_settings import NORMS, SETTINGS
from tiny_checkpoints import make_classifier, make_measured_config

from xlt.trainables.estimates.dry_run import UncountedError
from xlt.trainables.loading.base import Base
from xlt.trainables.methods.registry import METHODS
from xlt.trainables.spec.adapters import TYPES
from xlt.trainables.spec.trial_spec import TrialSpec

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # advice of peft
TOLERANCE = 0.15


def make_typed(peft_type: str, architecture: str) -> TrialSpec:
    values = make_spec("full").model_dump(mode="json", exclude={"method"})
    settings = SETTINGS.get(peft_type, {})
    if peft_type == "LN_TUNING":
        settings = {"target_modules": [NORMS[architecture]]}
    elif peft_type == "ADALORA":  # the trial has three steps
        settings = {"tinit": 0, "tfinal": 1, "deltaT": 1, "init_r": 4, "target_r": 2}
    return TrialSpec.parse(
        values | {"method": "peft", "peft": {"peft_type": peft_type, **settings}}
    )


@pytest.mark.parametrize("peft_type", TYPES)
def test_every_type_of_peft_is_counted_but_those_that_start_from_weights(peft_type: str) -> None:
    spec = make_typed(peft_type, "bert")
    if peft_type in ("ADAMSS", "FROD", "SHIRA"):
        with pytest.raises(UncountedError, match="cannot be counted"):
            counted(spec, "bert", "tiny")
        return
    run = counted(spec, "bert", "tiny")
    model = make_classifier(make_measured_config("bert", "tiny"))
    base = Base(tokenizer=None, model=model, head_modules=HEADS["bert"])
    if not spec.peft or not spec.peft.num_virtual_tokens:
        real: Any = METHODS["peft"](base, spec)
        trained = sum(p.numel() for p in real.parameters() if p.requires_grad)
        assert run.num_trained == trained


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("architecture", "peft_type"),
    [
        ("bert", "BOFT"), ("llama", "LOKR"), ("llama", "UNILORA"), ("bert", "VBLORA"),
        ("llama", "WAVEFT"), ("llama", "PREFIX_TUNING"), ("bert", "P_TUNING"),
    ],
)  # fmt: skip
def test_memory_of_types_of_peft_is_what_the_allocator_measures(
    architecture: str, peft_type: str
) -> None:
    """Types whose code asks for values of tensors or has tensors outside of modules."""
    spec = make_typed(peft_type, architecture)
    memory = counted(spec, architecture).memory
    training, prediction = real_peaks(spec, architecture, "middle")
    assert memory.training == pytest.approx(training, rel=TOLERANCE)
    assert memory.base + memory.trained + memory.prediction == pytest.approx(
        prediction, rel=TOLERANCE
    )
