"""EXPLAINERS: which tokens of a text a classifier's probability comes from."""

from xlt.trainables.explain.explain import EXPLAINERS, explain
from xlt.trainables.explain.target import Explanation, Target
from xlt.trainables.spec.explain import Explain

__all__ = ["EXPLAINERS", "Explain", "Explanation", "Target", "explain"]
