"""Errors as RFC 9457 problem documents. This module alone turns an exception into a response."""

from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from app.api.request_context import note, request_id_of
from app.errors import CredentialsInvalid, GatewayError, InvalidField

_CODES = {404: "not_found", 405: "method_not_allowed"}


def problem_response(
    status: int, code: str, title: str, detail: str, headers: dict[str, str] | None = None, **members: Any
) -> Response:
    """Return a problem document with the extension member `code`, which callers may branch on."""
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code}
    return JSONResponse(
        document | members, status_code=status, headers=headers, media_type="application/problem+json"
    )


def render_gateway_error(request: Request, error: Exception) -> Response:
    """Render an error of `app.errors`."""
    if not isinstance(error, GatewayError):
        raise error
    note(request.scope, code=error.code, detail=error.detail)
    return _problem(error)


def problem_bytes(error: GatewayError) -> tuple[bytes, bytes]:
    """Return the bytes of an answer that ends its connection: the head up to the request id, and the body."""
    answer = _problem(error)
    status = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()
    lines = [status, *(b": ".join(header) for header in answer.raw_headers)]
    return b"\r\n".join([*lines, b"connection: close", b"x-request-id: "]), bytes(answer.body)


def _problem(error: GatewayError) -> Response:
    headers = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    members: dict[str, Any] = {"field": error.field} if isinstance(error, InvalidField) else {}
    if isinstance(error, CredentialsInvalid) and error.clock_difference_s is not None:
        members["clockDifferenceSeconds"] = round(error.clock_difference_s)
    return problem_response(error.status, error.code, error.title, error.detail, headers, **members)


def render_http_exception(request: Request, error: Exception) -> Response:
    """Render an error of the router."""
    if not isinstance(error, HTTPException):
        raise error
    code = _CODES.get(error.status_code, "http_error")
    note(request.scope, code=code)
    title = HTTPStatus(error.status_code).phrase
    headers = dict(error.headers or {})
    return problem_response(error.status_code, code, title, error.detail, headers)


def render_disconnect(request: Request, error: Exception) -> Response:
    """End a request whose caller left before the whole request had arrived."""
    if not isinstance(error, ClientDisconnect):
        raise error
    note(request.scope, code="disconnected")
    return problem_response(400, "disconnected", "The caller went away", "the request did not arrive whole")


def render_unexpected(request: Request, error: Exception) -> Response:
    """Render an unexpected exception. The traceback goes to the log only."""
    headers = {"X-Request-Id": request_id_of(request.scope)}  # no middleware runs here to add it
    detail = f"an unexpected error ({type(error).__name__}); see the gateway's log"
    return problem_response(500, GatewayError.code, GatewayError.title, detail, headers)
