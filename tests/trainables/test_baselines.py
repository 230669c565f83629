"""Baselines: their scores equal those of plain scikit-learn and transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers
from numpy.typing import NDArray
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from tiny_data import make_dataset
from tiny_prompts import read_scores
from tiny_tasks import PATTERN, pairs, three_classes

from xlt.analysis.trials.training_state import training_state
from xlt.data.core.errors import InputError
from xlt.data.core.seeds import derive_seed
from xlt.data.dataset.draws import draw
from xlt.data.dataset.schema import Dataset
from xlt.trainables.baselines.logistic import DEFAULT_C, PENALTIES
from xlt.trainables.baselines.registry import FEATURES
from xlt.trainables.loading import base as loading
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.methods import BASELINES
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_pack import run_pack
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]
Rows = tuple[pa.Table, pa.Table]


@pytest.fixture
def make_baseline(make_spec: MakeSpec) -> MakeSpec:
    def make(method: str, architecture: str = "bert", **changes: Any) -> TrialSpec:
        return make_spec(architecture, method=method, learning_rate=None, **changes)

    return make


def draw_rows(dataset: Dataset, spec: TrialSpec) -> Rows:
    drawn = draw(dataset, spec.source_lang, spec.pattern, spec.sampling, spec.draw_index)
    return dataset.rows(list(drawn.train)), dataset.rows(list(drawn.test))


def search_c(estimator: Any, name: str, spec: TrialSpec, num_folds: int = 4) -> GridSearchCV:
    """scikit-learn's own search of C."""
    shuffle_seed = derive_seed(spec.seed, "folds") % 2**32
    folds = StratifiedKFold(num_folds, shuffle=True, random_state=shuffle_seed)
    return GridSearchCV(estimator, {name: PENALTIES}, cv=folds, scoring="neg_log_loss")


def logistic() -> LogisticRegression:
    return LogisticRegression(max_iter=10_000)


@pytest.mark.parametrize("seed", [0, 3])
def test_ngram_equals_a_pipeline_of_scikit_learn(
    seed: int, tiny_dataset: Dataset, make_baseline: MakeSpec
) -> None:
    spec = make_baseline("ngram", seed=seed, ngram={"min_n": 2, "max_n": 3})
    train, test = draw_rows(tiny_dataset, spec)
    pipeline = make_pipeline(TfidfVectorizer(analyzer="char", ngram_range=(2, 3)), logistic())
    search = search_c(pipeline, "logisticregression__C", spec)
    search.fit(train["text"].to_pylist(), train["label"].to_numpy())
    result = run_trial(spec, tiny_dataset)
    expected = search.predict_proba(test["text"].to_pylist())[:, 1]
    np.testing.assert_allclose(read_scores(result), expected, rtol=0, atol=1e-12)
    assert result.execution["C"] == search.best_params_["logisticregression__C"]
    np.testing.assert_allclose(
        list(result.execution["dev_losses"].values()), -search.cv_results_["mean_test_score"]
    )
    assert np.ptp(expected) > 0.1  # else any two constant scores would be equal


def test_ngram_has_a_probability_for_each_of_three_classes(make_baseline: MakeSpec) -> None:
    dataset = three_classes()
    spec = make_baseline(
        "ngram", data_fingerprint=dataset.fingerprint, pattern=PATTERN, sampling={"test_rows": 60}
    )
    train, test = draw_rows(dataset, spec)
    pipeline = make_pipeline(TfidfVectorizer(analyzer="char", ngram_range=(1, 4)), logistic())
    search = search_c(pipeline, "logisticregression__C", spec)
    search.fit(train["text"].to_pylist(), train["label"].to_numpy())
    result = run_trial(spec, dataset)
    expected = search.predict_proba(test["text"].to_pylist())
    np.testing.assert_allclose(read_scores(result), expected, rtol=0, atol=1e-12)
    assert result.metrics["accuracy"] == np.mean(expected.argmax(1) == test["label"].to_numpy())
    assert len(result.train_rows["y_score"][0]) == 3


def test_each_text_of_a_pair_has_ngrams_of_its_own(make_baseline: MakeSpec) -> None:
    dataset = pairs()
    spec = make_baseline(
        "ngram", data_fingerprint=dataset.fingerprint, pattern=PATTERN, sampling={"test_rows": 40}
    )
    train, test = draw_rows(dataset, spec)
    parts = []
    for name in ("text", "text_pair"):
        vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 4))
        vectorizer.fit(train[name].to_pylist())
        parts.append([vectorizer.transform(rows[name].to_pylist()) for rows in (train, test)])
    result = run_trial(spec, dataset)
    (x_train, x_test) = (hstack(blocks, format="csr") for blocks in zip(*parts, strict=True))
    plain = logistic().set_params(C=result.execution["C"])
    plain.fit(x_train, train["label"].to_numpy())
    expected = plain.predict_proba(x_test)[:, 1]
    np.testing.assert_allclose(read_scores(result), expected, rtol=0, atol=1e-12)
    assert result.metrics["auroc"] > 0.9  # the second text alone tells the label


@pytest.mark.parametrize("prefix", ["", "query: "])
@pytest.mark.parametrize("architecture", ["llama", "bert", "gpt_neox"])
def test_embed_equals_masked_means_of_the_plain_model(
    architecture: str,
    prefix: str,
    tiny_base: Callable[[str], Path],
    tiny_dataset: Dataset,
    make_baseline: MakeSpec,
) -> None:
    spec = make_baseline("embed", architecture, embed={"prefix": prefix})
    train, test = draw_rows(tiny_dataset, spec)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_base(architecture))
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.unk_token
    model = transformers.AutoModel.from_pretrained(tiny_base(architecture)).eval()

    def embed(rows: pa.Table) -> NDArray[np.float64]:
        texts = [prefix + text for text in rows["text"].to_pylist()]
        batch = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
        batch.pop("token_type_ids", None)
        with torch.inference_mode():
            hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1)
        return ((hidden * mask).sum(1) / mask.sum(1)).double().numpy()

    search = search_c(logistic(), "C", spec)
    search.fit(embed(train), train["label"].to_numpy())
    result = run_trial(spec, tiny_dataset)
    assert result.execution["C"] == search.best_params_["C"]
    expected = search.predict_proba(embed(test))[:, 1]
    np.testing.assert_allclose(read_scores(result), expected, rtol=0, atol=1e-3)
    assert np.ptp(expected) > 0.01


@pytest.mark.parametrize("method", FEATURES)
class TestBaseline:
    def test_is_known_to_specs(self, method: str) -> None:
        assert set(FEATURES) == set(BASELINES) - {"prompt"}  # test_prompt_scores.py

    def test_gives_equal_bytes_whatever_ran_before(
        self, method: str, tiny_dataset: Dataset, make_spec: MakeSpec, make_baseline: MakeSpec
    ) -> None:
        spec = make_baseline(method)
        loading._LOADED.clear()
        first = run_trial(spec, tiny_dataset)
        loading._LOADED.clear()
        run_trial(make_spec("bert"), tiny_dataset)  # trains a copy of the base model
        run_trial(spec.model_copy(update={"draw_index": 1}), tiny_dataset)
        again = run_trial(spec, tiny_dataset)
        for table in ("predictions", "train_rows", "history"):
            assert getattr(again, table).equals(getattr(first, table))
        assert (again.metrics, again.signature) == (first.metrics, first.signature)
        assert again.execution == first.execution

    def test_the_seed_changes_only_the_folds(
        self, method: str, tiny_dataset: Dataset, make_baseline: MakeSpec
    ) -> None:
        results = [run_trial(make_baseline(method, seed=s), tiny_dataset) for s in (0, 1)]
        losses = [result.execution["dev_losses"] for result in results]
        assert losses[0] != losses[1]
        assert results[0].train_rows["id"].equals(results[1].train_rows["id"])

    def test_has_neither_steps_nor_weights(
        self, method: str, tiny_dataset: Dataset, make_baseline: MakeSpec, make_spec: MakeSpec
    ) -> None:
        spec = make_baseline(method)
        assert spec.num_steps == 0
        result = run_trial(spec, tiny_dataset, keep_models="all", explain=Explain(rows=2))
        assert (result.history.num_rows, result.model, result.convergence) == (0, {}, {})
        trained = run_trial(make_spec("bert"), tiny_dataset)
        assert result.history.schema == trained.history.schema
        assert result.predictions.schema == trained.predictions.schema
        assert result.train_rows.schema == trained.train_rows.schema
        assert training_state(result.convergence) == ("trained", "")
        assert result.attributions is not None
        assert f"method {method} has no classifier" in result.attributions.error

    def test_one_row_a_class_leaves_nothing_to_hold_out(
        self, method: str, tiny_dataset: Dataset, make_baseline: MakeSpec
    ) -> None:
        two = {"name": "two", "target_lang": "ja", "target_rows": 2, "source_rows": 0}
        result = run_trial(make_baseline(method, pattern=two), tiny_dataset)
        assert (result.execution["C"], result.execution["dev_losses"]) == (DEFAULT_C, {})

    def test_other_data_are_refused(self, method: str, make_baseline: MakeSpec) -> None:
        with pytest.raises(InputError, match="not the one that the trial was planned for"):
            run_trial(make_baseline(method), make_dataset(seed=1))

    def test_runs_in_a_pack_alone(
        self, method: str, tiny_dataset: Dataset, make_baseline: MakeSpec
    ) -> None:
        specs = [make_baseline(method, seed=seed) for seed in (0, 1)]
        for spec, result in run_pack(specs, tiny_dataset):
            assert isinstance(result, TrialResult)
            assert result.metrics == run_trial(spec, tiny_dataset).metrics


def test_ngram_needs_no_base_model(tiny_dataset: Dataset, make_baseline: MakeSpec) -> None:
    spec = make_baseline("ngram", base_path="", base_identity="none")
    loading._LOADED.clear()
    result = run_trial(spec, tiny_dataset)
    assert not loading._LOADED
    assert result.signature["base_weights"] == result.signature["precision"] == "none"


def test_an_embedding_is_computed_once_in_a_process(
    tiny_dataset: Dataset, make_baseline: MakeSpec
) -> None:
    spec = make_baseline("embed")
    loading._LOADED.clear()
    run_trial(spec, tiny_dataset)
    (base,) = loading._LOADED.values()
    base.model.base_model.forward = None  # a second pass would raise
    try:
        run_trial(spec.model_copy(update={"seed": 1}), tiny_dataset)
        with pytest.raises(TypeError):
            run_trial(spec.model_copy(update={"draw_index": 1}), tiny_dataset)
    finally:
        loading._LOADED.clear()


def test_texts_that_were_cut_are_counted(tiny_dataset: Dataset, make_baseline: MakeSpec) -> None:
    result = run_trial(make_baseline("embed", training={"max_length": 4}), tiny_dataset)
    assert result.execution["truncated_texts"] == {"train": 32, "test": 20}


def test_ngrams_longer_than_every_text_are_refused(
    tiny_dataset: Dataset, make_baseline: MakeSpec
) -> None:
    spec = make_baseline("ngram", ngram={"min_n": 90, "max_n": 90})
    with pytest.raises(InputError, match="no training text has 90 characters"):
        run_trial(spec, tiny_dataset)
