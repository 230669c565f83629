"""LIT behind a page of our own, which loads nothing from elsewhere, and a check of who asks.

Headlines may be licensed, and machines that hold them offline.
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
"""Fonts that LIT's page would load from the web -> files of tkinter_icons_gmi, which is never
imported. Without them every button shows its icon's name."""


def serve_page(app: Callable[..., Any], host: str, lang: str) -> Callable[..., Any]:
    """The application behind a page of our own and a check of who asks.

    Args:
        app: LIT's application.
        host: That it listens on. On loopback, requests in any other name are refused: a page of
            another site could read the texts through a name of its own.
        lang: Of the texts, so that browsers choose its glyphs: Japanese and Chinese share codes.
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
    # The page evaluates strings; what matters is that nothing goes to or comes from elsewhere.
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
    """``[::1]:5432`` and ``localhost:5432`` without port and brackets."""
    return re.sub(r":\d+$", "", host).strip("[]")
