"""File systems of paths and URIs. A URI says where files lie, and must not contain credentials.

Credentials come from their usual places: the environment (``AWS_ACCESS_KEY_ID`` ...), a file of
the user (``~/.aws``) or the role of the machine. URIs are printed and written into plans, so a
URI with a secret is refused first.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import pyarrow.fs as pafs

from xlt.data.core.errors import InputError, unknown

S3_OPTIONS = ("endpoint_override", "region", "scheme", "tls_ca_file_path")
"""Options that an s3 URI may have after its question mark; pyarrow has the same names."""
NUM_ATTEMPTS = 6
"""Attempts of a request to an object store that has an internal error, asks to slow down, or does
not answer. The waits between them are 0.5, 1, 2, 4 and 8 s on average (standard strategy of the
AWS SDK)."""
GS_RETRY_SECONDS = 15
"""Longest time for which Google's client repeats a request. Its default is 15 minutes, so that a
wrong endpoint_override looked like a hang."""

_SECRET_KEY = re.compile(r"key|secret|token|passw|credential|signature|\bsas\b", re.IGNORECASE)


def locate(uri: str) -> tuple[pafs.FileSystem, str]:
    """Find the file system of a local path or pyarrow.fs URI.

    Args:
        uri: A local path, which may hold any characters, or a URI with ``file://``, ``s3://``,
            ``gs://`` or ``hdfs://``.

    Returns:
        The file system, and the path in it.

    Raises:
        InputError: The URI contains a secret or an unknown option.
        OSError, pa.ArrowException: The file system does not exist or cannot be reached.
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
    """Refuse a URI that contains a password or key.

    Raises:
        InputError: The kind of secret, without the secret itself, and the right places of
            credentials.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme == "file":
        return
    address, _, query = rest.partition("?")
    # Secret keys of S3 may contain a slash, so the part before an @ need not look like a host.
    user, has_user, _ = address.rpartition("@")
    bucket = address.partition("/")[0]
    secret = ""
    if (has_user and ":" in user) or (scheme == "s3" and (":" in bucket or "@" in bucket)):
        secret = "a user or password before its host"
    names = [name for name, _ in parse_qsl(query, keep_blank_values=True)]
    if secret_names := [name for name in names if _SECRET_KEY.search(name)]:
        secret = f"{', '.join(secret_names)} after its question mark"
    elif "@" in dict(parse_qsl(query)).get("endpoint_override", ""):
        secret = "a user or password in endpoint_override"
    if secret:
        raise InputError(
            f"a {scheme}:// URI contains {secret}, and URIs are written into plans and logs; "
            "remove it and give credentials in the environment (AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS), in ~/.aws or by the role of "
            "the machine"
        )


def _s3(parts: SplitResult) -> tuple[pafs.FileSystem, str]:
    """Open an s3 URI as pyarrow does, with more attempts and fewer requests for small files."""
    options: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options.keys() - set(S3_OPTIONS):
        raise InputError(unknown("option of an s3 URI", name, S3_OPTIONS))
    if parts.netloc and not options.keys() & {"region", "endpoint_override"}:
        options["region"] = pafs.resolve_s3_region(parts.netloc)
    fs = pafs.S3FileSystem(
        **options,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=NUM_ATTEMPTS),
        allow_delayed_open=True,  # a small file takes one request instead of three
    )
    return fs, parts.netloc + unquote(parts.path)
