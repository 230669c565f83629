"""Small archives of Machine Readable News, as tests write and read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from xlt.data.core.errors import InputError
from xlt.data.sources.mrn.rules import Options
from xlt.data.sources.reading import Reading
from xlt.data.sources.registry import parse_source, read_source

ESG = "N2:ESGENV"


def make(guid: str, **changes: Any) -> dict[str, Any]:
    """An item as the archive has them: an English article about ESG, alone in its story."""
    data = {
        "altId": f"n{guid}", "audiences": ["NP:E"], "body": "LONDON, May 3 - Text.\r\n",
        "firstCreated": "2021-05-03T08:00:00.000Z", "headline": f"Plant {guid} cuts emissions",
        "id": guid, "instancesOf": [], "language": "en", "messageType": 2,
        "mimeType": "text/plain", "provider": "NS:RTRS", "pubStatus": "stat:usable",
        "subjects": ["R:0000.T", "N2:LEN", ESG], "takeSequence": 1, "urgency": 3,
        "versionCreated": "2021-05-03T08:20:00.000Z", **changes,
    }  # fmt: skip
    recorded = [{"name": "recorded", "timestamp": data["versionCreated"]}]
    return {"guid": guid, "timestamps": recorded, "data": data}


JAPANESE = {"language": "ja", "headline": "架空商事、配当を据え置き", "subjects": ["N2:LJA"]}
HEADER = {"RIC": "MRN_STORY", "Start": "2021-05-01T00:00:00.000Z",
          "End": "2021-06-01T00:00:00.000Z", "MajorVersion": "2"}  # fmt: skip


def spell(item: dict[str, Any]) -> bytes:
    return json.dumps(item, ensure_ascii=False).encode()


def layout(lines: list[bytes], **header: Any) -> bytes:
    head = json.dumps({**HEADER, **header})[:-1].encode() + b', "Items":[\n'
    return head + b",\n".join(lines) + b"\n]}\n"


def archive(*items: dict[str, Any], **header: Any) -> bytes:
    return layout([spell(item) for item in items], **header)


def options(path: Any, **values: Any) -> Options:
    paths = [str(p) for p in path] if isinstance(path, list) else str(path)
    values = {"languages": ["en"], "positive": [ESG], **values}
    parsed = parse_source({"source": "mrn", "path": paths, **values})
    assert isinstance(parsed, Options)
    return parsed


def load(path: Any, **values: Any) -> Reading:
    return read_source(options(path, **values))


def load_items(folder: Path, *items: dict[str, Any], **values: Any) -> Reading:
    (folder / "a.txt").write_bytes(archive(*items))
    return load(folder / "a.txt", **values)


def ids(reading: Reading) -> list[str]:
    return list(reading.dataset.table["id"].to_pylist())


def errors(path: Any, **values: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(path, **values)
    return caught.value.problems


def rejects(reading: Reading) -> list[tuple[int, str]]:
    return [(row["row"], row["reason"]) for row in reading.rejects.to_pylist()]


def story(*serials: int) -> list[dict[str, Any]]:
    """Versions of one story, an hour apart, each in two takes."""
    return [
        make(f"v{serial}t{take}", altId="nS", takeSequence=take,
             versionCreated=f"2021-05-03T{serial:02d}:00:00.000Z")
        for serial in serials
        for take in (1, 2)
    ]  # fmt: skip
