"""Options that sources share: corrections by hand, and the mapping of labels to classes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal, Self

import numpy as np
import pydantic

from xlt.data.core.errors import InputError, find_doubles
from xlt.data.core.settings import Settings
from xlt.data.dataset.schema import BINARY
from xlt.data.sources.corrections import Corrections
from xlt.data.sources.translations.files import TranslationFiles
from xlt.data.sources.translations.model import Translate
from xlt.data.tables.cells import cell_text

MAX_CLASSES = int(np.iinfo(np.int8).max) + 1
"""Most classes of a task, because labels are int8 (data/dataset/schema.py)."""


class SourceOptions(Settings):
    """Options of every source."""

    source: str
    """Name in SOURCES."""
    corrections: Corrections | None = None
    """File with corrected labels, which replace the delivered ones."""
    translations: TranslationFiles | None = None
    """Files with translations of rows."""
    translate: tuple[Translate, ...] = ()
    """Translations that `xlt data prepare` makes, for rows that have none; one block or a list."""

    @pydantic.field_validator("translate", mode="before")
    @classmethod
    def _one_or_several(cls, values: Any) -> Any:
        return [values] if isinstance(values, dict) else values


class LabelOptions(SourceOptions):
    """Options of sources that read labels: the mapping of label values to classes."""

    positive: tuple[str, ...] | None = pydantic.Field(default=None, min_length=1)
    """Label values of class 1 in a task of two classes."""
    negative: tuple[str, ...] | None = None
    """Label values of class 0, other values are refused; null: all values that are not positive."""
    classes: tuple[str, ...] | Literal["all"] | None = None
    """Instead of ``positive``: the label values that are classes, in order; ``all``: all values."""
    drop_other_labels: bool = False
    """Whether rows with other label values are dropped instead of refused."""
    leak_check: bool = True
    """Whether texts that contain their label are refused (audit/leaks.py); for two classes only."""

    @pydantic.field_validator("positive", "negative", "classes", mode="before")
    @classmethod
    def _as_text(cls, values: Any) -> Any:
        is_list = isinstance(values, (list, tuple))
        return [cell_text(value) for value in values] if is_list else values

    @pydantic.model_validator(mode="after")
    def _consistent_labels(self) -> Self:
        problems = []
        if (self.positive is None) == (self.classes is None):
            given = "both given" if self.positive else "missing"
            problems.append(
                f"positive and classes are {given}; set positive for a task of two classes, or "
                "classes (a list, or all) for one of several"
            )
        if self.classes is not None and self.negative is not None:
            problems.append("negative goes with positive, not with classes; remove it")
        both = sorted({*(self.positive or ())} & {*(self.negative or ())})
        if both:
            problems.append(f"{both} are both positive and negative; remove them from one list")
        if isinstance(self.classes, tuple):
            if double := find_doubles(self.classes):
                problems.append(f"classes {double} are listed more than once; remove all but one")
            elif not 2 <= len(self.classes) <= MAX_CLASSES:
                problems.append(f"{len(self.classes)} classes; list 2 to {MAX_CLASSES}")
        if self.drop_other_labels and self.classes == "all":
            problems.append("drop_other_labels needs a list of classes; all has no other labels")
        elif self.drop_other_labels and self.positive and self.negative is None:
            problems.append("drop_other_labels needs negative, or every other label is negative")
        if problems:
            raise InputError(problems)
        return self

    @property
    def named(self) -> dict[str, tuple[str, ...]]:
        """Option -> the label values that it lists."""
        lists = {name: getattr(self, name) for name in ("positive", "negative", "classes")}
        return {name: values for name, values in lists.items() if isinstance(values, tuple)}

    def class_names(
        self, present: Collection[str], declared: Collection[str] = ()
    ) -> tuple[str, ...]:
        """Name the classes.

        Args:
            present: The label values of the rows.
            declared: All label values in the order of the data set, if it has one.

        Raises:
            InputError: ``classes`` is ``all``, and the rows' labels are too few or too many.
        """
        if self.classes is None:
            return BINARY
        if self.classes != "all":
            return self.classes
        names = [name for name in declared if name in present]
        names += sorted({*present} - {*declared})
        if not 2 <= len(names) <= MAX_CLASSES:
            raise InputError(
                f"classes: all gives {len(names)} classes; 2 to {MAX_CLASSES} are possible; name "
                "the right label column, or list the classes"
            )
        return tuple(names)

    def class_number(self, value: str, names: tuple[str, ...]) -> int | None:
        """Give the index of a label value's class in ``names``; None: the value has no class."""
        if self.positive is None:
            return names.index(value) if value in names else None
        if value in self.positive:
            return 1
        return 0 if self.negative is None or value in self.negative else None
