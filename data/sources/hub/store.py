"""Opening data sets on the hub and in folders with the package ``datasets``, with clear errors."""

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
"""Files in a folder that ``save_to_disk`` wrote."""
WHOLE = "default"
"""Name that ``datasets`` gives to the only config of a data set without configs on its card."""


@dataclass(frozen=True)
class Store:
    """A data set with its configs.

    Attributes:
        dataset: Id on the hub, or a folder.
        revision: Branch, tag or commit on the hub.
        cache_dir: Folder for the copies of ``datasets``.
        folder: Folder of the data set; None: it is on the hub.
    """

    dataset: str
    revision: str | None
    cache_dir: str | None
    folder: Path | None

    def load(self, config: str) -> dict[str, Any]:
        """Read a config.

        Args:
            config: Name of the config, or of a folder in the data set's folder.

        Returns:
            Split -> ``datasets.Dataset``, which is read from ``cache_dir`` when it is used.

        Raises:
            InputError: There is no such config, or it cannot be read. ``where`` is the data set if
                the problem is in all its configs.
        """
        with self._clear_errors():
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
        """Configs on the card of the data set; :data:`WHOLE` if the card has none."""
        import datasets

        if self.folder is None:
            return list(datasets.get_dataset_config_names(self.dataset, revision=self.revision))
        if _is_saved(self.folder):
            return [WHOLE]
        if self._folders and not (self.folder / "README.md").is_file():
            return []  # ``datasets`` would mix all folders in one config
        return list(datasets.get_dataset_config_names(str(self.folder)))

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
    def _clear_errors(self) -> Iterator[None]:
        """Turn the errors of ``datasets`` into one sentence each."""
        from datasets.exceptions import DatasetNotFoundError

        try:
            yield
        except InputError:
            raise
        except ConnectionError as error:
            revision = f"--revision {self.revision} " if self.revision else ""
            raise InputError(
                "the hub cannot be reached; download the data set on a machine that reaches it "
                f"(hf download {self.dataset} --repo-type dataset {revision}--local-dir FOLDER) "
                "and set dataset: FOLDER",
                self.dataset,
            ) from error
        except DatasetNotFoundError as error:
            raise InputError(
                f"does not exist, or you have no access: {error}", self.dataset
            ) from error
        except Exception as error:  # the readers of the formats raise errors of any kind
            is_script = "scripts are no longer supported" in str(error)
            if is_script or (self.folder and any(self.folder.glob("*.py"))):
                raise InputError(
                    "is made by a script, and scripts are never run; take a copy in data files, "
                    f"such as the hub's own (revision: {PARQUET_BRANCH})",
                    self.dataset,
                ) from error
            raise InputError(f"cannot be read: {error}") from error


def _is_saved(folder: Path) -> bool:
    return any((folder / name).is_file() for name in SAVED)


@contextmanager
def open_store(dataset: str, revision: str | None, cache_dir: str | None) -> Iterator[Store]:
    """Open a data set for the time of the block.

    Args:
        dataset: Id on the hub, or a folder.
        revision: Branch, tag or commit on the hub.
        cache_dir: Folder for the copies of ``datasets``; None: its usual folder for the hub, and
            a temporary one for a local folder.

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
        if quiet:  # the bars show a copy of local files, which is of no interest
            datasets.disable_progress_bars()
        try:
            yield Store(dataset, revision, cache_dir or temporary, folder)
        finally:
            if quiet:
                datasets.enable_progress_bars()
