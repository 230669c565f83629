"""A hub on this machine's loopback that speaks as the real one does, for the real client."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub.constants
import pytest

SHA = "0123456789abcdef0123456789abcdef01234567"
BERT_JAPANESE = {
    "tokenizer_class": "BertJapaneseTokenizer",
    "word_tokenizer_type": "mecab",
    "mecab_kwargs": {"mecab_dic": "no_such_dictionary"},
}
REPOSITORIES: dict[str, dict[str, object]] = {
    "org/whole": {"config.json": {"model_type": "bert"}, "model.safetensors": 700,
                  "tokenizer.json": 30, "tokenizer_config.json": {}, "flax_model.msgpack": 10**9},
    "org/pickled": {"config.json": {"model_type": "bert"}, "pytorch_model.bin": 700,
                    "tokenizer.json": 30},
    "org/mute": {"config.json": {"model_type": "bert"}, "model.safetensors": 700},
    "org/words": {"config.json": {"model_type": "bert"}, "model.safetensors": 700,
                  "vocab.txt": 30, "tokenizer_config.json": BERT_JAPANESE},
    "org/gated": {"config.json": {"model_type": "llama"}, "model.safetensors": 700,
                  "tokenizer.json": 30},
}  # fmt: skip
"""Name -> files: JSON content, or a size."""


class _Hub(BaseHTTPRequestHandler):
    def _answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_GET(self) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            return self._model("/".join(parts[2:4]), parts[4:])
        return self._file("/".join(parts[:2]), parts[-1])

    do_HEAD = do_GET

    def _model(self, repo: str, rest: list[str]) -> None:
        if repo not in REPOSITORIES:
            return self._answer(401, X_Error_Code="RepoNotFound")
        if rest == ["auth-check"]:
            return self._answer(403, X_Error_Code="GatedRepo")
        if rest[:1] == ["revision"] and rest[1] not in {"main", SHA}:
            return self._answer(404, X_Error_Code="RevisionNotFound")
        files = REPOSITORIES[repo]
        info = {
            "_id": "1", "id": repo, "sha": SHA, "private": False, "downloads": 0, "likes": 0,
            "tags": [], "gated": "manual" if repo == "org/gated" else False,
            "siblings": [{"rfilename": n, "size": _size(f)} for n, f in files.items()],
        }  # fmt: skip
        self._answer(200, json.dumps(info).encode(), Content_Type="application/json")

    def _file(self, repo: str, name: str) -> None:
        content = json.dumps(REPOSITORIES[repo][name]).encode()
        self._answer(200, content, ETag=f'"{repo}-{name}"', X_Repo_Commit=SHA)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


def _size(file: object) -> int:
    return file if isinstance(file, int) else len(json.dumps(file))


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, cache: str) -> Iterator[str]:
    """The client asks this hub and no other, and keeps what it gets in ``cache``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    constants = huggingface_hub.constants
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", cache)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
