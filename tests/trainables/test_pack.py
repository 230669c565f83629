"""Trials in shared passes learn the same as alone, and each ends independently."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pyarrow as pa
import pytest
import torch
import transformers
from base_state import state_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from killed_trials import KilledError
from packed_trials import (
    SHORT,
    assert_as_alone,
    assert_same,
    packed,
)
from tiny_checkpoints import save_checkpoint
from tiny_data import make_dataset

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.loading.base import load_base
from xlt.trainables.methods import lora_pack
from xlt.trainables.methods.adapters import apply_adapters
from xlt.trainables.methods.lora_pack import LoraPack, has_other_dropout
from xlt.trainables.models.architectures import ARCHITECTURES
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints
from xlt.trainables.training.loop import DivergedError
from xlt.trainables.trial.run_pack import run_pack
from xlt.trainables.trial.run_trial import run_trial
from xlt.trainables.trial.signature import read_versions

MakeMember = Callable[..., TrialSpec]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def uneven() -> Dataset:
    """Texts of one to six parts, so that members' batches differ in width."""
    table = make_dataset().table
    texts = [" ".join([t] * (1 + n * 7 % 6)) for n, t in enumerate(table["text"].to_pylist())]
    place = table.column_names.index("text")
    return Dataset.from_table(table.set_column(place, table.schema.field("text"), pa.array(texts)))


@pytest.fixture(scope="module")
def make_member(make_spec: MakeMember, uneven: Dataset) -> MakeMember:
    """Make specs as ``make_spec`` does, on these texts."""

    def member(architecture: str = "llama", **changes: Any) -> TrialSpec:
        return make_spec(architecture, data_fingerprint=uneven.fingerprint, **changes)

    return member


def mixed(make_member: MakeMember, architecture: str) -> list[TrialSpec]:
    """Members that differ in all in which they may; their texts and trainings differ in length."""
    pattern = {"name": "ja0", "target_lang": "ja", "target_rows": 0, "source_rows": 30}
    return [
        make_member(architecture, lora={"lora_dropout": 0.4}),
        make_member(architecture, seed=1, learning_rate=2e-2, lora={"lora_alpha": 4}),
        make_member(
            architecture, seed=2, pattern=pattern, draw_index=1,
            training={"num_train_epochs": 3, "batch_size": 8, "max_length": 6},
        ),
        make_member(
            architecture, seed=3, training=SHORT | {"warmup_ratio": 0.5, "lr_schedule": "constant"},
            lora={"lora_dropout": 0.0, "use_rslora": True},
        ),
    ]  # fmt: skip


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])
def test_members_learn_what_they_learn_alone(
    architecture: str, make_member: MakeMember, uneven: Dataset
) -> None:
    assert_as_alone(mixed(make_member, architecture), uneven)


@pytest.mark.parametrize("drops", [True, False])
def test_adapters_of_segments_and_their_gradients(drops: bool) -> None:
    """Against the formula, and against finite differences."""
    torch.manual_seed(0)
    sizes, scaling = [3, 1, 4], [0.5, 2.0, 1.0]

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    x, result = drawn(8, 5), drawn(8, 4)
    mask = (torch.rand(8, 5) < 0.5).double() if drops else None
    down, up = [drawn(2, 5) for _ in sizes], [drawn(4, 2) for _ in sizes]
    dropped = x if mask is None else x * mask
    expected = [
        r + s * (b @ a @ part.mT).mT
        for part, r, a, b, s in zip(
            dropped.split(sizes), result.split(sizes), down, up, scaling, strict=True
        )
    ]
    torch.testing.assert_close(
        apply_adapters(x, mask, result, sizes, scaling, *down, *up), torch.cat(expected)
    )
    assert torch.autograd.gradcheck(
        lambda *given: apply_adapters(given[0], mask, given[1], sizes, scaling, *given[2:]),
        (x, result, *down, *up),
    )


def test_members_whose_attention_cannot_do_without_padding(
    make_member: MakeMember, uneven: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their passes are as wide as the widest member's batch."""
    monkeypatch.setattr(lora_pack, "can_be_padding_free", lambda classifier: False)
    specs = mixed(make_member, "llama")
    shares = []
    for spec, result in zip(specs, packed(specs, uneven), strict=True):
        alone = run_trial(spec, uneven)
        assert_same(result, alone)
        shares.append([r.execution["padding_share"] for r in (alone, result)])
    assert all(0 < alone < together < 1 for alone, together in shares)


def test_the_comparison_sees_other_dropout(
    make_member: MakeMember, uneven: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masks of the shared width instead of each member's own: the tests above can fail."""
    specs = mixed(make_member, "llama")[:2]
    monkeypatch.setattr(lora_pack.Segment, "width", property(lambda segment: 99))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_as_alone(specs, uneven)


MEMBERS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 50),
        # At 3e-2 the steps magnify rounding beyond the tolerance within an epoch.
        "learning_rate": st.sampled_from([2e-4, 1e-3, 5e-3]),
        "epochs": st.integers(1, 2),
        "source_rows": st.integers(1, 20),
        "target_rows": st.integers(0, 6),
        "lora_dropout": st.sampled_from([0.0, 0.05, 0.5]),
        "max_length": st.sampled_from([4, 64]),
    }
)


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members=st.lists(MEMBERS, min_size=2, max_size=3, unique_by=lambda m: m["seed"]))
def test_any_members_go_together(
    members: list[dict[str, Any]], make_member: MakeMember, uneven: Dataset
) -> None:
    specs = [
        make_member(
            "llama", seed=m["seed"], learning_rate=m["learning_rate"],
            pattern={
                "name": "mix", "target_lang": "ja", "target_rows": m["target_rows"] // 2 * 2,
                "source_rows": (m["source_rows"] + 1) // 2 * 2,
            },
            training={
                "num_train_epochs": m["epochs"], "batch_size": 8, "max_length": m["max_length"],
            },
            lora={"lora_dropout": m["lora_dropout"]},
        )
        for m in members
    ]  # fmt: skip
    assert_as_alone(specs, uneven)


def test_a_member_that_fails_leaves_the_others_alone(
    make_member: MakeMember, uneven: Dataset
) -> None:
    long = {"num_train_epochs": 4, "batch_size": 8}
    pattern = {"name": "much", "target_lang": "ja", "target_rows": 5000, "source_rows": 24}
    specs = [
        make_member(training=long),
        make_member(seed=1, learning_rate=1e30, training=long),
        make_member(seed=2, pattern=pattern, training=long),
        make_member(seed=3, training=long),
    ]
    ended = list(run_pack(specs, uneven))
    assert [spec.seed for spec, _ in ended] == [2, 1, 0, 3]  # the failed ones as they failed
    outcomes = {spec.seed: outcome for spec, outcome in ended}
    assert isinstance(outcomes[2], InputError)
    assert isinstance(outcomes[1], DivergedError)
    assert "nan at step 10 of 16" in str(outcomes[1])
    for seed in (0, 3):
        result = outcomes[seed]
        assert isinstance(result, TrialResult)
        assert_same(result, run_trial(specs[seed], uneven))


def test_an_error_of_a_report_ends_its_member_only(
    make_member: MakeMember, uneven: Dataset
) -> None:
    def report(spec: TrialSpec, step: int, num_steps: int, loss: float) -> None:
        if spec.seed == 1:
            raise RuntimeError("no one listens")

    first, second = packed([make_member(), make_member(seed=1)], uneven, report=report)
    assert isinstance(first, TrialResult)
    assert str(second) == "no one listens"


def kept_for(specs: Sequence[TrialSpec], results: Results) -> Mapping[str, Checkpoints]:
    return {s.trial_id: Checkpoints(results, s.trial_id, 0, read_versions()) for s in specs}


@pytest.mark.parametrize("killed", ["one alone", "the pack"])
def test_members_go_on_from_their_own_checkpoints(
    killed: str,
    make_member: MakeMember,
    uneven: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where they are at different steps, and were alone before."""
    specs = [make_member(seed=seed, lora={"lora_dropout": 0.4}) for seed in range(3)]
    results = Results(str(tmp_path / "results"))
    results.prepare()
    save = Checkpoints.save

    def saved(self: Checkpoints, model: Any, optimizer: Any, at: int, *rest: Any) -> None:
        save(self, model, optimizer, at, *rest)
        if at == 3 and self.trial_id == specs[1].trial_id:
            raise KilledError

    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(Checkpoints, "save", saved)
        kept = kept_for(specs, results)
        if killed == "one alone":
            run_trial(specs[1], uneven, checkpoints=kept[specs[1].trial_id])
        else:
            packed(specs, uneven, checkpoints=kept)
    torch.manual_seed(12345)  # another process has other generators
    resumed = packed(specs, uneven, checkpoints=kept_for(specs, results))
    steps = [result.execution["resumed_at_steps"] for result in resumed]
    # The third member had not yet taken its third step when the second one was killed.
    assert steps == ([[], [3], []] if killed == "one alone" else [[3], [3], [2]])
    for spec, result in zip(specs, resumed, strict=True):
        assert_same(result, run_trial(spec, uneven))


def test_kept_adapters_score_the_same_in_plain_peft(
    make_member: MakeMember, uneven: Dataset, tmp_path: Path
) -> None:
    specs = [make_member(seed=seed, learning_rate=2e-2) for seed in range(2)]
    for spec, result in zip(specs, packed(specs, uneven, keep_models="adapters"), strict=True):
        folder = tmp_path / str(spec.seed)
        folder.mkdir()
        for name, content in result.model.items():
            (folder / name).write_bytes(content)
        base = load_base(spec, CPU, torch.float32)
        plain: Any = transformers.AutoModelForSequenceClassification.from_pretrained(
            spec.base_path, num_labels=2, pad_token_id=base.tokenizer.pad_token_id
        )
        model: Any = peft.PeftModel.from_pretrained(plain, folder).eval()
        texts = uneven.rows(result.predictions["id"].to_pylist())["text"].to_pylist()
        with torch.inference_mode():
            logits = [model(**base.tokenizer(t, return_tensors="pt")).logits[0] for t in texts]
        scores = torch.stack(logits).double().softmax(-1)[:, 1].numpy()
        np.testing.assert_allclose(result.predictions["y_score"].to_numpy(), scores, atol=1e-5)


def test_the_base_is_as_loaded_after_a_pack(make_member: MakeMember, uneven: Dataset) -> None:
    specs = mixed(make_member, "llama")
    base = load_base(specs[0], CPU, torch.float32)
    before = state_of(base)
    packed(specs, uneven)
    assert state_of(base) == before


@pytest.mark.parametrize("most", [2, 1])
def test_fewer_members_share_a_pass_where_memory_is_short(
    most: int, make_member: MakeMember, uneven: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = mixed(make_member, "llama")[: most + 1]
    compute_logits = LoraPack.compute_logits

    def limited(self: LoraPack, segments: Any) -> Any:
        logits = compute_logits(self, segments)  # memory runs out late: dropout has drawn
        if len(segments) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return logits

    monkeypatch.setattr(LoraPack, "compute_logits", limited)
    results = packed(specs, uneven)
    for spec, result in zip(specs, results, strict=True):
        assert_same(result, run_trial(spec, uneven))
        assert result.execution["times_out_of_memory"] == 1
        assert result.execution["micro_batch_size"] is None


def test_adapters_in_a_head_are_not_shared(
    make_member: MakeMember, uneven: Dataset, tmp_path: Path
) -> None:
    """ModernBERT's pre-trained head.dense sees rows where the backbone's layers see tokens."""
    save_checkpoint("modernbert", uneven.table["text"].to_pylist(), tmp_path)
    where = {"base_path": str(tmp_path), "base_identity": "test:pack-modernbert"}
    specs = [make_member(seed=seed, training=SHORT, **where) for seed in range(2)]
    for spec, result in zip(specs, packed(specs, uneven), strict=True):
        assert result.execution["packed"] == 1
        assert_same(result, run_trial(spec, uneven))


DECODERS = [
    n for n, a in ARCHITECTURES.items() if a.kind == "decoder" and n not in ("llama", "gpt_neox")
]


@pytest.mark.chaos
@pytest.mark.parametrize("architecture", DECODERS)
def test_every_decoder_learns_alone_what_it_learns_in_a_pack(
    architecture: str, make_member: MakeMember, uneven: Dataset, tmp_path: Path
) -> None:
    save_checkpoint(architecture, uneven.table["text"].to_pylist(), tmp_path)
    where = {"base_path": str(tmp_path), "base_identity": f"test:pack-{architecture}"}
    specs = [make_member(seed=s, training=SHORT, learning_rate=1e-3, **where) for s in range(2)]
    shares = not has_other_dropout(load_base(specs[0], CPU, torch.float32).model)
    for spec, result in zip(specs, packed(specs, uneven), strict=True):
        assert_same(result, run_trial(spec, uneven))
        assert result.execution["packed"] == (2 if shares else 1)
