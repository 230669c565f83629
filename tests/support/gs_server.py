"""Google Cloud Storage on the loopback interface, as gcp-storage-emulator speaks its protocol."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from urllib.parse import quote

from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage

BUCKET = "bucket"


@contextmanager
def serve_gs() -> Iterator[str]:
    """URI of a folder in a new bucket, until the block ends."""
    storage = Storage(use_memory_fs=True)
    storage.create_bucket(BUCKET, {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(RequestHandler, storage))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = quote(f"127.0.0.1:{server.server_port}")
    try:
        yield f"gs://anonymous@{BUCKET}/xlt?endpoint_override={address}&scheme=http"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
