"""Prepared data sets: a source is read once and stored as Parquet, with counts of all its rows."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xlt.data.core.errors import InputError
from xlt.data.core.files import Files, to_json, to_parquet
from xlt.data.core.settings import Settings, added_later
from xlt.data.dataset.languages import parse_languages
from xlt.data.dataset.schema import Dataset
from xlt.data.dataset.translations import TRANSLATION_SCHEMA, Translations, count_origins
from xlt.data.sources.reading import Reading

DATA_FORMAT = 1
"""Version of the folder's format; other versions are refused."""
MANIFEST, ROWS, REJECTS = "manifest.json", "data.parquet", "rejects.parquet"
TRANSLATIONS = "translations.parquet"


class PreparedTranslations(Settings):
    """The translations of a prepared data set."""

    sha256: str
    """SHA-256 (hex) of the file of translations."""
    origins: dict[str, dict[str, int]]
    """Direction, e.g. ``en -> ja`` -> column, file or model -> number of translations."""


class Manifest(Settings):
    """The description of a prepared data set, with the origin of its rows."""

    format: int
    """:data:`DATA_FORMAT` when it was written."""
    fingerprint: str
    """Fingerprint of the rows, see :class:`Dataset`."""
    sha256: str
    """SHA-256 (hex) of the file of rows."""
    source: dict[str, Any]
    """The settings of the source."""
    classes: tuple[str, ...]
    """Class names in the order of their labels."""
    num_read: int
    """Number of rows of the source: kept + dropped + rejected."""
    num_kept: int
    """Number of rows of the data set."""
    dropped: dict[str, int]
    """Rule -> number of rows that it dropped."""
    num_rejected: int
    """Number of rows that could not be read; the file of rejects has the reason of each."""
    counts: dict[str, dict[str, int]]
    """Language -> class -> number of rows."""
    corrections: dict[str, Any] | None = None
    """Changes by corrected labels."""
    translations: PreparedTranslations | None = added_later(None)
    """Translations of rows; None: there are none."""


class PreparedData(Files):
    """The folder of a prepared data set: rows, rejects, translations and the manifest.

    The manifest is written last. There is no file of translations if there are none.

    Args:
        uri: A local path or a pyarrow.fs URI.
    """

    kind = "prepared data set"

    def save(self, reading: Reading, source: dict[str, Any]) -> Manifest:
        """Write the rows of a source.

        Args:
            reading: The result of reading the source.
            source: The settings of the source.

        Raises:
            InputError: The folder cannot be written, or has other files.
        """
        dataset = reading.dataset
        rows = to_parquet(dataset.table)
        corrections = reading.corrections
        translations = dataset.translations
        translated = to_parquet(translations.table) if len(translations.table) else None
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
            translations=None
            if translated is None
            else PreparedTranslations(
                sha256=hashlib.sha256(translated).hexdigest(),
                origins={
                    str(direction): count_origins(by_id)
                    for direction, by_id in translations.by_direction.items()
                },
            ),
        )
        try:
            self.refuse_foreign()
            self.make_folder()
            self.write(ROWS, rows)
            self.write(REJECTS, to_parquet(reading.rejects))
            if translated is not None:
                self.write(TRANSLATIONS, translated)
            self.write(MANIFEST, to_json(manifest.model_dump(mode="json")))
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{self.kind} {self.uri!r} cannot be written: {error}; free space, correct the "
                "permissions or give another folder"
            ) from error
        return manifest

    def refuse_foreign(self) -> None:
        """Refuse a folder with files that do not belong to a prepared data set.

        Raises:
            InputError: The folder has other files, or cannot be read.
        """
        try:
            names = set(self.names())
        except OSError as error:
            raise InputError(
                f"{self.kind} {self.uri!r} cannot be used: {error}; give another folder"
            ) from error
        if names - {MANIFEST, ROWS, REJECTS, TRANSLATIONS} or (names and MANIFEST not in names):
            raise InputError(
                f"{self.kind} {self.uri!r}: the folder holds other files ({min(names)!r}); "
                "give an empty folder or an earlier prepared data set"
            )

    def manifest(self) -> Manifest:
        """Read the manifest.

        Raises:
            InputError: The manifest is missing, damaged, or has another format version.
        """
        try:
            if not self.exists(MANIFEST):
                raise InputError(
                    f"has no {MANIFEST}; prepare it with `xlt data prepare SOURCE.yaml --out "
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
            InputError: The data set is missing or damaged.
        """
        manifest = self.manifest()
        rows = self._read_table(ROWS, manifest.sha256, manifest.num_kept)
        dataset = Dataset.from_table(rows, self.path(ROWS), classes=manifest.classes)
        if manifest.translations is None:
            return dataset
        translations = manifest.translations
        num_rows = sum(sum(by_origin.values()) for by_origin in translations.origins.values())
        table = self._read_table(TRANSLATIONS, translations.sha256, num_rows)
        try:
            return replace(dataset, translations=Translations(_spell_languages(table)))
        except (pa.ArrowException, ValueError) as error:
            where = self.path(TRANSLATIONS)
            raise InputError(f"cannot be used: {error}; prepare it again", where) from error

    def _read_table(self, name: str, sha256: str, num_rows: int) -> pa.Table:
        """Read and verify a file of the folder, after its footer has the rows of the manifest."""
        where = self.path(name)
        try:
            content = self.read(name)
        except OSError as error:
            raise InputError(f"cannot be read: {error}; prepare it again", where) from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise InputError("was changed after it was written; prepare it again", where)
        try:
            file = pq.ParquetFile(pa.BufferReader(content))
            if file.metadata.num_rows != num_rows:
                problem = f"has {file.metadata.num_rows:,} rows, but {MANIFEST} says {num_rows:,}"
                raise InputError(f"{problem}; prepare it again", where)
            return file.read()
        except pa.ArrowException as error:
            raise InputError(f"cannot be read: {error}; prepare it again", where) from error


def _spell_languages(table: pa.Table) -> pa.Table:
    """Give a table of translations the codes that the rows have, whichever version wrote it."""
    table = table.cast(TRANSLATION_SCHEMA)
    for name in ("source_lang", "lang"):
        place = table.schema.get_field_index(name)
        column = parse_languages(table[name])
        table = table.set_column(place, table.schema.field(place), column)
    return table


def class_counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Count rows: language -> class -> number, with 0 for classes without rows."""
    groups = dataset.table.group_by(["lang", "label"]).aggregate([([], "count_all")]).to_pylist()
    counts = {(group["lang"], group["label"]): group["count_all"] for group in groups}
    return {
        lang: {name: counts.get((lang, n), 0) for n, name in enumerate(dataset.classes)}
        for lang in sorted({lang for lang, _ in counts})
    }
