"""Serve LIT with a page that loads nothing from the web, and refuse requests of other sites.

Headlines may be licensed, so their machines may be offline and their texts must not leak.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lit_nlp
from werkzeug import wrappers

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PACKAGES = Path(lit_nlp.__file__).parent.parent
CLIENT = PACKAGES / "lit_nlp" / "client" / "build" / "default"
ICONS = {
    "Material Icons": "MaterialIcons-Regular.ttf",
    "Material Icons Outlined": "MaterialIconsOutlined-Regular.otf",
}
"""Fonts that LIT's page would load from the web -> files of the package tkinter_icons_gmi, which is
never imported. Without these fonts, buttons show the names of their icons."""


def serve_page(app: Callable[..., Any], host: str, lang: str) -> Callable[..., Any]:
    """Wrap LIT's application: replace its page, and check the host name of each request.

    Args:
        app: LIT's application.
        host: Address that the server listens on. On loopback, requests for any other host name are
            refused, because another site could read the texts through its own name (DNS
            rebinding).
        lang: Language of the texts. Browsers choose glyphs by it: Japanese and Chinese characters
            share code points.
    """
    fonts = {
        f"/fonts/{name}": PACKAGES / "tkinter_icons_gmi/fonts" / name for name in ICONS.values()
    }
    faces = (
        f'@font-face {{font-family: "{family}"; src: url("fonts/{name}")}}'
        for family, name in ICONS.items()
    )
    page = re.sub(
        r"<link[^>]*https://[^>]*>", "", (CLIENT / "static/index.html").read_text("utf-8")
    )
    page = page.replace("<html>", f'<html lang="{html.escape(lang)}">')
    page = page.replace("</head>", f"<style>{''.join(faces)}</style></head>")
    # LIT's page needs unsafe-eval; the policy still stops all traffic with other sites.
    sources = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
    policy = {"Content-Security-Policy": sources}

    def answer(environ: dict[str, Any], start: Any) -> Any:
        request = wrappers.Request(environ)
        if host in LOOPBACK and _name(request.host) not in LOOPBACK:
            return wrappers.Response("unknown host", 403)(environ, start)
        if request.path == "/":
            return wrappers.Response(page, 200, policy, mimetype="text/html")(environ, start)
        if request.path in fonts:
            content = fonts[request.path].read_bytes()
            return wrappers.Response(content, 200, mimetype="font/otf")(environ, start)
        return app(environ, start)

    return answer


def _name(host: str) -> str:
    """Host name without port and brackets, e.g. ``::1`` of ``[::1]:5432``."""
    return re.sub(r":\d+$", "", host).strip("[]")
