"""The built-in headlines know which of their labels are wrong."""

from __future__ import annotations

from xlt.data.sources import synthetic


def test_wrong_labels_are_those_that_noise_changed() -> None:
    numbers = {"num_source": 100, "num_target": 101}
    noisy, clean = (
        synthetic.read(synthetic.Options(label_noise=noise, **numbers), lambda *_: None).dataset
        for noise in (0.1, 0.0)
    )
    labels = [dict(zip(*map(d.table.column, ("id", "label")), strict=True)) for d in (noisy, clean)]
    changed = {i.as_py() for i, label in labels[0].items() if label != labels[1][i]}
    assert noisy.wrong_labels == changed and len(changed) == 20
    assert clean.wrong_labels == frozenset()
    assert noisy.fingerprint != clean.fingerprint


def test_the_built_in_headlines_stay_the_same() -> None:
    dataset = synthetic.read(synthetic.Options(), lambda *_: None).dataset
    # Finished trials have these fingerprints, and the ids of new ones depend on them.
    assert dataset.fingerprint.startswith("95b25de2e7fc70eef76419d7")
    translations = [value[:12] for value in dataset.translations.fingerprints.values()]
    assert translations == ["67265ec825e9", "200ef223a313"]
