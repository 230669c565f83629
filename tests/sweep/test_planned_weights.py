"""Weights of languages and shares of target rows: where they have no effect, cells have plain ids.

Patterns with translations read rows in other languages than they were written in.
"""

from __future__ import annotations

from typing import Any

import pytest
from grids import load_grid

from xlt.data.core.errors import InputError
from xlt.data.dataset.patterns import Pattern
from xlt.sweep.plan_text.row_weights import describe_target_share, describe_without_effect
from xlt.trainables.spec.training import Training

MODELS = "models=[mini-mbert, mini-opencalm]"
PATTERNS = "patterns=[ja0, ja16]"
MULTISTAGE = "training.regime=multistage"
BOTH = ("training.target_share=0.5", "training.loss_weights={ja: 8, en: 1}")


def test_only_cells_with_both_kinds_of_rows_get_other_ids_and_more_steps() -> None:
    plain, changed = (load_grid("quickstart", MODELS, PATTERNS, *s) for s in ((), BOTH))
    for before, after in zip(plain.cells, changed.cells, strict=True):
        has_both = str(after.key) == "mini-mbert x ja16"
        ids = [{spec.trial_id for spec in cell.specs} for cell in (before, after)]
        assert (ids[0] != ids[1]) == has_both
        lost = () if has_both or not after.specs else ("loss_weights", "target_share")
        assert (before.without_effect, after.without_effect) == ((), lost)
        if has_both:
            assert after.specs[0].training.loss_weights == {"ja": 8.0}  # 1 is the default
            assert (before.specs[0].num_steps, after.specs[0].num_steps) == (5 * 65, 5 * 128)
            remark = describe_target_share(after.specs[0])
            assert remark == "target_share 0.5: 128 instead of 65 steps an epoch"
    assert describe_without_effect(plain) == []
    cells = "mini-mbert x ja0, mini-opencalm x ja16"
    assert describe_without_effect(changed) == [
        f"training.loss_weights has no effect where all rows weigh the same: {cells}",
        "training.target_share has no effect where there are no source rows or no target rows: "
        + cells,
    ]


@pytest.mark.parametrize(
    ("fields", "source_lang", "langs"),
    [
        ({}, "en", ("en", "ja")),
        ({"target_rows": 0}, "en", ("en",)),
        ({"source_rows": 0}, "en", ("ja",)),
        ({"translate": "train"}, "en", ("ja",)),
        ({"translate": "train+source"}, "en", ("en", "ja")),
        ({"translate": "train+source", "target_rows": 0}, "en", ("en", "ja")),
        ({"translate": "test"}, "en", ("en",)),
        ({}, ("en", "de"), ("en", "de", "ja")),
        ({"target_rows": 0}, ("en", "de"), ("en", "de")),
    ],
)
def test_rows_count_in_the_language_that_is_read(
    fields: dict[str, Any], source_lang: Any, langs: tuple[str, ...]
) -> None:
    pattern = Pattern.parse({"name": "few", "target_lang": "ja", "target_rows": 16} | fields)
    assert pattern.list_train_langs(source_lang) == langs
    balanced = Training(loss_weights="balanced", target_share=0.5)
    dropped = balanced.drop_without_effect(pattern, source_lang)
    assert (dropped.loss_weights is None) == (len(langs) == 1)
    assert (dropped.target_share is None) == (0 in (pattern.source_rows, pattern.target_rows))


@pytest.mark.parametrize(
    ("weights", "kept"),
    [
        ({"ja": 8, "en": 1}, {"ja": 8.0}),
        ({"ja": 8, "de": 5}, {"ja": 8.0}),
        ({"ja": 2, "en": 2}, None),
        ({"de": 5}, None),
    ],
)
def test_weights_that_change_nothing_are_left_out(weights: Any, kept: Any) -> None:
    pattern = Pattern(name="ja16", target_lang="ja", target_rows=16)
    training = Training.parse({"loss_weights": weights})
    assert training.drop_without_effect(pattern, "en").loss_weights == kept


def test_an_override_and_a_tuned_trial_leave_out_the_same() -> None:
    override = "overrides=[{match: {model: mini-mbert}, training: {target_share: 0.1}, why: few}]"
    grid = load_grid("quickstart", "models=[mini-mbert]", PATTERNS, override)
    found = {c.pattern.name: (c.specs[0].training.target_share, c.note) for c in grid.cells}
    assert found == {"ja0": (None, ""), "ja16": (0.1, "few")}
    first = grid.cells[0].specs[0]
    tuned = first.tuned(1e-3, {"target_share": 0.5, "loss_weights": {"ja": 2}}, {})
    assert tuned.trial_id == first.tuned(1e-3, {}, {}).trial_id


def test_a_share_that_leaves_target_rows_untrained_is_refused() -> None:
    settings = ("training.target_share=0.001", "training.num_train_epochs=2")
    with pytest.raises(InputError, match=r"ja16: target_share 0\.001 takes 4 of 16 target rows in"):
        load_grid("quickstart", "models=[mini-mbert]", PATTERNS, *settings)
    load_grid("quickstart", "models=[mini-mbert]", PATTERNS, *settings, MULTISTAGE)


def test_a_share_of_batches_needs_batches_of_both_kinds() -> None:
    share = ["training.target_share=0.5", "models=[mini-mbert]", PATTERNS]
    with pytest.raises(InputError, match=r"regime sequential has none; set target_share to null"):
        load_grid("quickstart", *share, "training.regime=sequential")
    grid = load_grid("quickstart", *share, MULTISTAGE)
    spec = grid.cells[1].specs[0]
    assert [stage.num_steps for stage in spec.stages] == [5 * 128, 5]
    remark = "target_share 0.5: 128 instead of 65 steps an epoch"
    assert describe_target_share(spec) == remark


def test_the_shipped_regimes_differ_where_there_are_target_rows() -> None:
    grid = load_grid("regimes", "seeds=[0]")
    assert len({cell.resolved.identity for cell in grid.cells}) == 1
    settings = {cell.key: repr(cell.specs[0].training) for cell in grid.cells}
    few = [cell.key for cell in grid.cells if cell.pattern.target_rows]
    assert len({(key.pattern, settings[key]) for key in few}) == len(few)
    assert [bool(cell.note) for cell in grid.cells if cell.key in few] == [
        cell.model.name != "joint" for cell in grid.cells if cell.key in few
    ]
