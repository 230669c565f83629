"""Everything in this process, one after the other: for debugging, and for machines without Ray."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import zip_longest
from threading import Event

from xlt.data.corpora import Corpus
from xlt.data.dataset.schema import Dataset
from xlt.sweep.backends.worker import ArtifactPolicy, refuse_unwritable, run_and_save_pack, seldom
from xlt.sweep.driver.progress import Progress
from xlt.sweep.driver.terminated import sigterm_heard
from xlt.sweep.planning.packs import make_packs
from xlt.trainables.models.miniatures import miniature_folder
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec


class InlineBackend:
    """Runs stages and trials here."""

    def __init__(self, address: str | None = None) -> None:
        del address  # there is no cluster to reach

    def pretrain(self, missing: dict[str, str], corpus: Corpus, progress: Progress) -> None:
        """Pre-train miniatures into the cache; ``missing``: name -> identity."""
        from xlt.trainables.pretraining.pretrain import pretrain

        for name, identity in missing.items():
            pretrain(name, corpus, miniature_folder(identity), lambda step, num_steps, loss: None)
            progress.pretrained(name)

    def run(
        self,
        specs: Sequence[TrialSpec],
        dataset: Dataset,
        results: Results,
        policy: ArtifactPolicy,
        progress: Progress,
        pack_size: int,
    ) -> None:
        """Run trials in order, pack by pack; returns when all ended, or after SIGTERM."""
        preempted = Event()
        packs = make_packs(specs, pack_size, num_slots=1)
        with sigterm_heard(preempted.set):
            for pack, later in zip_longest(packs, [pack[0] for pack in packs[1:]]):
                if preempted.is_set():
                    return
                for spec in pack:
                    progress.started(spec)
                reports = {spec.trial_id: seldom(partial(progress.stepped, spec)) for spec in pack}
                for spec, outcome in run_and_save_pack(
                    pack, dataset, results, policy, reports, preempted.is_set, later
                ):
                    refuse_unwritable(results, outcome)
                    if "left" in outcome:
                        progress.left(spec, outcome["left"])
                    else:
                        progress.finished(spec, outcome)

    def close(self) -> None:
        """Nothing to end."""
