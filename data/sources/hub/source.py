"""Reading data sets of the Hugging Face Hub, or folders of the same form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, time
from typing import Any, Literal, Self

import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.settings import Settings
from xlt.data.core.text import first_few
from xlt.data.dataset.languages import ByLanguage, Languages, same_language
from xlt.data.sources.hub.presets import PRESETS
from xlt.data.sources.hub.store import open_store
from xlt.data.sources.options import LabelOptions
from xlt.data.sources.reading import Progress, Reading
from xlt.data.sources.rows import Rows, to_reading
from xlt.data.tables.cells import cell_text, plain_values
from xlt.data.tables.columns import shared_columns
from xlt.data.tables.whole import Records


class HubColumns(Settings):
    """Names of the columns of a data set."""

    text: str = "text"
    """The headline or sentence."""
    text_pair: str | None = None
    """The second text, for tasks on pairs."""
    label: str = "label"
    """Class names, or numbers for which the data set has class names."""
    id: str | None = None
    """Ids that are unique over all languages; null: ``config/split/number``, from 0."""
    published: str | None = None
    """ISO 8601 dates, or times, which are not converted to another time zone."""
    story: str | None = None
    """Stories: rows with the same value are never split between train and test."""
    lang: str | None = None
    """Languages of the rows, if a config has several; see ``lang`` of ``configs``."""


class Config(Settings):
    """The rows of one language in a data set."""

    config: str
    """Name of the config, or of a folder in the data set's folder."""
    split: str | tuple[str, ...] | None = None
    """One split or several; null: the option ``split``."""
    lang: str | None = None
    """Language of the rows in ``columns.lang``, in any spelling; null: all rows."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _from_name(cls, values: Any) -> Any:
        return {"config": values} if isinstance(values, str) else values


class Options(LabelOptions):
    """The data set, its configs and columns, and the mapping of labels to classes."""

    source: Literal["hub"]
    """Name in SOURCES."""
    preset: str | None = None
    """Name in PRESETS, which gives defaults for the other options."""
    dataset: str
    """Id on the hub, or a local folder; only data files are read, and scripts are never run."""
    revision: str | None = None
    """Branch, tag or commit on the hub; not for folders."""
    configs: ByLanguage[Config] = pydantic.Field(min_length=1)
    """Language -> its config, or the name of its config."""
    languages: Languages | None = pydantic.Field(default=None, min_length=1)
    """Languages of ``configs`` that are read; null: all."""
    split: str | tuple[str, ...] | None = None
    """One split or several; null: all. The ``source`` of a row is its split."""
    columns: HubColumns = HubColumns()
    """Names of the columns."""
    parallel: bool = False
    """Whether rows of a split with the same number, or the same ``columns.story``, are translations
    of each other, and therefore one story."""
    drop_empty: bool = False
    """Whether rows with an empty text are dropped instead of refused."""
    cache_dir: str | None = None
    """Folder for copies; null: the usual folder for the hub, and no copies for a folder."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        name = values.get("preset") if isinstance(values, dict) else None
        if name is None:
            return values
        if str(name) not in PRESETS:
            raise InputError(unknown("preset", str(name), PRESETS))
        defaults = dict(PRESETS[name])
        if not {"configs", "languages"} & values.keys():
            codes = ", ".join(sorted(defaults["configs"]))
            raise InputError(f"languages is required. Known of {name}: {codes}.")
        if values.get("positive") is not None or values.get("classes") is not None:
            defaults = {k: v for k, v in defaults.items() if k not in ("positive", "classes")}
        if isinstance(values.get("columns"), dict):
            defaults["columns"] = {**defaults["columns"], **values["columns"]}
            values = {key: value for key, value in values.items() if key != "columns"}
        return {**defaults, **values}

    @pydantic.model_validator(mode="after")
    def _consistent_configs(self) -> Self:
        problems = shared_columns(self.columns.model_dump())
        problems += [
            unknown("language", lang, self.configs) + " Give its config in configs."
            for lang in self.languages or ()
            if lang not in self.configs
        ]
        by_value = any(config.lang is not None for config in self.configs.values())
        if by_value and self.columns.lang is None:
            problems.append("configs have lang, but columns.lang is not given; name that column")
        if problems:
            raise InputError(problems)
        return self

    def chosen(self) -> dict[str, Config]:
        """Give the config with its split for each language that is read."""
        configs = {}
        for lang in self.languages or self.configs:
            config = self.configs[lang]
            split = self.split if config.split is None else config.split
            configs[lang] = config.model_copy(update={"split": split})
        return configs


def read(options: Options, progress: Progress) -> Reading:
    """Read the configs of all languages.

    Returns:
        The rows by language and split, with classes as labels.

    Raises:
        InputError: The package ``datasets`` is missing; the hub cannot be reached; there is no
            such data set, config, split or column; the data set is a script; or the rows have a
            problem that the table source refuses. The error has all problems that do not hide each
            other, with config, split and row.
    """
    rows, declared, num_empty = Rows(), dict[str, None](), 0
    unread: dict[str, list[str]] = {}
    with open_store(options.dataset, options.revision, options.cache_dir) as store:
        for lang, config in options.chosen().items():
            try:
                splits = _chosen_splits(store.load(config.config), config)
            except InputError as error:
                if error.where:  # the problem is in the whole data set, not in this config
                    raise
                for problem in error.problems:
                    unread.setdefault(problem, []).append(config.config)
                continue
            present_langs = set[str]()
            for split, data in splits.items():
                name = f"{config.config}/{split}"
                try:
                    records, names = _records(data, options)
                    declared |= dict.fromkeys(names)
                    present_langs.update(_langs(records, options))
                    records, num = _kept(records, config.lang, options)
                    num_empty += num
                    columns, given = _given(records, lang, name, split, options)
                    rows.add(records, columns, given=given, name=f"{name} ")
                except InputError as error:
                    for problem in error.problems:
                        unread.setdefault(problem, []).append(name)
            wanted = config.lang
            if (
                wanted
                and present_langs
                and not any(same_language(wanted, p) for p in present_langs)
            ):
                problem = unknown("language", wanted, present_langs)
                unread.setdefault(f"{problem} It is configs.{lang}.lang.", []).append(config.config)
    problems = [
        f"{first_few(dict.fromkeys(names))}: {problem}" for problem, names in unread.items()
    ]
    if problems and not rows.row_names:
        raise InputError(problems, options.dataset)
    reading = to_reading(rows, options, options.dataset, problems, declared)
    dropped = {**reading.dropped, **({"empty text": num_empty} if num_empty else {})}
    return Reading(reading.dataset, dropped)


def _chosen_splits(splits: Mapping[str, Any], config: Config) -> dict[str, Any]:
    wanted = (config.split,) if isinstance(config.split, str) else config.split
    absent = [split for split in wanted or () if split not in splits]
    if absent:
        raise InputError([unknown("split", split, splits) for split in absent])
    return {split: splits[split] for split in wanted or splits}


def _records(data: Any, options: Options) -> tuple[Records, tuple[str, ...]]:
    """Read the rows of a split, with class names instead of numbers, and its class names."""
    names = [name for name in options.columns.model_dump().values() if name]
    present = [name for name in names if name in data.column_names]
    table = data.select_columns(present).with_format("arrow")[:]
    columns = {name: plain_values(name, table[name]) for name in present}
    if data.info.builder_name == "json":
        _refuse_moved_times(columns.get(options.columns.published or "", []))
    classes: dict[str, tuple[str, ...]] = {}
    for name in present:
        classes[name] = tuple(getattr(data.features[name], "names", None) or ())
        if classes[name]:
            # Some test splits have secret labels: -1.
            known = dict(enumerate(classes[name]))
            columns[name] = [known.get(number) for number in columns[name]]
    records = Records(columns, range(len(data)), list(data.column_names))
    return records, classes.get(options.columns.label, ())


def _refuse_moved_times(cells: list[Any]) -> None:
    """Refuse times of JSON files, which ``datasets`` converts to UTC, often to another day."""
    if any(isinstance(cell, datetime) and cell.time() != time.min for cell in cells):
        raise InputError(
            "datasets reads times of JSON files as UTC, whatever their zone; read them with the "
            "source table, store them as Parquet, or set columns.published: null"
        )


def _langs(records: Records, options: Options) -> Iterator[str]:
    cells = records.columns.get(options.columns.lang or "", [])
    return (text for text in map(cell_text, cells) if text)


def _kept(records: Records, lang: str | None, options: Options) -> tuple[Records, int]:
    """Select the rows of a language, and count the empty ones that are dropped."""
    columns = options.columns
    kept: list[int] = list(range(len(records.rows)))
    if lang is not None and columns.lang is not None:
        if columns.lang not in records.columns:
            sentence = unknown("column", columns.lang, records.header)
            raise InputError(f"{sentence} Name the right one in columns.lang.")
        langs = records.columns[columns.lang]
        same = {text for text in _langs(records, options) if same_language(text, lang)}
        kept = [row for row in kept if cell_text(langs[row]) in same]
    num_rows = len(kept)
    if options.drop_empty:
        for name in (columns.text, columns.text_pair):
            if name in records.columns:
                cells = records.columns[name]
                kept = [row for row in kept if cell_text(cells[row])]
    rows = [records.rows[row] for row in kept]
    cells_kept = {name: [cells[row] for row in kept] for name, cells in records.columns.items()}
    return Records(cells_kept, rows, records.header), num_rows - len(kept)


def _given(
    records: Records, lang: str, name: str, split: str, options: Options
) -> tuple[dict[str, str], dict[str, Sequence[str | None]]]:
    """List the columns that are read, and the values that the config gives to all rows.

    Returns:
        Column of the schema -> column of the data set; column of the schema -> num_rows values.
    """
    columns = {
        role: column
        for role, column in options.columns.model_dump(exclude={"lang"}).items()
        if column is not None
    }
    num_rows = len(records.rows)
    given: dict[str, Sequence[str | None]] = {
        "lang": [lang] * num_rows,
        "source": [split] * num_rows,
    }
    if options.columns.id is None:
        given["id"] = [f"{name}/{row}" for row in records.rows]
    if options.parallel:
        story = columns.get("story", "")
        if not story or story in records.columns:
            columns.pop("story", None)
            stories = map(cell_text, records.columns.get(story, records.rows))
            given["story"] = [text and f"{split}/{text}" for text in stories]
    return columns, given
