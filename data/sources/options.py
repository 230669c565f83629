"""Options that sources share: hand corrections of any, which labels are which class of most."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal, Self

import numpy as np
import pydantic

from xlt.data.core.errors import InputError
from xlt.data.core.settings import Settings
from xlt.data.dataset.schema import BINARY
from xlt.data.sources.corrections import Corrections
from xlt.data.tables.cells import cell_text

MAX_CLASSES = int(np.iinfo(np.int8).max) + 1
"""Labels are int8 (data/dataset/schema.py)."""


class SourceOptions(Settings):
    """What every source can be told."""

    source: str
    """Name in SOURCES."""
    corrections: Corrections | None = None
    """A file of labels set by hand, which take the place of the delivered ones."""


class LabelOptions(SourceOptions):
    """Which label values are which class; for sources that read labels."""

    positive: tuple[str, ...] | None = pydantic.Field(default=None, min_length=1)
    """Label values that make class 1 of a task of two classes."""
    negative: tuple[str, ...] | None = None
    """Label values that make class 0, any other one is refused; none: all that are not positive."""
    classes: tuple[str, ...] | Literal["all"] | None = None
    """Instead of ``positive``: the label values that are classes, in order, or all there are."""
    drop_other_labels: bool = False
    """Leave out rows whose label is in none of these lists instead of refusing them."""
    leak_check: bool = True
    """Refuse texts that give their labels away (audit/leaks.py); of two classes only."""

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
            double = sorted({name for name in self.classes if self.classes.count(name) > 1})
            if double:
                problems.append(f"classes {double} are listed more than once; remove all but one")
            elif not 2 <= len(self.classes) <= MAX_CLASSES:
                problems.append(f"{len(self.classes)} classes; list 2 to {MAX_CLASSES}")
        if self.drop_other_labels and self.classes == "all":
            problems.append(
                "drop_other_labels needs a list of classes; with all there are no others"
            )
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
        self, found: Collection[str], declared: Collection[str] = ()
    ) -> tuple[str, ...]:
        """Name of each class.

        Args:
            found: The label values that rows have.
            declared: All label values in their own order, if the data say it.

        Raises:
            InputError: ``classes`` is ``all``, and the rows' labels are too few or too many.
        """
        if self.classes is None:
            return BINARY
        if self.classes != "all":
            return self.classes
        names = [name for name in declared if name in found]
        names += sorted({*found} - {*declared})
        if not 2 <= len(names) <= MAX_CLASSES:
            raise InputError(
                f"classes: all makes {len(names)} classes of the label column; 2 to {MAX_CLASSES} "
                "can be learnt; name the right column, or list the classes"
            )
        return tuple(names)

    def class_number(self, value: str, names: tuple[str, ...]) -> int | None:
        """The class of a label value, by :meth:`class_names`; None for one that is no class."""
        if self.positive is None:
            return names.index(value) if value in names else None
        if value in self.positive:
            return 1
        return 0 if self.negative is None or value in self.negative else None
