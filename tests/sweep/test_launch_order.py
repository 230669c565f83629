"""Launch order of trials, and the queue from which Tune gets them."""

from __future__ import annotations

import io
import itertools
from itertools import groupby
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from ray.train._internal.storage import StorageContext
from ray.tune.experiment import Trial
from result_folders import make_spec
from rich.console import Console

from xlt.sweep.backends.events import Step
from xlt.sweep.driver.progress import Progress
from xlt.sweep.on_ray.tune.queue import TrialQueue
from xlt.sweep.on_ray.tune.reports import wrap
from xlt.sweep.on_ray.tune.watcher import Watcher
from xlt.sweep.planning.launch_order import sort_for_launch
from xlt.trainables.results.result import Results
from xlt.trainables.spec.resources import Resources
from xlt.trainables.spec.trial_spec import TrialSpec


def spec_of(model: str, pattern: str, seed: int, **changes: Any) -> TrialSpec:
    return make_spec(model, pattern, seed).model_copy(update={"base_identity": model} | changes)


def grid(models: str = "ab", patterns: tuple[str, ...] = ("ja0", "ja16")) -> list[TrialSpec]:
    return [spec_of(m, p, s) for s in range(3) for p in patterns for m in models]


def names(specs: list[TrialSpec]) -> list[str]:
    return [f"{spec.base_model} {spec.pattern.name}" for spec in specs]


def test_the_largest_base_model_comes_first_and_seeds_of_a_cell_are_neighbours() -> None:
    order = sort_for_launch(grid(), lambda spec: {"a": 1.0, "b": 7.0}[spec.base_model])
    runs = [(name, len(list(same))) for name, same in groupby(names(order))]
    assert [spec.base_model for spec in order] == ["b"] * 6 + ["a"] * 6
    assert sorted(runs) == [("a ja0", 3), ("a ja16", 3), ("b ja0", 3), ("b ja16", 3)]
    assert [spec.seed for spec in order] == [0, 1, 2] * 4


def test_longer_trials_of_a_base_model_come_first() -> None:
    order = sort_for_launch(grid("a", ("ja0", "ja16", "ja104")), lambda spec: 1.0)
    steps = [spec.num_steps for spec in order]
    assert len(set(steps)) > 1
    assert steps == sorted(steps, reverse=True)


def test_the_longest_trial_of_a_base_model_decides_its_place() -> None:
    """The sum does not: a base model with many short trials can wait."""
    many = [spec_of("many", "ja0", seed) for seed in range(50)]
    long = spec_of("long", "ja0", 0)
    order = sort_for_launch([*many, long], lambda spec: 3.0 if spec is long else 1.0)
    assert order[0] is long


def test_trials_with_different_requests_alternate_in_proportion() -> None:
    small = [spec_of("small", "ja0", seed) for seed in range(40)]
    whole = Resources(cpus=4)
    large = [spec_of("large", "ja0", seed, resources=whole) for seed in range(10)]
    order = sort_for_launch([*small, *large], lambda spec: 1.0)
    for start in range(0, 50, 5):
        assert names(order[start : start + 5]).count("large ja0") == 1


@given(st.permutations(grid()), st.sampled_from([1.0, 2.0]))
def test_no_trial_is_lost_and_the_input_order_does_not_matter(
    specs: list[TrialSpec], size: float
) -> None:
    order = sort_for_launch(specs, lambda spec: size if spec.base_model == "a" else 1.5)
    assert order == sort_for_launch(grid(), lambda spec: size if spec.base_model == "a" else 1.5)
    assert sorted(s.trial_id for s in order) == sorted(s.trial_id for s in specs)


def test_the_queue_hands_out_each_pack_once_and_waits_for_requeued_packs() -> None:
    queue = TrialQueue([[0], [1, 2]])
    assert [queue.suggest(name)["members"] for name in "xy"] == [[0], [1, 2]]
    assert queue.suggest("z") is None
    queue.requeue([2], first=True)
    queue.on_trial_complete("y", error=True)
    assert queue.suggest("z") == {"members": [2]}
    queue.on_trial_complete("x")
    assert queue.suggest("w") is None
    queue.on_trial_complete("z")
    assert queue.suggest("w") == TrialQueue.FINISHED


def test_a_requeued_pack_comes_before_or_after_all_waiting_packs() -> None:
    queue = TrialQueue([[0], [1], [2]])
    queue.suggest("x")
    queue.requeue([0], first=False)
    queue.requeue([8, 9], first=True)
    queue.requeue([], first=True)
    assert [queue.suggest(name)["members"] for name in "abcd"] == [[8, 9], [1], [2], [0]]


def test_a_closed_queue_ends_after_the_running_packs() -> None:
    queue = TrialQueue([[0], [1], [2]])
    queue.suggest("x")
    queue.is_closed = True
    assert queue.suggest("y") is None
    queue.on_trial_complete("x")
    assert queue.suggest("y") == TrialQueue.FINISHED


@given(st.permutations(grid()), st.data())
def test_a_trial_comes_after_those_that_it_waits_for(
    specs: list[TrialSpec], data: st.DataObject
) -> None:
    ids = [spec.trial_id for spec in specs]
    waits_for = {
        ids[later]: data.draw(st.frozensets(st.sampled_from([*ids[:later], "not in this run"])))
        for later in data.draw(st.sets(st.integers(1, len(ids) - 1)))
    }
    order = [spec.trial_id for spec in sort_for_launch(specs, lambda spec: 1.0, waits_for)]
    assert sorted(order) == sorted(ids)
    for later, earlier in waits_for.items():
        for trial_id in earlier & {*ids}:
            assert order.index(trial_id) < order.index(later)
    plain = [spec.trial_id for spec in sort_for_launch(specs, lambda spec: 1.0)]
    assert sort_for_launch(specs, lambda spec: 1.0, {}) and (waits_for or order == plain)


@given(st.data())
def test_the_queue_holds_back_trials_and_never_blocks(data: st.DataObject) -> None:
    """Trials end in any order and any way, and may wait for each other in a circle."""
    num = data.draw(st.integers(1, 12))
    cuts = sorted(data.draw(st.sets(st.integers(1, num))) | {0, num})
    packs = [list(range(a, b)) for a, b in itertools.pairwise(cuts)]
    waits_for = data.draw(
        st.dictionaries(st.integers(0, num - 1), st.sets(st.integers(0, num + 2), max_size=3))
    )
    is_circle = any(later <= max(earlier, default=-1) for later, earlier in waits_for.items())
    queue = TrialQueue(packs, waits_for)
    running: dict[str, list[int]] = {}
    left, handed_out, deaths = set(range(num)), list[int](), 0
    names = (f"t{number}" for number in itertools.count())
    while True:
        name = next(names)
        given_out = queue.suggest(name) if len(running) < 3 else None
        if given_out == TrialQueue.FINISHED:
            break
        if given_out is not None:
            members = given_out["members"]
            for member in members:
                held = waits_for.get(member, set()) & left - {*members}
                assert not held or is_circle
            running[name] = members
            handed_out += members
            continue
        assert running, "nothing runs, and nothing starts"
        ended = data.draw(st.sampled_from(sorted(running)))
        members = running.pop(ended)
        queue.on_trial_complete(ended, error=True)
        if deaths < 3 and data.draw(st.booleans()):  # its process died
            deaths += 1
            queue.requeue(members, first=data.draw(st.booleans()))
        else:
            left -= {*members}
    assert not left and {*handed_out} == set(range(num))


def test_a_trial_starts_when_the_other_ended_or_is_not_in_the_queue() -> None:
    queue = TrialQueue([[0], [1], [2]], {1: {0}, 2: {9}})
    assert [queue.suggest(name) for name in "ab"] == [{"members": [0]}, {"members": [2]}]
    assert queue.suggest("c") is None
    queue.on_trial_complete("a", error=True)
    assert queue.suggest("c") == {"members": [1]}


def test_the_last_report_of_an_ended_trial_is_kept_and_no_other(tmp_path: Path) -> None:
    storage = StorageContext(storage_path=str(tmp_path), experiment_dir_name="trials")
    trial = Trial("xlt", stub=True, storage=storage, config={"members": [0]})
    specs, out = [spec_of("a", "ja0", 0)], Console(file=io.StringIO())
    watcher = Watcher([specs], Results(str(tmp_path)), Progress(specs, [], out))
    trial.update_last_result({**wrap(0, Step(1, 2, 0.5)), "time_total_s": 0.25})
    assert trial.metric_analysis["time_total_s"]["max"] == 0.25
    trial.update_last_result({**wrap(0, Step(2, 2, 0.5)), "time_total_s": 0.125})
    watcher.on_trial_complete(0, [], trial)
    assert not trial.metric_analysis and trial.last_result["time_total_s"] == 0.125
