"""Ray Tune schedules the trials: a GPU each where the cluster has GPUs, else CPU slots.

One Tuner, one function trainable and one resource request for all trials, so that Tune hands a
warm process from trial to trial; trials come sorted by base model, so that a process mostly has
the next one's base loaded already.
"""

from __future__ import annotations

import logging
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sweep.ray_connection import Launch, RayConnection, by_resources  # isort: skip  sets what Ray reads at import

import ray
from ray import tune

from data.corpora import Corpus
from data.patience import patiently
from data.schema import Dataset
from sweep.progress import Progress
from sweep.ray_worker import pretrain_and_pack, receive, share, unpack
from sweep.worker import Leaves, record_failure, refuse_unwritable, run_and_save, seldom
from trainables.miniatures import miniature_folder
from trainables.result import Results
from trainables.spec import TrialSpec

PROCESS_FAILURES = 2
"""How often a trial whose process was killed is started again; its own errors never are.

Counted here and not by Tune's ``max_failures``, which counts the death of a warm process once for
each of its outstanding calls: a single kill has used up three failures of one trial."""

WATCHER_BUNDLE = {"memory": 2.0**20}
"""What a trial of several processes reserves itself: Tune wants something, and a share of a CPU
would keep a worker out. Its workers reserve what they need."""

logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # its tracebacks; progress tells of deaths


class TuneBackend:
    """A Ray cluster: the one at ``address``, the one already connected to, or a new local one."""

    def __init__(self, address: str | None = None) -> None:
        self._connection = RayConnection(address)

    def pretrain(self, missing: dict[str, str], corpus: Corpus, progress: Progress) -> None:
        """Pre-train miniatures side by side and put them into this node's cache."""
        corpus_ref = ray.put(corpus)
        names = {
            pretrain_and_pack.remote(name, identity, corpus_ref): name
            for name, identity in missing.items()
        }
        running = list(names)
        while running:
            (ready,), running = ray.wait(running, num_returns=1)
            unpack(ray.get(ready), miniature_folder(missing[names[ready]]))
            progress.pretrained(names[ready])

    def run(
        self,
        specs: Sequence[TrialSpec],
        dataset: Dataset,
        results: Results,
        leaves: Leaves,
        progress: Progress,
    ) -> None:
        """Run trials; returns when all ended or after Ctrl-C."""
        for launch in by_resources(_launch_order(specs)):
            for deaths in range(1 + PROCESS_FAILURES):
                watcher = _Watcher(launch.specs, results, progress, deaths == PROCESS_FAILURES)
                self._run_batch(launch, dataset, results, leaves, watcher)
                launch = replace(launch, specs=watcher.died if watcher.is_over else [])
                if not launch.specs:
                    break

    def _run_batch(
        self,
        launch: Launch,
        dataset: Dataset,
        results: Results,
        leaves: Leaves,
        watcher: _Watcher,
    ) -> None:
        specs, is_group = launch.specs, launch.workers > 1
        shared = {
            **share(specs, dataset),
            "specs": specs,
            "results": results.uri,
            "leaves": leaves,
        }
        tune_all(
            _group_trainable if is_group else _trainable,
            shared,
            WATCHER_BUNDLE if is_group else launch.bundle,
            # Indices, because Tune copies a list of specs once for every trial.
            param_space={"index": tune.grid_search(list(range(len(specs))))},
            # Trials that watch over workers reserve none of what these need, so that they never
            # wait for each other; no more of them start than have room for all their workers.
            tune_config=tune.TuneConfig(
                reuse_actors=True, max_concurrent_trials=launch.num_at_once if is_group else None
            ),
            callback=watcher,
            stop=StopAll(lambda: bool(watcher.unwritable)),
        )
        refuse_unwritable(results, watcher.unwritable)

    def close(self) -> None:
        """End the local cluster, if this backend started one."""
        self._connection.close()


def tune_all(
    trainable: Callable[..., None],
    shared: dict[str, Any],
    bundle: dict[str, float],
    *,
    tune_config: tune.TuneConfig,
    callback: tune.Callback,
    stop: tune.Stopper,
    param_space: dict[str, Any] | None = None,
) -> None:
    """One Tuner to its end; its own files are thrown away, results lie in the result folders.

    Args:
        trainable: Called with a config and ``shared``.
        shared: Travels once to each process.
        bundle: What a trial reserves.
        tune_config: What is tried, and what is stopped early.
        callback: Told what happens.
        stop: Ends trials, or all.
        param_space: The configs, unless a searcher suggests them.
    """
    with tempfile.TemporaryDirectory(prefix="xlt-tune-") as scratch:
        tune.Tuner(
            tune.with_resources(
                tune.with_parameters(trainable, shared=shared), tune.PlacementGroupFactory([bundle])
            ),
            param_space=param_space,
            tune_config=tune_config,
            run_config=tune.RunConfig(
                name="trials", storage_path=scratch, callbacks=[callback], stop=stop, verbose=0
            ),
        ).fit()


def _trainable(config: dict[str, Any], shared: dict[str, Any]) -> None:
    """One trial, as Tune calls it in a worker process."""
    spec: TrialSpec = shared["specs"][config["index"]]
    dataset = receive(spec, shared)

    def report(step: int, num_steps: int, loss: float) -> None:
        tune.report({"step": step, "num_steps": num_steps, "loss": loss})

    results = Results(shared["results"])
    tune.report(run_and_save(spec, dataset, results, shared["leaves"], seldom(report)))


def _group_trainable(config: dict[str, Any], shared: dict[str, Any]) -> None:
    """One trial of several processes."""
    from sweep.worker_group import run_in_group

    tune.report(run_in_group(shared["specs"][config["index"]], shared))


class _Watcher(tune.Callback):
    """Passes on what Tune hears of its trials.

    Attributes:
        unwritable: The outcome that said so; empty as long as results can be written.
        died: Trials whose process ended before they did, and that may start again.
    """

    def __init__(
        self, specs: list[TrialSpec], results: Results, progress: Progress, is_last_try: bool
    ) -> None:
        self._specs, self._results, self._progress = specs, results, progress
        self._is_last_try = is_last_try
        self._ended: set[str] = set()
        self.unwritable: dict[str, Any] = {}
        self.died: list[TrialSpec] = []

    @property
    def is_over(self) -> bool:
        """Whether every trial ended or died; not so after Ctrl-C."""
        return len(self._ended) + len(self.died) == len(self._specs)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune snapshots its callbacks, but a terminal cannot be pickled or restored."""
        return {}

    def _spec(self, trial: Any) -> TrialSpec:
        index: int = trial.config["index"]
        return self._specs[index]

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._progress.started(self._spec(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if "step" in result:
            self._progress.stepped(
                self._spec(trial), result["step"], result["num_steps"], result["loss"]
            )
        elif "unwritable" in result:
            self.unwritable = result
        elif "metrics" in result or "error" in result:
            self._ended.add(self._spec(trial).trial_id)
            self._progress.finished(self._spec(trial), result)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The process died. At the last try no one else can record it."""
        spec = self._spec(trial)
        if spec.trial_id in self._ended:  # it died between its last report and its end
            return
        state = patiently(lambda: self._results.state(spec.trial_id))
        if state.record is not None and state.state == "done":  # between its last file and report
            self._ended.add(spec.trial_id)
            self._progress.finished(spec, {"metrics": state.record["metrics"]})
            return
        patiently(lambda: self._results.remove_leftovers(spec.trial_id))
        if not self._is_last_try:
            self.died.append(spec)
            self._progress.died(spec)
            return
        self._ended.add(spec.trial_id)
        ended = trial.get_pickled_error() or RuntimeError(
            f"its worker process was killed or crashed, {1 + PROCESS_FAILURES} times; the usual "
            "reason is too little memory"
        )
        outcome = record_failure(spec, self._results, ended)
        if "unwritable" in outcome:
            self.unwritable = outcome
        else:
            self._progress.finished(spec, outcome)


class StopAll(tune.Stopper):
    """Ends a run where a condition came true, e.g. results can no longer be written.

    Args:
        condition: Asked after every report.
    """

    def __init__(self, condition: Callable[[], bool]) -> None:
        self._condition = condition

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: what it asks cannot be pickled, and a run is never restored from it."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether this trial is to end early: never."""
        return False

    def stop_all(self) -> bool:
        """Whether all trials are to end."""
        return self._condition()


def _launch_order(specs: Sequence[TrialSpec]) -> list[TrialSpec]:
    """Base model by base model, the most steps first: long trials last would leave slots idle."""
    steps: dict[str, int] = defaultdict(int)
    for spec in specs:
        steps[spec.base_identity] += spec.num_steps
    return sorted(
        specs, key=lambda s: (-steps[s.base_identity], s.base_identity, -s.num_steps, s.seed)
    )
