"""EXPLAINERS: which tokens of a text a classifier's probability comes from."""

from trainables.explain.explain import EXPLAINERS, explain
from trainables.explain.settings import Explain
from trainables.explain.target import Explanation, Target

__all__ = ["EXPLAINERS", "Explain", "Explanation", "Target", "explain"]
