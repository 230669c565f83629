"""A backend that runs all trials in this process, for debugging and machines without Ray."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from threading import Event

from xlt.data.corpora.corpus import Corpus
from xlt.data.dataset.schema import Dataset
from xlt.sweep.backends.artifact_policy import ArtifactPolicy
from xlt.sweep.backends.events import Failed, Finished, Preempted, Step, Unwritable
from xlt.sweep.backends.packs import make_packs
from xlt.sweep.backends.unwritable import refuse_unwritable
from xlt.sweep.backends.worker import Report, limit_rate, run_and_save_pack
from xlt.sweep.driver.progress import Progress
from xlt.sweep.driver.sigterm import handle_sigterm
from xlt.sweep.planning.launch_order import WaitsFor
from xlt.trainables.models.miniatures import find_miniature_folder
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec


class InlineBackend:
    """Pre-trains miniatures and runs trials in this process, one after the other."""

    def __init__(self, address: str | None, specs: Iterable[TrialSpec]) -> None:
        del address, specs  # no cluster is needed

    def pretrain(self, missing: dict[str, str], corpus: Corpus, progress: Progress) -> None:
        """Pre-train miniatures (name -> identity) into the cache."""
        from xlt.trainables.pretraining.pretrain import pretrain

        for name, identity in missing.items():
            pretrain(
                name, corpus, find_miniature_folder(identity), lambda step, num_steps, loss: None
            )
            progress.pretrained(name)

    def run(
        self,
        specs: Sequence[TrialSpec],
        dataset: Dataset,
        results: Results,
        policy: ArtifactPolicy,
        progress: Progress,
        pack_size: int,
        waits_for: WaitsFor,
    ) -> None:
        """Run trials in order, pack by pack, until all ended or SIGTERM arrives."""
        del waits_for  # the order suffices for one trial after the other
        preempted = Event()
        packs = make_packs(specs, pack_size, num_slots=1)
        with handle_sigterm(preempted.set):
            for pack, later in zip_longest(packs, [pack[0] for pack in packs[1:]]):
                if preempted.is_set():
                    return
                for spec in pack:
                    progress.started(spec)
                reports = {spec.trial_id: _make_report(spec, progress) for spec in pack}
                for spec, event in run_and_save_pack(
                    pack, dataset, results, policy, reports, preempted.is_set, later
                ):
                    match event:
                        case Finished(metrics):
                            progress.finished(spec, metrics)
                        case Failed(error):
                            progress.failed(spec, error)
                        case Preempted(step):
                            progress.preempted(spec, step)
                        case Unwritable():
                            refuse_unwritable(results, event)

    def close(self) -> None:
        """Do nothing: this backend holds no resources."""


def _make_report(spec: TrialSpec, progress: Progress) -> Report:
    def report(event: Step) -> None:
        progress.stepped(spec, event.step, event.num_steps, event.loss)

    return limit_rate(report)
