"""A hub on the loopback interface, of folders on disk: the few routes that loading asks."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "a" * 40


@dataclass
class Hub:
    """Served files, and the requests for them.

    Attributes:
        folders: Repository -> its files, all of commit :data:`COMMIT`.
        gated: Repositories whose files this visitor may not have.
        asked: Paths of all requests.
    """

    folders: dict[str, Path]
    gated: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    endpoint: str = ""


@contextmanager
def serve_hub(hub: Hub) -> Iterator[Hub]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.asked.append(self.path)
            path = self.path.partition("?")[0].strip("/")
            parts = path.removeprefix("api/models/").split("/")
            repo, rest = "/".join(parts[:2]), parts[2:]
            if repo not in hub.folders:
                return self.refuse(401, "RepoNotFound")
            if rest and rest[0] == "revision" and rest[1] not in (COMMIT, "main"):
                return self.refuse(404, "RevisionNotFound")
            if rest and rest[0] == "resolve":
                return self.file(repo, hub.folders[repo] / "/".join(rest[2:]))
            if rest and rest[0] == "tree":
                files = [
                    {"type": "file", "path": f.name, "size": f.stat().st_size, "oid": oid(f)}
                    for f in sorted(hub.folders[repo].iterdir())
                ]
                return self.answer(json.dumps(files).encode())
            return self.answer(json.dumps({"id": repo, "sha": COMMIT}).encode())

        do_HEAD = do_GET

        def file(self, repo: str, file: Path) -> None:
            if repo in hub.gated:
                return self.refuse(403, "GatedRepo")
            if not file.is_file():
                return self.refuse(404, "EntryNotFound")
            headers = {"ETag": f'"{oid(file)}"', "X-Repo-Commit": COMMIT}
            return self.answer(file.read_bytes(), **headers)

        def refuse(self, status: int, code: str) -> None:
            self.answer(b"{}", status, **{"X-Error-Code": code})

        def answer(self, content: bytes, status: int = 200, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            """Nothing among the tests' lines."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def oid(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
