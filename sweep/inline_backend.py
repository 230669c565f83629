"""Everything in this process, one after the other: for debugging, and for machines without Ray."""

from __future__ import annotations

from collections.abc import Sequence

from data.corpora import Corpus
from data.schema import Dataset
from sweep.progress import Progress
from sweep.worker import Leaves, refuse_unwritable, run_and_save, seldom
from trainables.miniatures import miniature_folder
from trainables.result import Results
from trainables.spec import TrialSpec


class InlineBackend:
    """Runs stages and trials here."""

    def __init__(self, address: str | None = None) -> None:
        del address  # there is no cluster to reach

    def pretrain(self, missing: dict[str, str], corpus: Corpus, progress: Progress) -> None:
        """Pre-train miniatures into the cache; ``missing``: name -> identity."""
        from trainables.pretraining import pretrain

        for name, identity in missing.items():
            pretrain(name, corpus, miniature_folder(identity), lambda step, num_steps, loss: None)
            progress.pretrained(name)

    def run(
        self,
        specs: Sequence[TrialSpec],
        dataset: Dataset,
        results: Results,
        leaves: Leaves,
        progress: Progress,
    ) -> None:
        """Run trials in order."""
        for spec in specs:
            progress.started(spec)

            def report(step: int, num_steps: int, loss: float, spec: TrialSpec = spec) -> None:
                progress.stepped(spec, step, num_steps, loss)

            outcome = run_and_save(spec, dataset, results, leaves, seldom(report))
            refuse_unwritable(results, outcome)
            progress.finished(spec, outcome)

    def close(self) -> None:
        """Nothing to end."""
