"""Ray Tune schedules the trials: a GPU each where the cluster has GPUs, else CPU slots.

One Tuner and one function trainable, so that Tune hands a warm process from trial to trial that
reserves the same; trials come sorted by base model, so that a process mostly has the next one's
base loaded already. Trials of several processes come after all others: they need whole machines.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import ray
from ray import tune

from xlt.data.core.errors import InputError
from xlt.data.corpora import Corpus
from xlt.data.dataset.schema import Dataset
from xlt.sweep.backends.worker import ArtifactPolicy, refuse_unwritable, run_and_save_pack, seldom
from xlt.sweep.driver.progress import Progress
from xlt.sweep.driver.terminated import sigterm_heard
from xlt.sweep.on_ray.connection import RayConnection, by_resources, worker_bundle
from xlt.sweep.on_ray.preemption import leave, preemption_check, withdraw_preemption
from xlt.sweep.on_ray.same_code import refuse_other_code
from xlt.sweep.on_ray.tune.watcher import Watcher
from xlt.sweep.on_ray.worker import (
    later_spec,
    pretrain_and_pack,
    receive,
    share,
    share_specs,
    specs_of,
    unpack,
)
from xlt.sweep.planning.packs import make_packs
from xlt.trainables.models.miniatures import miniature_folder
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.watchdog import ended_if_stalled

WAITING = 200
"""Trials that are asked for beyond what the cluster holds now, as Tune does for grids: enough for
an autoscaler, and few enough for Ray to look at all of them."""

WATCHER_BUNDLE = {"memory": 2.0**20}
"""What a trial of several processes reserves itself: Tune wants something, and a share of a CPU
would keep a worker out. Its workers reserve what they need."""

logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # its tracebacks; progress tells of deaths


class TuneBackend:
    """A Ray cluster: the one at ``address``, the one already connected to, or a new local one."""

    def __init__(self, address: str | None = None) -> None:
        self._connection = RayConnection(address)
        try:
            refuse_other_code()
        except InputError:
            self.close()
            raise

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
        policy: ArtifactPolicy,
        progress: Progress,
        pack_size: int,
    ) -> None:
        """Run trials in order; returns when all ended, or after Ctrl-C or SIGTERM."""
        launches = by_resources(specs)
        single = [spec for spec in specs if spec.resources.workers == 1]
        slots = sum(launch.num_at_once for launch in launches if launch.workers == 1)
        bundles = {repr(spec.resources): worker_bundle(spec.resources) for spec in single}
        requests = [bundles[repr(spec.resources)] for spec in single]

        def reserved(config: dict[str, Any]) -> tune.PlacementGroupFactory:
            return tune.PlacementGroupFactory([requests[config["members"][0]]])

        stages: list[_Stage] = []
        if single:
            packs = make_packs(single, pack_size, slots)
            # Those that wait are known to Ray, so that a cluster can grow for them.
            stages.append(_Stage(packs, _trainable, reserved, slots, WAITING))
        for launch in launches:
            if launch.workers > 1:
                # Trials that watch over workers reserve none of what these need, so that they
                # never wait for each other; no more start than have room for all their workers.
                alone = [[spec] for spec in launch.specs]
                watching = tune.PlacementGroupFactory([WATCHER_BUNDLE])
                stages.append(_Stage(alone, _group_trainable, watching, launch.num_at_once))
        for stage in stages:
            if not self._run_stage(stage, dataset, results, policy, progress):
                return

    def _run_stage(
        self,
        stage: _Stage,
        dataset: Dataset,
        results: Results,
        policy: ArtifactPolicy,
        progress: Progress,
    ) -> bool:
        """One Tuner; whether all of its trials ended."""
        specs = [spec for pack in stage.packs for spec in pack]
        shared = share(specs, dataset) | {"specs": share_specs(specs), "num_specs": len(specs)}
        shared["num_at_once"] = stage.at_once * max(map(len, stage.packs))
        watcher = Watcher(stage.packs, results, progress)
        withdraw_preemption()
        with sigterm_heard(watcher.let_go):
            tune_all(
                stage.trainable,
                shared | {"results": results.uri, "policy": policy},
                stage.resources,
                tune_config=tune.TuneConfig(
                    search_alg=watcher.queue,
                    num_samples=-1,
                    reuse_actors=True,
                    max_concurrent_trials=stage.at_once + stage.num_waiting,
                ),
                callback=watcher,
                stop=StopAll(watcher.must_stop),
            )
        refuse_unwritable(results, watcher.unwritable)
        return watcher.is_over

    def close(self) -> None:
        """End the local cluster, if this backend started one."""
        self._connection.close()


Request: TypeAlias = (
    "tune.PlacementGroupFactory | Callable[[dict[str, Any]], tune.PlacementGroupFactory]"
)
"""What a trial reserves, or what one with a config does."""


@dataclass(frozen=True)
class _Stage:
    """What one Tuner runs.

    Attributes:
        packs: Trials of each of Tune's own, in launch order.
        trainable: What runs one.
        resources: What it reserves.
        at_once: How many packs run side by side.
        num_waiting: How many more Tune is given.
    """

    packs: list[list[TrialSpec]]
    trainable: Callable[..., None]
    resources: Request
    at_once: int
    num_waiting: int = 0


def tune_all(
    trainable: Callable[..., None],
    shared: dict[str, Any],
    resources: Request,
    *,
    tune_config: tune.TuneConfig,
    callback: tune.Callback,
    stop: tune.Stopper,
) -> None:
    """One Tuner to its end; its own files are thrown away, results lie in the result folders.

    Args:
        trainable: Called with a config and ``shared``.
        shared: Travels once to each process.
        resources: What a trial reserves.
        tune_config: What is tried, and what is stopped early.
        callback: Told what happens.
        stop: Ends trials, or all.
    """
    with tempfile.TemporaryDirectory(prefix="xlt-tune-") as scratch:
        tune.Tuner(
            tune.with_resources(tune.with_parameters(trainable, shared=shared), resources),
            tune_config=tune_config,
            run_config=tune.RunConfig(
                name="trials", storage_path=scratch, callbacks=[callback], stop=stop, verbose=0
            ),
        ).fit()


def _trainable(config: dict[str, Any], shared: dict[str, Any]) -> None:
    """A pack of trials, or a single one, as Tune calls it in a worker process."""
    specs = specs_of(config["members"], shared["specs"])
    numbers = dict(zip((spec.trial_id for spec in specs), config["members"], strict=True))
    results, policy = Results(shared["results"]), shared["policy"]

    def report(member: int, step: int, num_steps: int, loss: float) -> None:
        tune.report({"member": member, "step": step, "num_steps": num_steps, "loss": loss})

    later = later_spec(config["members"], shared)
    reports = {trial_id: seldom(partial(report, n)) for trial_id, n in numbers.items()}
    has_left = False
    with ended_if_stalled(specs[0].resources.stall_minutes):
        dataset = receive(specs[0], shared)
        for spec, outcome in run_and_save_pack(
            specs, dataset, results, policy, reports, preemption_check(), later
        ):
            tune.report({"member": numbers[spec.trial_id], **outcome})
            has_left = has_left or "left" in outcome
    if has_left:
        leave()


def _group_trainable(config: dict[str, Any], shared: dict[str, Any]) -> None:
    """One trial of several processes."""
    from xlt.sweep.on_ray.worker_group import run_in_group

    (number,) = config["members"]
    (spec,) = specs_of([number], shared["specs"])
    if outcome := run_in_group(spec, shared | {"member": number}):
        tune.report({"member": number, **outcome})


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
