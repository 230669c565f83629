"""A hub on the loopback interface, of folders on disk: the few routes of loading and uploading."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "a" * 40


@dataclass
class Hub:
    """Served files, and the requests for them.

    Attributes:
        folders: Repository -> its files, all of commit :data:`COMMIT`.
        gated: Repositories whose files this visitor may not have.
        asked: Paths of all requests.
        writers: Token -> organisations in which it may create and change repositories.
        new: Folder of the repositories that are created.
        private: Repositories that only writers may see.
        commits: Repository -> number of commits.
    """

    folders: dict[str, Path]
    gated: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    endpoint: str = ""
    writers: dict[str, set[str]] = field(default_factory=dict)
    new: Path | None = None
    private: set[str] = field(default_factory=set)
    commits: dict[str, int] = field(default_factory=dict)


@contextmanager
def serve_hub(hub: Hub) -> Iterator[Hub]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.asked.append(self.path)
            path = self.path.partition("?")[0].strip("/")
            parts = path.removeprefix("api/models/").split("/")
            repo, rest = "/".join(parts[:2]), parts[2:]
            hidden = repo in hub.private and parts[0] not in self.organisations()
            if repo not in hub.folders or hidden:
                return self.refuse(401, "RepoNotFound")
            if rest and rest[0] == "revision" and rest[1] not in (COMMIT, "main"):
                return self.refuse(404, "RevisionNotFound")
            if rest and rest[0] == "resolve":
                return self.file(repo, hub.folders[repo] / "/".join(rest[2:]))
            if rest and rest[0] == "tree":
                files = [
                    {"type": "file", "path": name, "size": f.stat().st_size, "oid": oid(f)}
                    for f in sorted(hub.folders[repo].rglob("*"))
                    if f.is_file() and (name := str(f.relative_to(hub.folders[repo])))
                ]
                return self.send_json(files)
            return self.send_json({"id": repo, "sha": COMMIT, "private": repo in hub.private})

        do_HEAD = do_GET

        def file(self, repo: str, file: Path) -> None:
            if repo in hub.gated:
                return self.refuse(403, "GatedRepo")
            if not file.is_file():
                return self.refuse(404, "EntryNotFound")
            headers = {"ETag": f'"{oid(file)}"', "X-Repo-Commit": COMMIT}
            return self.answer(file.read_bytes(), **headers)

        def do_POST(self) -> None:
            hub.asked.append(self.path)
            content = self.rfile.read(int(self.headers["Content-Length"]))
            parts = self.path.partition("?")[0].strip("/").split("/")
            if parts == ["api", "validate-yaml"]:
                return self.send_json({"errors": [], "warnings": []})
            if parts == ["api", "repos", "create"]:
                return self.create(**json.loads(content))
            repo, action = "/".join(parts[2:4]), parts[4]
            if parts[2] not in self.organisations():
                return self.refuse(403, "Forbidden")
            if action == "preupload":
                names = [file["path"] for file in json.loads(content)["files"]]
                modes = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
                return self.send_json({"files": [{"path": name, **modes} for name in names]})
            return self.commit(repo, [json.loads(line) for line in content.splitlines()])

        def organisations(self) -> set[str]:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            return hub.writers.get(token, set())

        def create(self, name: str, organization: str, visibility: str) -> None:
            repo = f"{organization}/{name}"
            if organization not in self.organisations():
                return self.refuse(403, "Forbidden")
            if repo in hub.folders:
                return self.send_json({"url": f"{hub.endpoint}/{repo}"}, 409)
            assert hub.new is not None
            hub.folders[repo] = hub.new / repo
            hub.folders[repo].mkdir(parents=True)
            (hub.folders[repo] / ".gitattributes").touch()
            if visibility == "private":
                hub.private.add(repo)
            return self.send_json({"url": f"{hub.endpoint}/{repo}"})

        def commit(self, repo: str, lines: list[dict[str, Any]]) -> None:
            for line in lines:
                if line["key"] == "file":
                    file = hub.folders[repo] / line["value"]["path"]
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(base64.b64decode(line["value"]["content"]))
            hub.commits[repo] = hub.commits.get(repo, 0) + 1
            url = f"{hub.endpoint}/{repo}/commit/{COMMIT}"
            return self.send_json({"commitUrl": url, "commitOid": COMMIT})

        def send_json(self, content: object, status: int = 200) -> None:
            self.answer(json.dumps(content).encode(), status)

        def refuse(self, status: int, code: str) -> None:
            self.answer(b"{}", status, **{"X-Error-Code": code})

        def answer(self, content: bytes, status: int = 200, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
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
