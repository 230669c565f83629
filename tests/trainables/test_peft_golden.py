"""Types of peft against peft's own model in a plain loop of torch: losses, weights and scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from hf_trainer import batches_of, build_without_dropout, load, training_rows
from peft_settings import SETTINGS, make_peft_spec

from xlt.data.core.seeds import derive_seed
from xlt.data.dataset.schema import Dataset
from xlt.trainables.loading.head import init_head
from xlt.trainables.methods import adalora
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.classification import fit_classifier

MakeSpec = Callable[..., TrialSpec]
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),  # advice of peft
    pytest.mark.usefixtures("one_thread"),
]

CONFIGS: dict[str, type[peft.PeftConfig]] = {
    "ADALORA": peft.AdaLoraConfig,
    "IA3": peft.IA3Config,
    "LN_TUNING": peft.LNTuningConfig,
    "OFT": peft.OFTConfig,
    "PREFIX_TUNING": peft.PrefixTuningConfig,
    "PROMPT_TUNING": peft.PromptTuningConfig,
    "VERA": peft.VeraConfig,
}
CASES = [("llama", name) for name in CONFIGS if name != "PROMPT_TUNING"]
CASES += [("bert", "ADALORA"), ("bert", "PREFIX_TUNING"), ("bert", "PROMPT_TUNING")]
BY_PEFT = ("IA3", "LN_TUNING", "PREFIX_TUNING", "PROMPT_TUNING")
"""Types whose modules peft chooses by the architecture."""


def make_theirs(spec: TrialSpec) -> Any:
    """The classifier that peft makes of a trial's settings, without our code."""
    assert spec.peft
    name = spec.peft.peft_type
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        spec.base_path, num_labels=2, pad_token_id=load(spec).tokenizer.pad_token_id
    )
    init_head(model, load(spec).head_modules, derive_seed(spec.seed, "head"))
    settings: dict[str, Any] = SETTINGS.get(name, {}) | spec.peft.given
    settings |= {} if name in BY_PEFT else {"target_modules": "all-linear"}
    settings |= {"total_step": spec.num_steps} if name == "ADALORA" else {}
    pooler = ["bert.pooler"] if spec.base_model == "tiny-bert" else None
    torch.manual_seed(derive_seed(spec.seed, "adapters"))
    theirs = peft.get_peft_model(
        model, CONFIGS[name](task_type="SEQ_CLS", modules_to_save=pooler, **settings)
    )
    for module in theirs.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return theirs


def train_theirs(model: Any, spec: TrialSpec, token_ids: Any, labels: Any) -> list[float]:
    """Train as the page of AdaLoRA in peft says; returns the cross-entropy of each step."""
    rate, losses = spec.learning_rate or 0.0, []
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": spec.training.weight_decay},
        {"params": [p for p in trained if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=rate)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, 0, spec.num_steps)
    pad = load(spec).tokenizer.pad_token_id
    model.train()
    for step, batch in enumerate(batches_of(spec, token_ids, labels, pad), start=1):
        output = model(**batch)
        losses.append(torch.nn.functional.cross_entropy(output.logits, batch["labels"]).item())
        output.loss.backward()  # with the penalty of AdaLoRA
        torch.nn.utils.clip_grad_norm_(trained, spec.training.max_grad_norm)
        optimizer.step()
        schedule.step()
        if hasattr(model.base_model, "update_and_allocate"):
            model.base_model.update_and_allocate(step)
        optimizer.zero_grad()
    return losses


@pytest.mark.parametrize(("architecture", "name"), CASES)
def test_losses_and_weights_are_those_of_peft(
    architecture: str, name: str, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    spec = make_peft_spec(make_spec, architecture, name, learning_rate=5e-3)
    token_ids, labels = training_rows(spec, tiny_dataset)
    ours, theirs = build_without_dropout(spec), make_theirs(spec)
    expected = dict(theirs.named_parameters())
    start = {n: p.detach().clone() for n, p in expected.items() if p.requires_grad}
    assert {n for n, p in ours.named_parameters() if p.requires_grad} == set(start)
    for n, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter, expected[n], rtol=0, atol=1e-6, msg=n)
    losses = train_theirs(theirs, spec, token_ids, labels)
    history = fit_classifier(ours, token_ids, labels, spec, lambda *_: None).history
    assert np.ptp(losses) > 1e-3
    np.testing.assert_allclose(history["loss"].to_pylist(), losses, rtol=0, atol=1e-5)
    for n, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter, expected[n], rtol=0, atol=1e-4, msg=n)
    if name == "ADALORA":
        pattern = theirs.peft_config["default"].rank_pattern
        lost = [value for values in pattern.values() for value in values].count(False)
        kept = {n: p for n, p in ours.named_parameters() if "lora_E" in n}
        assert lost == sum(int((p == 0).sum()) for p in kept.values()) > 0
        assert ours.peft_config["default"].rank_pattern is None


def test_adalora_without_its_rule_is_another_training(
    make_spec: MakeSpec, tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proof that the test above can fail."""
    spec = make_peft_spec(make_spec, "llama", "ADALORA", learning_rate=5e-3)
    rows = training_rows(spec, tiny_dataset)
    losses = train_theirs(make_theirs(spec), spec, *rows)
    monkeypatch.setattr(adalora.RankAllocation, "after_step", lambda *_: None)
    ours = fit_classifier(build_without_dropout(spec), *rows, spec, lambda *_: None).history
    assert np.abs(np.array(losses) - ours["loss"].to_numpy()).max() > 1e-4
