"""Prepared data sets: a source read once, kept as Parquet with an account of every row."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xlt.data.core.errors import InputError
from xlt.data.core.files import Files, to_json, to_parquet
from xlt.data.core.settings import Settings
from xlt.data.dataset.schema import Dataset
from xlt.data.sources.reading import Reading

DATA_FORMAT = 1
"""Version of the folder; others are refused."""
MANIFEST, ROWS, REJECTS = "manifest.json", "data.parquet", "rejects.parquet"


class Manifest(Settings):
    """What a prepared data set is and where its rows came from."""

    format: int
    """:data:`DATA_FORMAT` when it was written."""
    fingerprint: str
    """Of the rows, see :class:`Dataset`."""
    sha256: str
    """Of the file of rows (hex)."""
    source: dict[str, Any]
    """The source block: which files, which rules."""
    classes: tuple[str, ...]
    """Name of each label."""
    num_read: int
    """Rows that were there: kept + dropped + rejected."""
    num_kept: int
    """Rows of the data set."""
    dropped: dict[str, int]
    """Rule -> rows that it left out."""
    num_rejected: int
    """Rows that could not be read; each with its reason in the file of rejects."""
    counts: dict[str, dict[str, int]]
    """Language -> class -> rows."""
    corrections: dict[str, Any] | None = None
    """What hand corrections changed."""


class PreparedData(Files):
    """A folder with the rows, the rejects and the manifest, which is written last.

    Args:
        uri: A local path or any URI that pyarrow.fs understands.
    """

    kind = "prepared data set"

    def save(self, reading: Reading, source: dict[str, Any]) -> Manifest:
        """Write what a source gave.

        Args:
            reading: Rows and account.
            source: The block that asked for it.

        Raises:
            InputError: The folder cannot be written, or holds something else.
        """
        dataset = reading.dataset
        rows = to_parquet(dataset.table)
        corrections = reading.corrections
        manifest = Manifest(
            format=DATA_FORMAT,
            fingerprint=dataset.fingerprint,
            sha256=hashlib.sha256(rows).hexdigest(),
            source=source,
            classes=dataset.classes,
            num_read=reading.num_read,
            num_kept=len(dataset.table),
            dropped=dict(reading.dropped),
            num_rejected=len(reading.rejects),
            counts=class_counts(dataset),
            corrections=corrections.as_dict() if corrections else None,
        )
        try:
            self.refuse_foreign()
            self.make_folder()
            self.write(ROWS, rows)
            self.write(REJECTS, to_parquet(reading.rejects))
            self.write(MANIFEST, to_json(manifest.model_dump(mode="json")))
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{self.kind} {self.uri!r} cannot be written: {error}; free space, mend the "
                "permissions or give another place"
            ) from error
        return manifest

    def refuse_foreign(self) -> None:
        """Refuse a folder whose files are not a prepared data set's.

        Raises:
            InputError: It holds other files, or cannot be looked into.
        """
        try:
            names = set(self.names())
        except OSError as error:
            raise InputError(
                f"{self.kind} {self.uri!r} cannot be used: {error}; give another place"
            ) from error
        if names - {MANIFEST, ROWS, REJECTS} or (names and MANIFEST not in names):
            raise InputError(
                f"{self.kind} {self.uri!r}: the folder holds other files ({min(names)!r}); "
                "give an empty folder or an earlier prepared data set"
            )

    def manifest(self) -> Manifest:
        """Read the manifest.

        Raises:
            InputError: There is none, or it is damaged or of another format version.
        """
        try:
            if not self.exists(MANIFEST):
                raise InputError(
                    f"has no {MANIFEST}; make it with `xlt data prepare SOURCE.yaml --out "
                    f"{self.uri}`",
                    f"{self.kind} {self.uri}",
                )
            values = self.read_json(MANIFEST)
        except OSError as error:
            raise InputError(f"cannot be read: {error}", f"{self.kind} {self.uri}") from error
        if values.get("format") != DATA_FORMAT:
            raise InputError(
                f"has format {values.get('format')}; this version reads {DATA_FORMAT}; prepare it "
                "again",
                f"{self.kind} {self.uri}",
            )
        return Manifest.parse(values, self.path(MANIFEST))

    def load(self) -> Dataset:
        """Read and verify the rows.

        Raises:
            InputError: No or a damaged data set.
        """
        manifest = self.manifest()
        where = self.path(ROWS)
        try:
            content = self.read(ROWS)
        except OSError as error:
            raise InputError(f"cannot be read: {error}; prepare it again", where) from error
        if hashlib.sha256(content).hexdigest() != manifest.sha256:
            raise InputError("was changed after it was written; prepare it again", where)
        table = pq.read_table(io.BytesIO(content))
        return Dataset.from_table(table, where, classes=manifest.classes)


def class_counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Language -> class -> rows; classes without rows are 0."""
    found = dataset.table.group_by(["lang", "label"]).aggregate([([], "count_all")]).to_pylist()
    counts = {(row["lang"], row["label"]): row["count_all"] for row in found}
    return {
        lang: {name: counts.get((lang, n), 0) for n, name in enumerate(dataset.classes)}
        for lang in sorted({lang for lang, _ in counts})
    }
