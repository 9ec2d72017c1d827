"""Answers: the documents of `app.api.schemas`, written as they are described."""

from collections.abc import Mapping

from starlette.responses import Response

from app.api.schemas import Document


def respond(document: Document, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return `document` as JSON; members that are not set are left out."""
    body = document.model_dump_json(exclude_unset=True)
    return Response(body, status, headers, media_type="application/json")
