"""A backend on Ray Tune: each trial gets a GPU if the cluster has GPUs, else CPUs.

All trials run in one Tuner with one function trainable, so Tune reuses a warm process for trials
with the same resource request. Trials are sorted by base model, so that a process usually has the
base model of its next trial loaded already. Trials of several processes come after all others,
because they need whole machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import ray
from ray import tune

from xlt.data.core.errors import InputError
from xlt.data.corpora.corpus import Corpus
from xlt.data.dataset.schema import Dataset
from xlt.sweep.backends.artifact_policy import ArtifactPolicy
from xlt.sweep.backends.events import Preempted, Ready, Step
from xlt.sweep.backends.packs import make_packs
from xlt.sweep.backends.unwritable import refuse_unwritable
from xlt.sweep.backends.worker import Report, limit_rate, run_and_save_pack
from xlt.sweep.driver.progress import Progress
from xlt.sweep.driver.sigterm import handle_sigterm
from xlt.sweep.on_ray.connection import RayConnection, group_by_resources, make_bundle
from xlt.sweep.on_ray.deaths import describe_task_error
from xlt.sweep.on_ray.node_differences import ENERGY_NEEDS, refuse_different_nodes
from xlt.sweep.on_ray.preemption import end_process, make_preemption_check, withdraw_preemption
from xlt.sweep.on_ray.tune.reports import wrap
from xlt.sweep.on_ray.tune.tuner import Request, StopAll, tune_all
from xlt.sweep.on_ray.tune.watcher import Watcher
from xlt.sweep.on_ray.worker import (
    fetch_specs,
    guess_next_spec,
    import_code,
    pretrain_and_pack,
    receive,
    share,
    share_specs,
    unpack,
)
from xlt.sweep.planning.launch_order import WaitsFor
from xlt.trainables.models.miniatures import find_miniature_folder
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.watchdog import kill_if_stalled

WAITING = 200
"""Number of trials requested beyond the capacity of the cluster, the default of Tune for grids. An
autoscaler sees the demand, and Ray still has few requests to look at."""

WATCHER_BUNDLE = {"memory": 2.0**20}
"""Resources of the process that watches a group of workers. Tune requires a request, and even a
part of a CPU could take the place of a worker. The workers have requests of their own."""


class TuneBackend:
    """Runs trials on a Ray cluster.

    Args:
        address: Address of a running cluster; None: the cluster to which this process is connected,
            else RAY_ADDRESS, else a new local cluster.
        specs: The trials; every node must have the packages that they need.

    Raises:
        InputError: The cluster cannot be reached, or its nodes differ from this process.
    """

    def __init__(self, address: str | None, specs: Iterable[TrialSpec]) -> None:
        self._connection = RayConnection(address)
        try:
            refuse_different_nodes(specs)
        except InputError:
            self.close()
            raise

    def pretrain(self, missing: dict[str, str], corpus: Corpus, progress: Progress) -> None:
        """Pre-train miniatures (name -> identity) side by side, into the cache of this node."""
        corpus_ref = ray.put(corpus)
        names = {
            pretrain_and_pack.remote(name, identity, corpus_ref): name
            for name, identity in missing.items()
        }
        running = list(names)
        while running:
            (ready,), running = ray.wait(running, num_returns=1)
            name = names[ready]
            try:
                files = ray.get(ready)
            except ray.exceptions.RayError as error:
                why = describe_task_error(error)
                raise InputError(f"miniature {name} cannot be pre-trained: {why}") from error
            unpack(files, find_miniature_folder(missing[name]))
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
        """Run trials in order, until all ended or Ctrl-C or SIGTERM arrives."""
        if policy.energy_country:
            refuse_different_nodes([], ENERGY_NEEDS)
        launches = group_by_resources(specs)
        slots = sum(launch.num_at_once for launch in launches if launch.workers == 1)
        first, last = split_single(specs, waits_for)
        stages = [_make_single_stage(first, pack_size, slots)] if first else []
        for launch in launches:
            if launch.workers > 1:
                # A watching process reserves nothing that workers need, and only as many groups
                # start as have room for all of their workers. So groups never block each other.
                alone = [[spec] for spec in launch.specs]
                watching = tune.PlacementGroupFactory([WATCHER_BUNDLE])
                stages.append(_Stage(alone, _group_trainable, watching, launch.num_at_once))
        stages += [_make_single_stage(last, pack_size, slots)] if last else []
        for stage in stages:
            if not self._run_stage(stage, dataset, results, policy, progress, waits_for):
                return

    def _run_stage(
        self,
        stage: _Stage,
        dataset: Dataset,
        results: Results,
        policy: ArtifactPolicy,
        progress: Progress,
        waits_for: WaitsFor,
    ) -> bool:
        """Run one Tuner; return whether all of its trials ended."""
        specs = [spec for pack in stage.packs for spec in pack]
        shared = share(specs, dataset) | {"specs": share_specs(specs), "num_specs": len(specs)}
        shared["num_at_once"] = stage.at_once * max(map(len, stage.packs))
        watcher = Watcher(stage.packs, results, progress, waits_for)
        withdraw_preemption()
        with handle_sigterm(watcher.stop):
            tune_all(
                stage.trainable,
                shared | {"results": results, "policy": policy},
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
        watcher.failed_starts.refuse()
        return watcher.is_over

    def close(self) -> None:
        """Stop the local cluster, if this backend started one."""
        self._connection.close()


@cache
def _make_request(bundle: tuple[tuple[str, float], ...]) -> tune.PlacementGroupFactory:
    """Make the request of a trial once for all trials, because Tune keeps it for each of them."""
    return tune.PlacementGroupFactory([dict(bundle)])


@dataclass(frozen=True)
class _Stage:
    """Trials that one Tuner runs.

    Attributes:
        packs: Trials of each Tune trial, in launch order.
        trainable: Function that runs a pack.
        resources: Resource request of a pack.
        at_once: Number of packs that run side by side.
        num_waiting: Number of further packs that Tune may request.
    """

    packs: list[list[TrialSpec]]
    trainable: Callable[..., None]
    resources: Request
    at_once: int
    num_waiting: int = 0


def split_single(
    specs: Sequence[TrialSpec], waits_for: WaitsFor
) -> tuple[list[TrialSpec], list[TrialSpec]]:
    """List the trials of one process: those before groups of processes, and those after them.

    A mean of trials has one process, and comes after the groups that train what it averages.
    """
    grouped = {spec.trial_id for spec in specs if spec.resources.workers > 1}
    first, last = list[TrialSpec](), list[TrialSpec]()
    for spec in specs:
        if spec.resources.workers == 1:
            is_first = grouped.isdisjoint(waits_for.get(spec.trial_id, ()))
            (first if is_first else last).append(spec)
    return first, last


def _make_single_stage(specs: list[TrialSpec], pack_size: int, slots: int) -> _Stage:
    packs = make_packs(specs, pack_size, slots)
    bundles = {repr(s.resources): tuple(make_bundle(s.resources).items()) for s in specs}
    requests = [bundles[repr(spec.resources)] for pack in packs for spec in pack]

    def reserved(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        return _make_request(requests[config["members"][0]])

    # Ray also knows waiting trials, so that an autoscaler can add nodes for them.
    return _Stage(packs, _trainable, reserved, slots, WAITING)


def _trainable(config: dict[str, Any], shared: dict[str, Any]) -> None:
    """Run a pack of trials; Tune calls this function in a worker process."""
    import_code()
    tune.report(wrap(config["members"][0], Ready()))
    specs = fetch_specs(config["members"], shared["specs"])
    numbers = dict(zip((spec.trial_id for spec in specs), config["members"], strict=True))
    results, policy = shared["results"], shared["policy"]

    def make_report(member: int) -> Report:
        def report(event: Step) -> None:
            tune.report(wrap(member, event))

        return limit_rate(report)

    later = guess_next_spec(config["members"], shared)
    reports = {trial_id: make_report(number) for trial_id, number in numbers.items()}
    is_preempted = False
    with kill_if_stalled(specs[0].resources.stall_minutes):
        dataset = receive(specs[0], shared)
        for spec, event in run_and_save_pack(
            specs, dataset, results, policy, reports, make_preemption_check(), later
        ):
            tune.report(wrap(numbers[spec.trial_id], event))
            is_preempted = is_preempted or isinstance(event, Preempted)
    if is_preempted:
        end_process()


def _group_trainable(config: dict[str, Any], shared: dict[str, Any]) -> None:
    """Run a trial of several processes; Tune calls this function in the watching process."""
    import_code()
    from xlt.sweep.on_ray.tune.worker_group import run_in_group

    (number,) = config["members"]
    tune.report(wrap(number, Ready()))
    (spec,) = fetch_specs([number], shared["specs"])
    if event := run_in_group(spec, shared | {"member": number}):
        tune.report(wrap(number, event))
