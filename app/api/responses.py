"""Answers from the documents of `app.api.schemas`."""

from starlette.responses import Response

from app.api.schemas import Document


def respond(document: Document) -> Response:
    """Return `document` as JSON; members that are not set are left out."""
    return Response(document.model_dump_json(exclude_unset=True), media_type="application/json")
