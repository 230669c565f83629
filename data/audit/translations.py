"""The check ``translations``: finds translations that are none, and those that reveal test rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from xlt.data.audit.example_rows import example_rows
from xlt.data.audit.language import MAX_SHARE, NUM_ALLOWED, misread
from xlt.data.audit.near_duplicates import MIN_JACCARD, jaccard, signatures
from xlt.data.audit.used_rows import UsedRows
from xlt.data.core.finding import Finding
from xlt.data.dataset.schema import Dataset
from xlt.data.dataset.translations import Direction


def check(dataset: Dataset, used_rows: UsedRows) -> list[Finding]:
    """Check the translations that patterns read, or all if the used rows are not known.

    Three kinds are a warning if they are more than :data:`NUM_ALLOWED` and more than
    :data:`MAX_SHARE` of a direction's translations, else an info: translations that equal their
    text, that are in another language, and that are the same for different texts. A translation
    that nearly equals a text of the other side of train and test is always a warning.
    """
    findings: list[Finding] = []
    for direction in used_rows.list_read(dataset.translations.by_direction):
        keys = {
            row_id: key
            for row_id, key in dataset.translated_keys.get(direction, {}).items()
            if used_rows.uses(row_id)
        }
        originals = {row.id: row.key for row in dataset.by_lang[direction.source]}
        kinds = {
            "equal their text": [i for i, key in keys.items() if key == originals[i]],
            f"seem to be in another language than {direction.target}": list(
                _misread(dataset, direction, keys)
            ),
            "are the same for different texts": list(_shared(keys, originals)),
        }
        for what, ids in kinds.items():
            if ids:
                many = len(ids) > max(NUM_ALLOWED, MAX_SHARE * len(keys))
                findings.append(
                    Finding(
                        "translations",
                        "warning" if many else "info",
                        f"{len(ids)} of {len(keys)} translations {direction} {what}",
                        "read some of them, and translate these rows again",
                        count=len(ids),
                        examples=example_rows(dataset, ids),
                    )
                )
        crossing = list(dict.fromkeys(_crossing(dataset, direction, keys, used_rows)))
        if crossing:
            findings.append(
                Finding(
                    "translations",
                    "warning",
                    f"{len(crossing)} translations {direction} nearly equal a text on the other "
                    f"side of train and test (Jaccard {MIN_JACCARD} or more)",
                    "give rows with the same content one story, so that no draw parts them",
                    count=len(crossing),
                    examples=example_rows(dataset, crossing),
                )
            )
    return findings


def _misread(dataset: Dataset, direction: Direction, keys: Mapping[str, str]) -> Iterator[str]:
    """Find translations that are not in the language of their direction."""
    by_id = dataset.translations.find(direction)
    columns = {
        "id": list(keys),
        "text": [by_id[row_id].text for row_id in keys],
        "lang": [direction.target] * len(keys),
    }
    for read in misread(columns, direction).values():
        yield from read


def _shared(keys: Mapping[str, str], originals: Mapping[str, str]) -> Iterator[str]:
    """Find rows with the translation of another row, whose text is a different one."""
    pairs = {(key, originals[row_id]) for row_id, key in keys.items()}
    num_texts = Counter(key for key, _ in pairs)
    return (row_id for row_id, key in keys.items() if num_texts[key] > 1)


def _crossing(
    dataset: Dataset, direction: Direction, keys: Mapping[str, str], used_rows: UsedRows
) -> Iterator[str]:
    """Find rows whose translation nearly equals a text that the same cell uses in another role."""
    others = [row for row in dataset.by_lang.get(direction.target, ()) if used_rows.uses(row.id)]
    if not used_rows.draws or not others or not keys:
        return
    buckets = signatures([*keys.values(), *(row.key for row in others)]).buckets
    for bucket in buckets.tolist():
        held = defaultdict(list)
        for place, row in zip(bucket[len(keys) :], others, strict=True):
            held[place].append(row)
        for place, (row_id, key) in zip(bucket, keys.items(), strict=False):
            if any(
                used_rows.crosses([row_id], [row.id]) and jaccard(key, row.key) >= MIN_JACCARD
                for row in held.get(place, ())
            ):
                yield row_id
