"""Opening data sets with the package ``datasets``: on the hub, in folders, with clear errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from xlt.data.core.errors import InputError, unknown
from xlt.data.sources.hub.presets import PARQUET_BRANCH

SAVED = ("dataset_dict.json", "state.json")
"""Files by which a folder that ``save_to_disk`` wrote is known."""
WHOLE = "default"
"""What ``datasets`` calls the only config of a data set whose card names none."""


@dataclass(frozen=True)
class Store:
    """A data set with its configs.

    Attributes:
        dataset: Id on the hub, or a folder.
        revision: On the hub.
        cache_dir: Where ``datasets`` puts its copies.
        folder: The data set's folder; None: it is on the hub.
    """

    dataset: str
    revision: str | None
    cache_dir: str | None
    folder: Path | None

    def load(self, config: str) -> dict[str, Any]:
        """Read a config.

        Args:
            config: Its name, or that of a folder in the data set's folder.

        Returns:
            Split -> ``datasets.Dataset``, which is read from ``cache_dir`` when it is used.

        Raises:
            InputError: There is no such config or nothing that can be read; with the data set as
                its place if all its configs are at fault.
        """
        with self._told():
            if self.folder and config in self._folders and self._declared in ([], [WHOLE]):
                return self._load(str(self.folder / config))
            if self.folder is None and self.revision == PARQUET_BRANCH:  # folders, and no card
                return self._load(self.dataset, data_dir=config, revision=self.revision)
            if config not in self._declared:
                known = [*self._declared, *self._folders]
                raise InputError(unknown("config", config, set(known) - {WHOLE} or known))
            if self.folder:
                return self._load(str(self.folder), name=config)
            return self._load(self.dataset, name=config, revision=self.revision)

    @cached_property
    def _declared(self) -> list[str]:
        """Configs that the card names; :data:`WHOLE` if it names none."""
        import datasets

        if self.folder is None:
            found = datasets.get_dataset_config_names(self.dataset, revision=self.revision)
        elif _is_saved(self.folder):
            found = [WHOLE]
        elif self._folders and not (self.folder / "README.md").is_file():
            return []  # nothing but folders, which would be mixed up as one config
        else:
            found = datasets.get_dataset_config_names(str(self.folder))
        return list(found)

    @cached_property
    def _folders(self) -> list[str]:
        """Folders that may be configs."""
        if self.folder is None or _is_saved(self.folder):
            return []
        names = (path.name for path in self.folder.iterdir() if path.is_dir())
        return sorted(name for name in names if not name.startswith("."))

    def _load(self, path: str, **where: str | None) -> dict[str, Any]:
        import datasets

        if self.folder and _is_saved(Path(path)):
            loaded = datasets.load_from_disk(path)
        else:
            loaded = datasets.load_dataset(path, cache_dir=self.cache_dir, **where)
        if isinstance(loaded, datasets.Dataset):  # saved without splits
            return {str(loaded.split or "train"): loaded}
        return {str(split): data for split, data in loaded.items()}

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What ``datasets`` raises becomes one sentence."""
        from datasets.exceptions import DatasetNotFoundError

        try:
            yield
        except InputError:
            raise
        except ConnectionError as error:
            revision = f"--revision {self.revision} " if self.revision else ""
            raise InputError(
                "the hub cannot be reached; download the data set where it can "
                f"(hf download {self.dataset} --repo-type dataset {revision}--local-dir FOLDER) "
                "and set dataset: FOLDER",
                self.dataset,
            ) from error
        except DatasetNotFoundError as error:
            raise InputError(f"is not there or not open to you: {error}", self.dataset) from error
        except Exception as error:  # of any kind: readers of all formats stand behind it
            is_script = "scripts are no longer supported" in str(error)
            if is_script or (self.folder and any(self.folder.glob("*.py"))):
                raise InputError(
                    "is made by a script of its own, and scripts are never run; take a copy in "
                    f"data files, such as the hub's own (revision: {PARQUET_BRANCH})",
                    self.dataset,
                ) from error
            raise InputError(f"cannot be read: {error}") from error


def _is_saved(folder: Path) -> bool:
    return any((folder / name).is_file() for name in SAVED)


@contextmanager
def open_store(dataset: str, revision: str | None, cache_dir: str | None) -> Iterator[Store]:
    """A data set, as long as it is read.

    Args:
        dataset: Id on the hub, or a folder.
        revision: Branch, tag or commit on the hub.
        cache_dir: Where ``datasets`` keeps copies; None: in its usual place for the hub, nowhere
            for a folder, which is at hand already.

    Raises:
        InputError: The package ``datasets`` is missing, or there is no such folder.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise InputError(
            "the source hub needs the package datasets; pip install 'xlt-sweep[hub]'", dataset
        ) from error
    folder = Path(dataset).expanduser()
    if not folder.is_dir():
        if dataset.startswith((".", "/", "~")) or dataset.count("/") > 1:
            raise InputError("there is no such folder", dataset)
        yield Store(dataset, revision, cache_dir, None)
        return
    quiet = not datasets.utils.are_progress_bars_disabled()
    with TemporaryDirectory() as temporary:
        if quiet:  # they tell of copying what lies here already
            datasets.disable_progress_bars()
        try:
            yield Store(dataset, revision, cache_dir or temporary, folder)
        finally:
            if quiet:
                datasets.enable_progress_bars()
