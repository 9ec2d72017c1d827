"""Answers from the documents of `app.api.schemas`."""

from typing import Final

from starlette.responses import Response

from app.api.schemas import Document
from app.json_text import encoder

_encode: Final = encoder(ensure_ascii=False)


class _JsonText(Response):
    """An answer of two headers. `Response` itself takes as long for them as for the document."""

    media_type = "application/json"

    def init_headers(self, _headers: object = None) -> None:
        self.raw_headers = [
            (b"content-length", str(len(self.body)).encode()),
            (b"content-type", b"application/json"),
        ]


def respond(document: Document) -> Response:
    """Return `document` as JSON; members that are not set are left out."""
    return _JsonText(document.model_dump_json(exclude_unset=True))


def respond_channel(uuid: str, url: str) -> Response:
    """Return an `app.api.schemas.Channel` as JSON, without making one: calls are placed many times a second."""
    return _JsonText(_encode({"uuid": uuid, "url": url}))
