"""An experiment: its YAML file as typed, frozen settings, with all problems in one error."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic
import yaml

from xlt.data.audit.registry import CHECKS
from xlt.data.core.errors import InputError, find_doubles, unknown
from xlt.data.core.settings import Settings
from xlt.data.corpora.corpus import CorpusOptions
from xlt.data.corpora.registry import parse_corpus
from xlt.data.dataset.patterns import Pattern, Sampling
from xlt.data.dataset.source_langs import SourceLang, list_source_langs
from xlt.data.sources.options import SourceOptions
from xlt.data.sources.registry import parse_source
from xlt.sweep.experiment.blocks import StorageSettings, Task
from xlt.sweep.experiment.chosen_rates import ChosenRates
from xlt.sweep.experiment.overrides import Override, find_unused_stages, find_useless_overrides
from xlt.sweep.experiment.search import Search
from xlt.sweep.experiment.searcher_names import SEARCHERS
from xlt.sweep.experiment.settings_file import parse_settings, read_settings, read_text
from xlt.sweep.experiment.short_forms import (
    for_each_source_lang,
    parse_each,
    parse_model,
    parse_pattern,
)
from xlt.sweep.tracking.settings import Tracking
from xlt.trainables.models.base_models import BaseModel
from xlt.trainables.results.layout import EXPERIMENT_NAME
from xlt.trainables.spec.cost import Cost
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.resources import Resources
from xlt.trainables.spec.selection import Selection, parse_selection
from xlt.trainables.spec.training import Training

DEFAULT_DATA = {"source": "synthetic"}
DEFAULT_PRETRAINING = {"corpus": "phrasebook"}


class Experiment(Settings):
    """All settings that can change a result, in one file."""

    name: str
    """Name of the experiment in a results location."""
    title: str = ""
    """Title above tables."""
    task: Task = Task()
    """Classes and source language."""
    data: SourceOptions = pydantic.Field(
        default=DEFAULT_DATA, validate_default=True,
        exclude_if=lambda options: options.as_given() == DEFAULT_DATA,
    )  # fmt: skip
    """A source and its options (data/sources)."""
    pretraining: CorpusOptions = pydantic.Field(
        default=DEFAULT_PRETRAINING, validate_default=True,
        exclude_if=lambda options: options.as_given() == DEFAULT_PRETRAINING,
    )  # fmt: skip
    """A corpus (data/corpora) to pre-train miniatures on; unused without miniatures."""
    models: tuple[BaseModel, ...] = pydantic.Field(min_length=1)
    """Base models, the rows of tables: known names, hub ids, folders, or {name, path, ...}."""
    patterns: tuple[Pattern, ...] = pydantic.Field(min_length=1)
    """Patterns, the columns of tables: names such as ja16, or
    {ja32: {target_rows: 32, source_rows: 512}}."""
    seeds: tuple[int, ...] = pydantic.Field(min_length=1)
    """Seeds; a cell has one trial for each draw and seed."""
    draws: Literal["per_seed"] | tuple[int, ...] = pydantic.Field(default=(0,), min_length=1)
    """Draws of training rows. A list: every seed trains on each draw. per_seed: each seed has its
    own draw, so that effects of rows and seeds cannot be separated. The paper does not say which
    of the two it uses."""
    sampling: Sampling = Sampling()
    """How rows are drawn."""
    training: Training = Training()
    """Epochs, batches and optimiser."""
    overrides: tuple[Override, ...] = ()
    """Different settings for some cells."""
    resources: Resources | None = None
    """Resources that every trial reserves; None: those of its base model."""
    packing: Literal["off", "auto"] | Annotated[int, pydantic.Field(gt=1)] = "off"
    """Highest number of LoRA trials that train side by side on one base model in a process; it
    changes rounding. auto: several on a GPU, one on a CPU."""
    storage: StorageSettings = StorageSettings()
    """Results location, kept weights and texts."""
    cost: Cost | None = None
    """Prices of the hardware, for estimates before a run and sums after it; they change no
    trial."""
    learning_rate: Literal["auto"] | None = None
    """auto: search learning rates first, and train with the chosen ones."""
    learning_rates: ChosenRates | None = None
    """Path or content of a learning_rates.yaml that a search wrote."""
    search: Search = Search()
    """How learning rates are chosen."""
    on_stuck: Literal["report", "search"] = "report"
    """Reaction to a cell that did not train: report it, or search a rate and run it again."""
    explain: Explain | None = None
    """Settings for explaining test rows after each trial; not a part of trial ids."""
    tracking: Tracking = Tracking()
    """Experiment trackers that get each trial when it ends; not a part of trial ids."""
    accept_findings: tuple[str, ...] = ()
    """Checks of the data (data/audit) whose errors do not stop a launch; tables name them."""

    @pydantic.field_validator("name")
    @classmethod
    def _file_name(cls, name: str) -> str:
        if not EXPERIMENT_NAME.fullmatch(name):
            raise ValueError(
                "is used in file names: letters, digits, dots, dashes and underscores only, 100 of "
                "them at most"
            )
        return name

    @pydantic.field_validator("models", mode="before")
    @classmethod
    def _parse_models(cls, values: Any) -> Any:
        return parse_each(values, parse_model)

    @pydantic.field_validator("patterns", mode="before")
    @classmethod
    def _parse_patterns(cls, values: Any) -> Any:
        return parse_each(values, parse_pattern)

    @pydantic.field_validator("patterns")
    @classmethod
    def _for_each_source_lang(
        cls, patterns: tuple[Pattern, ...], info: pydantic.ValidationInfo
    ) -> tuple[Pattern, ...]:
        source_lang = info.data["task"].source_lang if "task" in info.data else ""
        if isinstance(source_lang, str):
            return patterns
        return tuple(p for given in patterns for p in for_each_source_lang(given, source_lang))

    @pydantic.field_validator("packing", mode="before")
    @classmethod
    def _yaml_off(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML reads off as false

    @pydantic.field_validator("learning_rates", mode="before")
    @classmethod
    def _read_rates(cls, value: Any) -> Any:
        return ChosenRates.parse(read_settings(value), value) if isinstance(value, str) else value

    @pydantic.field_validator("models", "patterns", "seeds", "draws")
    @classmethod
    def _no_doubles(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [] if isinstance(values, str) else [getattr(v, "name", v) for v in values]
        if double := find_doubles(names):
            raise InputError(f"{', '.join(map(str, double))} given more than once")
        return values

    @pydantic.field_validator("patterns")
    @classmethod
    def _some_rows(cls, patterns: tuple[Pattern, ...]) -> tuple[Pattern, ...]:
        for pattern in patterns:
            pattern.refuse_no_rows()
        return patterns

    @pydantic.field_validator("data", mode="before")
    @classmethod
    def _parse_data(cls, values: Any) -> Any:
        options = parse_source(values) if isinstance(values, dict) else values
        if options.translate:
            raise InputError(
                "translate is a step of `xlt data prepare`; move the block into a file of its own, "
                "prepare it, and give {source: prepared, path: FOLDER} here"
            )
        return options

    @pydantic.field_validator("pretraining", mode="before")
    @classmethod
    def _parse_pretraining(cls, values: Any) -> Any:
        return parse_corpus(values) if isinstance(values, dict) else values

    @pydantic.field_serializer("data", "pretraining")
    def _as_given(self, options: Settings) -> dict[str, Any]:
        return options.as_given()

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [
            f"accept_findings: {unknown('check', name, CHECKS)}"
            for name in self.accept_findings
            if name not in CHECKS
        ]
        methods = {model.name: model.method for model in self.models}
        patterns = [pattern.name for pattern in self.patterns]
        problems += find_useless_overrides(self.overrides, methods, patterns)
        problems += find_unused_stages(self.training, self.overrides)
        reserved = {m.name: m.choose_resources(self.resources) for m in self.models}
        sharded = [name for name, resources in reserved.items() if resources.is_sharded]
        if self.explain and sharded:
            problems.append(
                f"explain: {', '.join(sharded)} is sharded (sharding: fsdp), and no worker holds "
                "the whole model; keep models and use `xlt explain` afterwards"
            )
        if self.search.searcher not in SEARCHERS:
            named = unknown("searcher", self.search.searcher, SEARCHERS)
            problems.append(f"search.searcher: {named}")
        if problems:
            raise InputError(problems)
        return self

    def find_source_lang(self, pattern: Pattern) -> SourceLang:
        """Find the source language of a pattern; a pattern without source rows has the first."""
        return pattern.source_lang or list_source_langs(self.task.source_lang)[0]

    @property
    def names_source_langs(self) -> bool:
        """Whether a pattern names its source language, so that cells may differ in it."""
        return any(pattern.source_lang for pattern in self.patterns)

    @property
    def source_langs(self) -> tuple[str, ...]:
        """The source languages of all patterns."""
        each = (list_source_langs(self.find_source_lang(pattern)) for pattern in self.patterns)
        return tuple(dict.fromkeys(lang for langs in each for lang in langs))

    @property
    def draws_and_seeds(self) -> list[tuple[int, int]]:
        """The draw and the seed of each trial of a cell."""
        if self.draws == "per_seed":
            return [(seed, seed) for seed in self.seeds]
        return [(index, seed) for index in self.draws for seed in self.seeds]

    def select(self, only: str) -> Selection:
        """Select cells by text such as ``model=llama2,pattern=ja16``; empty text selects all."""
        return parse_selection(only, [m.name for m in self.models], [p.name for p in self.patterns])

    @classmethod
    def from_yaml(cls, text: str, where: str, settings: Iterable[str] = ()) -> Self:
        """Parse YAML text; ``where`` names it in errors. See :func:`load_experiment`."""
        return cls.parse(parse_settings(text, where, settings), where)

    def to_yaml(self) -> str:
        """Write a YAML file that parses to this experiment."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        values["patterns"] = [{p.pop("name"): p} for p in values["patterns"]]
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def load_experiment(source: str | Path, settings: Iterable[str] = ()) -> Experiment:
    """Read an experiment.

    Args:
        source: A YAML file, or the name of one of :func:`read_shipped`.
        settings: Texts ``key=value`` that replace values of the file, see :func:`parse_settings`.

    Raises:
        InputError: There is no such file or name, or it is not YAML, or settings have problems;
            all problems together.
    """
    where, text = _read(str(source))
    return Experiment.from_yaml(text, where, settings)


def read_shipped() -> dict[str, str]:
    """Read the experiments of the package: name -> YAML text."""
    folder = resources.files("xlt.sweep.experiments")
    files = [file for file in folder.iterdir() if file.name.endswith(".yaml")]
    return {f.name.removesuffix(".yaml"): f.read_text("utf-8") for f in sorted(files, key=str)}


def _read(source: str) -> tuple[str, str]:
    """Return the name for errors, and the text."""
    if not source.endswith((".yaml", ".yml")) and "/" not in source:
        known = read_shipped()
        if source not in known:
            raise InputError(
                unknown("experiment", source, known) + " Or give the path of a .yaml file."
            )
        return f"experiment {source}", known[source]
    try:
        return source, read_text(source)
    except InputError as error:
        names = ", ".join(read_shipped())
        raise InputError(f"{error.problems[0]}; shipped experiments: {names}", source) from error
