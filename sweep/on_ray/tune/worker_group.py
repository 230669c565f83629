"""Train one trial with several processes: a Ray Train worker group inside a Tune trial.

The Tune trial only watches. The workers hold the CPUs and GPUs. Ray Train starts torch.distributed,
and each worker calls :func:`run_and_save`.
"""

from __future__ import annotations

from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError, WorkerGroupError
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.tune.integration.ray_train import TuneReportCallback

from xlt.data.core.errors import InputError
from xlt.sweep.backends.events import Event, Failed, Unwritable
from xlt.sweep.backends.worker import record_failure, run_and_save
from xlt.sweep.driver.scratch import scratch_folder
from xlt.sweep.on_ray.connection import make_bundle
from xlt.sweep.on_ray.deaths import explain_deaths
from xlt.sweep.on_ray.preemption import make_preemption_check
from xlt.sweep.on_ray.tune.reports import wrap
from xlt.sweep.on_ray.worker import receive
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.watchdog import kill_if_stalled

START_FAILURES = 10
"""Number of times that a group waits for its workers, a minute each (Ray Train's limit), so that an
autoscaler has time to add nodes."""


def run_in_group(spec: TrialSpec, shared: dict[str, Any]) -> Failed | Unwritable | None:
    """Train a trial with ``spec.resources.workers`` processes; called inside a Tune trial.

    The death of a worker ends its group. The group restarts from the trial's checkpoint, at most
    ``resources.retries`` times, unless the user has to fix the error. If memory runs out, the
    group restarts with micro-batches of half the size: a worker cannot repeat a step alone,
    because the others wait for its gradients.

    Args:
        spec: The trial.
        shared: The value of :func:`share`, with ``results``, ``policy``, and ``member``, the number
            of this trial.

    Returns:
        How the trial failed; None if its first worker has reported how it ended.
    """
    failures = 0
    while True:
        try:
            _train(spec, shared)
            return None
        except TrainingFailedError as error:
            smaller = _halved(spec) if _ran_out_of_memory(error) else None
            if smaller:
                spec = smaller
                continue
            failures += 1
            cause = _cause(error)
            if failures > spec.resources.retries or isinstance(cause, InputError):
                if isinstance(cause, (RayActorError, OutOfMemoryError)):
                    cause = explain_deaths(failures, str(cause))
                return record_failure(spec, shared["results"], cause)


def _train(spec: TrialSpec, shared: dict[str, Any]) -> None:
    """Run one group to its end; a callback forwards the reports of the first worker to Tune."""
    bundle = make_bundle(spec.resources)
    with scratch_folder("train") as scratch:
        TorchTrainer(
            _worker,
            train_loop_config={"spec": spec, "shared": shared},
            torch_config=TorchConfig(backend="nccl" if bundle.get("GPU") else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=spec.resources.workers,
                use_gpu=bool(bundle.get("GPU")),
                resources_per_worker=bundle,
            ),
            run_config=RunConfig(
                name="group",
                storage_path=str(scratch),  # stays empty: checkpoints lie beside the results
                failure_config=FailureConfig(controller_failure_limit=START_FAILURES),
                callbacks=[TuneReportCallback()],
            ),
        ).fit()


def _worker(config: dict[str, Any]) -> None:
    """Run the trial in one process of the group."""
    import torch

    spec, shared = config["spec"], config["shared"]
    device = get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)

    # Ray Train requires all workers to report equally often. It forwards the first worker's report.
    def report(event: Event | None) -> None:
        ray.train.report(wrap(shared["member"], event))

    results, policy = shared["results"], shared["policy"]
    with kill_if_stalled(spec.resources.stall_minutes):
        dataset = receive(spec, shared)
        ended = run_and_save(spec, dataset, results, policy, report, make_preemption_check())
    report(ended)


def _halved(spec: TrialSpec) -> TrialSpec | None:
    """Halve the micro-batch size of a trial; return None if a micro-batch is a single row."""
    resources = spec.resources
    rows = -(-spec.training.batch_size // resources.workers)
    size = min(resources.micro_batch_size or rows, rows) // 2
    smaller = resources.model_copy(update={"micro_batch_size": size})
    return spec.model_copy(update={"resources": smaller}) if size else None


def _ran_out_of_memory(error: TrainingFailedError) -> bool:
    failures = error.worker_failures.values() if isinstance(error, WorkerGroupError) else ()
    return any("OutOfMemoryError" in repr(failure) for failure in failures)


def _cause(error: TrainingFailedError) -> BaseException:
    """Return the error of the first failed worker, if any, without Ray Train's wrapper."""
    failures = error.worker_failures if isinstance(error, WorkerGroupError) else {}
    first: BaseException = failures[min(failures)] if failures else error
    inner: BaseException = getattr(first, "_base_exc", first)
    return inner
