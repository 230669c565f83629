"""Overrides: different settings for some cells of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Self

import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.settings import Settings
from xlt.data.core.text import first_few
from xlt.data.dataset.patterns import spell_pattern_name
from xlt.trainables.spec.adapters import Lora, Peft
from xlt.trainables.spec.cell_key import CellKey
from xlt.trainables.spec.methods import BASELINES, Method, keep_used_training
from xlt.trainables.spec.training import Training


class Match(Settings):
    """The cells of an override; a name that is not given matches every cell."""

    model: str | None = None
    """Name of a base model of the experiment."""
    pattern: Annotated[str, pydantic.AfterValidator(spell_pattern_name)] | None = None
    """Name of a pattern of the experiment."""

    def covers(self, cell: CellKey) -> bool:
        """Whether the override applies to a cell."""
        return self.model in (None, cell.base_model) and self.pattern in (None, cell.pattern)

    def __str__(self) -> str:
        """Name the cells, e.g. ``opencalm x ja16``."""
        return f"{self.model or 'all models'} x {self.pattern or 'all patterns'}"


class Override(Settings):
    """Different settings for some cells; a later override replaces an earlier one."""

    match: Match
    """The cells."""
    learning_rate: float | None = pydantic.Field(default=None, gt=0, strict=True)
    """Peak learning rate."""
    training: dict[str, Any] = pydantic.Field(default={})
    """Settings of ``training`` to replace."""
    lora: dict[str, Any] = pydantic.Field(default={})
    """Settings of the base model's ``lora`` to replace."""
    peft: dict[str, Any] = pydantic.Field(default={})
    """Settings of the base model's ``peft`` to replace."""
    why: str = ""
    """The reason; a footnote of the tables."""

    def changes(self, method: Method | None) -> bool:
        """Whether the override changes trials of a method; a baseline uses few settings."""
        return method not in BASELINES or bool(keep_used_training(method, self.training))

    @pydantic.model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.learning_rate is None and not (self.training or self.lora or self.peft):
            raise ValueError("changes nothing; give learning_rate, training, lora or peft")
        _check_changes(Training.check_changes, self.training, "training")
        _check_changes(Lora.parse, self.lora, "lora")
        _check_changes(Peft.parse, self.peft, "peft")
        return self


def find_useless_overrides(
    overrides: Sequence[Override], methods: Mapping[str, Method | None], patterns: Sequence[str]
) -> list[str]:
    """Describe overrides that match no cell of an experiment, or change nothing in theirs.

    Args:
        overrides: The overrides of the experiment.
        methods: Base model -> its method.
        patterns: Names of the patterns.
    """
    problems = [
        f"overrides.{number}.match: {unknown(field, name, known)}"
        for number, override in enumerate(overrides)
        for field, name, known in (
            ("model", override.match.model, list(methods)),
            ("pattern", override.match.pattern, patterns),
        )
        if name is not None and name not in known
    ]
    for number, override in enumerate(overrides):
        method = methods.get(override.match.model or "")
        if not override.changes(method):
            problems.append(
                f"overrides.{number}: changes nothing, because {override.match.model} has method "
                f"{method}, which uses {', '.join(BASELINES[str(method)]) or 'none'} of training "
                "and no learning rate; remove it"
            )
    return problems


def find_unused_stages(training: Training, overrides: Sequence[Override]) -> list[str]:
    """Describe settings of a target stage in an experiment in which no cell has one."""
    blocks = {"training": training.model_dump()} | {
        f"overrides.{number}.training": override.training
        for number, override in enumerate(overrides)
    }
    if any(block.get("regime", "joint") != "joint" for block in blocks.values()):
        return []
    return [
        f"{where}.target_stage: changes nothing, because the regime of every cell is joint; set "
        "training.regime to sequential or multistage, or remove target_stage"
        for where, block in blocks.items()
        if block.get("target_stage")
    ]


def find_unused_adapters(overrides: Sequence[Override], methods: Mapping[str, Method]) -> list[str]:
    """Describe settings of adapters in overrides none of whose base models has such adapters.

    Args:
        overrides: The overrides.
        methods: Name of each base model -> its method.
    """
    problems = []
    for number, override in enumerate(overrides):
        named = [override.match.model] if override.match.model else list(methods)
        used = {methods[name] for name in named}
        for block in ("lora", "peft"):
            if getattr(override, block) and block not in used:
                problems.append(
                    f"overrides.{number}.{block}: changes nothing, because {first_few(named)} has "
                    f"method {' or '.join(sorted(used))}; remove it, or give the base model "
                    f"method: {block}"
                )
    return problems


def _check_changes(
    check: Callable[[dict[str, Any]], object], changes: dict[str, Any], where: str
) -> None:
    """Validate settings that replace some of a block, and name the block in the error."""
    try:
        check(changes)
    except InputError as error:
        raise InputError([f"{where}.{problem}" for problem in error.problems]) from error
