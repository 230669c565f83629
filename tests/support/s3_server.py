"""moto's S3 on the loopback interface, with a count of requests and faults on demand."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import pyarrow.fs as pafs
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

SECRET = "s3cr3tAccessKey"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIATESTS",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Credentials as S3 wants them; moto takes any."""
ERROR = "<Error><Code>{code}</Code><Message>as the test wishes</Message></Error>"


@dataclass
class S3:
    """A server, what it was asked for, and how it fails.

    Attributes:
        asked: Method and key of each request since the list was emptied last; LIST for a listing.
        fault: Called with each request before it is served; returns (status, S3's code) to answer
            instead.
    """

    address: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    fault: Callable[[str, str], tuple[int, str] | None] = lambda method, key: None

    def bucket(self) -> str:
        """URI of a folder in a new bucket."""
        name = f"bucket-{uuid.uuid4().hex}"
        fs = pafs.S3FileSystem(
            endpoint_override=self.address, scheme="http", region="us-east-1",
            allow_bucket_creation=True,
        )  # fmt: skip
        fs.create_dir(name)
        self.asked.clear()
        return f"s3://{name}/xlt?endpoint_override={self.address}&scheme=http"


def fails(times: int, status: int, code: str) -> Callable[[str, str], tuple[int, str] | None]:
    """A fault of the next ``times`` requests; status 0: no answer for six seconds."""
    left = [times]

    def fault(method: str, key: str) -> tuple[int, str] | None:
        if left[0] == 0:
            return None
        left[0] -= 1
        if status == 0:
            time.sleep(6)
            return None
        return status, code

    return fault


@contextmanager
def serve_s3() -> Iterator[S3]:
    """Serve until the block ends."""
    s3, moto = S3(), DomainDispatcherApplication(create_backend_app)

    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        listing = "list-type" in parse_qs(environ["QUERY_STRING"])
        method = "LIST" if listing else environ["REQUEST_METHOD"]
        s3.asked.append((method, environ["PATH_INFO"].split("/", 2)[-1]))
        if answer := s3.fault(*s3.asked[-1]):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            status, code = answer
            start(f"{status} {code}", [("Content-Type", "application/xml")])
            return [] if method == "HEAD" else [ERROR.format(code=code).encode()]
        served: Iterable[bytes] = moto(environ, start)
        return served

    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    s3.address = f"127.0.0.1:{server.port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield s3
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def serve_s3_to_processes() -> Iterator[S3]:
    """Serve S3, with credentials in the environment, which processes that start later inherit."""
    with pytest.MonkeyPatch.context() as patch, serve_s3() as served:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield served
