"""The page and the files it loads. There is no build step: what is in `static/` is what browsers get."""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_ROOT: Final = "{root}"

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing inline, nothing from elsewhere, and no script can be made from text."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page; `etag` changes with its content."""

    content: bytes
    media_type: str
    etag: str


@functools.cache
def assets() -> Mapping[str, Asset]:
    """Return every file that the page loads, by name. Read once."""
    static = (files("app.dashboard") / "static").iterdir()
    found = [(file.name, file.read_bytes()) for file in static]
    return {
        name: Asset(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:20]}"')
        for name, content in found
        if (media_type := _TYPES.get(name[name.rfind(".") :]))
    }


@functools.cache
def _template() -> str:
    return (files("app.dashboard") / "static" / "index.html").read_text("utf-8")


def page(root: str) -> str:
    """Return the page; `root` leads from its URL to the gateway's, relative, so that path prefixes do no harm."""
    return _template().replace(_ROOT, root)
