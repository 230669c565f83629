"""The class whose probability is explained, for classifiers of more than two classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from xlt.trainables.explain.target import Values
from xlt.trainables.spec.explain import Explain

Labels = NDArray[np.int64]


def predict_texts(
    predict: Callable[[NDArray[np.int64]], Values], token_ids: Sequence[Sequence[int]]
) -> Values:
    """Predict texts of any length, those of one length together, so that nothing is padded.

    Args:
        predict: Function of num_rows x length token ids.
        token_ids: num_texts lists of ids, special tokens included.

    Returns:
        num_texts scores, or num_texts x num_classes.
    """
    lengths = np.array([len(ids) for ids in token_ids])
    parts, order = [], []
    for length in np.unique(lengths):
        numbers = np.flatnonzero(lengths == length)
        parts.append(predict(np.array([token_ids[n] for n in numbers.tolist()])))
        order.append(numbers)
    scores: Values = np.concatenate(parts)[np.concatenate(order).argsort()]
    return scores


def choose_labels(
    settings: Explain, classes: Sequence[str], probabilities: Values, y_true: Sequence[int]
) -> Labels:
    """Choose the class that each text is explained for.

    Args:
        settings: Settings with the explained class; None: the most probable one of each text, as
            in lime (``explain_instance`` with ``top_labels=1``) and LIT.
        classes: Names of the classes.
        probabilities: num_texts x num_classes probabilities of the texts.
        y_true: num_texts labels.

    Returns:
        num_texts numbers of classes.

    Raises:
        InputError: There is no such class.
    """
    settings.check_class(classes)
    name = settings.explained_class
    if name in classes:
        return np.full(len(y_true), classes.index(name))
    return np.asarray(y_true) if name == "true" else probabilities.argmax(axis=1)
