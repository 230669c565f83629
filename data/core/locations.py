"""From a path or URI to its file system: where files lie, never who may read them.

Credentials come from where such programs look for them by themselves: the environment
(``AWS_ACCESS_KEY_ID`` ...), a file of the user's (``~/.aws``), the machine's role. A URI is written
into plans and printed, so one that holds a secret is refused before anything else sees it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import pyarrow.fs as pafs

from xlt.data.core.errors import InputError, unknown

S3_OPTIONS = ("endpoint_override", "region", "scheme", "tls_ca_file_path")
"""What an s3 URI may say after its question mark; names as pyarrow's."""
NUM_ATTEMPTS = 6
"""Of a request to an object store that answers with an error of its own, asks to slow down, does
not answer or cannot be reached; between them it waits 0.5, 1, 2, 4 and 8 s on average (the AWS
SDK's standard strategy)."""
GS_RETRY_SECONDS = 15
"""How long Google's client makes a request again; by itself it would for 15 minutes, and a wrong
endpoint_override looked like a hang."""

_SECRET_KEY = re.compile(r"key|secret|token|passw|credential|signature|\bsas\b", re.IGNORECASE)


def locate(uri: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a local path or pyarrow.fs URI, and the path there.

    Args:
        uri: A local path, taken as it is, or ``file://``, ``s3://``, ``gs://``, ``hdfs://``.

    Raises:
        InputError: A secret in the URI, or an unknown option.
        OSError, pa.ArrowException: There is no such file system, or it cannot be reached.
    """
    if "://" not in uri:
        return pafs.LocalFileSystem(), str(Path(uri).expanduser().absolute())
    refuse_secrets(uri)
    parts = urlsplit(uri)
    if parts.scheme == "s3":
        return _s3(parts)
    if parts.scheme in ("gs", "gcs") and "retry_limit_seconds" not in dict(parse_qsl(parts.query)):
        uri += f"{'&' if parts.query else '?'}retry_limit_seconds={GS_RETRY_SECONDS}"
    fs, place = pafs.FileSystem.from_uri(uri)
    return fs, place


def refuse_secrets(uri: str) -> None:
    """Refuse a URI that holds a password or key; the error does not repeat it.

    Raises:
        InputError: What was found and where credentials belong.
    """
    scheme, found, rest = uri.partition("://")
    if not found or scheme == "file":
        return
    address, _, query = rest.partition("?")
    # Keys of S3 may hold a slash, so that what comes before an @ need not look like a host.
    who, has_user, _ = address.rpartition("@")
    bucket = address.partition("/")[0]
    held = ""
    if (has_user and ":" in who) or (scheme == "s3" and (":" in bucket or "@" in bucket)):
        held = "a user or password before its host"
    names = [name for name, _ in parse_qsl(query, keep_blank_values=True)]
    if secret := [name for name in names if _SECRET_KEY.search(name)]:
        held = f"{', '.join(secret)} after its question mark"
    elif "@" in dict(parse_qsl(query)).get("endpoint_override", ""):
        held = "a user or password in endpoint_override"
    if held:
        raise InputError(
            f"a {scheme}:// URI holds {held}, and URIs are written into plans and logs; take it "
            "out and give credentials by the environment (AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS), ~/.aws or the machine's role"
        )


def _s3(parts: SplitResult) -> tuple[pafs.FileSystem, str]:
    """As pyarrow reads an s3 URI, with more attempts and without a request to open a file."""
    options: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options.keys() - set(S3_OPTIONS):
        raise InputError(unknown("option of an s3 URI", name, S3_OPTIONS))
    if parts.netloc and not options.keys() & {"region", "endpoint_override"}:
        options["region"] = pafs.resolve_s3_region(parts.netloc)
    fs = pafs.S3FileSystem(
        **options,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=NUM_ATTEMPTS),
        allow_delayed_open=True,  # a small file is one request and not three
    )
    return fs, parts.netloc + unquote(parts.path)
