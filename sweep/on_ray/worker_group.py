"""A trial that several processes train together: a Ray Train worker group inside a Tune trial.

The Tune trial only watches. The workers hold the CPUs and GPUs; each calls what a trial of one
process calls (:func:`run_and_save`), with torch.distributed started by Ray Train.
"""

from __future__ import annotations

import tempfile
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError, WorkerGroupError
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.tune.integration.ray_train import TuneReportCallback

from xlt.data.core.errors import InputError
from xlt.sweep.backends.worker import record_failure, run_and_save
from xlt.sweep.on_ray.connection import worker_bundle
from xlt.sweep.on_ray.preemption import preemption_check
from xlt.sweep.on_ray.worker import receive
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.watchdog import ended_if_stalled

START_FAILURES = 10
"""How often a group waits Ray Train's minute for its workers: a cluster may have to grow."""


def run_in_group(spec: TrialSpec, shared: dict[str, Any]) -> dict[str, Any]:
    """Train a trial with ``spec.resources.workers`` processes; inside a Tune trial.

    A worker that dies ends the group, which starts again and goes on from the trial's checkpoint,
    ``resources.retries`` times; not so after an error that a user has to mend.
    Where memory runs out it starts again with passes half as large: a worker cannot take a step
    again alone, because the others wait for its gradients.

    Args:
        spec: The trial.
        shared: As :func:`share` gives it, with ``results``, ``policy``, and the
            number of this trial, ``member``.

    Returns:
        What to report of it, as :func:`run_and_save`; nothing where its workers ended
        and have reported.
    """
    failures = 0
    while True:
        try:
            return _train(spec, shared)
        except TrainingFailedError as error:
            smaller = _halved(spec) if _ran_out_of_memory(error) else None
            if smaller:
                spec = smaller
                continue
            failures += 1
            cause = _cause(error)
            if failures > spec.resources.retries or isinstance(cause, InputError):
                return record_failure(spec, Results(shared["results"]), cause)


def _train(spec: TrialSpec, shared: dict[str, Any]) -> dict[str, Any]:
    """One group from start to end; its reports reach Tune on the way, so there is nothing left."""
    bundle = worker_bundle(spec.resources)
    with tempfile.TemporaryDirectory(prefix="xlt-train-") as scratch:
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
                storage_path=scratch,  # checkpoints lie with the results, so it stays empty
                failure_config=FailureConfig(controller_failure_limit=START_FAILURES),
                callbacks=[TuneReportCallback()],
            ),
        ).fit()
    return {}


def _worker(config: dict[str, Any]) -> None:
    """What each process of the group does."""
    import torch

    spec, shared = config["spec"], config["shared"]
    device = get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)

    # Reports go on to Tune as they are.
    def told(news: dict[str, Any]) -> None:
        ray.train.report({"member": shared["member"], **news})

    def report(step: int, num_steps: int, loss: float) -> None:  # all workers at the same steps
        told({"step": step, "num_steps": num_steps, "loss": loss})

    results, policy = Results(shared["results"]), shared["policy"]
    with ended_if_stalled(spec.resources.stall_minutes):
        dataset = receive(spec, shared)
        outcome = run_and_save(spec, dataset, results, policy, report, preemption_check())
    told(outcome)


def _halved(spec: TrialSpec) -> TrialSpec | None:
    """The trial with passes half as large; None: a worker's passes hold a single row."""
    resources = spec.resources
    rows = -(-spec.training.batch_size // resources.workers)
    size = min(resources.micro_batch_size or rows, rows) // 2
    smaller = resources.model_copy(update={"micro_batch_size": size})
    return spec.model_copy(update={"resources": smaller}) if size else None


def _ran_out_of_memory(error: TrainingFailedError) -> bool:
    failures = error.worker_failures.values() if isinstance(error, WorkerGroupError) else ()
    return any("OutOfMemoryError" in repr(failure) for failure in failures)


def _cause(error: TrainingFailedError) -> BaseException:
    """The error of the first worker that failed, where one did, without Ray Train's wrapping."""
    failures = error.worker_failures if isinstance(error, WorkerGroupError) else {}
    first: BaseException = failures[min(failures)] if failures else error
    inner: BaseException = getattr(first, "_base_exc", first)
    return inner
