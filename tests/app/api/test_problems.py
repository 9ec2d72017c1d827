"""Errors as problem documents (RFC 9457)."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.requests import Request

from app import errors
from app.api.problems import problem_response, render_gateway_error
from app.crypto.tokens import Key
from app.errors import GatewayError, InvalidField, Overloaded, RouteClosed
from app.settings.model import Settings
from tests.support.apps import running_app

SETTINGS = Settings(key=(Key(b"the gateway's own key, 32 bytes."),))
REQUEST = Request({"type": "http", "method": "GET", "path": "/", "headers": []})


def subclasses(error: type[GatewayError]) -> Iterator[type[GatewayError]]:
    for each in error.__subclasses__():
        yield each
        yield from subclasses(each)


TREE = [error for error in subclasses(GatewayError) if error.__module__ == errors.__name__]
LEAVES = [error for error in TREE if not set(error.__subclasses__()) & set(TREE)]


def raised(error: type[GatewayError]) -> GatewayError:
    return error("region", "a detail") if error is InvalidField else error("a detail")


@pytest.mark.parametrize("error", LEAVES, ids=lambda error: str(error.code))
def test_every_error_has_a_title_of_its_own_and_a_code_that_means_one_status(
    error: type[GatewayError],
) -> None:
    response = render_gateway_error(REQUEST, raised(error))
    assert 400 <= response.status_code < 600
    assert [other for other in LEAVES if other.title == error.title] == [error]
    assert {other.status for other in LEAVES if other.code == error.code} == {error.status}
    assert response.media_type == "application/problem+json"


@pytest.mark.parametrize("error", LEAVES, ids=lambda error: str(error.code))
def test_every_error_is_in_the_tree_at_the_top_of_the_file(error: type[GatewayError]) -> None:
    [line] = [line for line in (errors.__doc__ or "").splitlines() if f"─ {error.__name__} " in line]
    assert f" {error.status} " in line
    assert f" {error.code}" in line
    assert ("(retry helps)" in line) == (error.retry_after_seconds is not None)


def test_a_503_says_when_to_come_again() -> None:
    response = render_gateway_error(REQUEST, Overloaded("full"))
    assert (response.status_code, response.headers["retry-after"]) == (503, "10")


def test_a_refusal_for_good_does_not() -> None:
    assert "retry-after" not in render_gateway_error(REQUEST, RouteClosed("no")).headers


def test_an_error_of_nobodys_is_not_rendered_as_ours() -> None:
    with pytest.raises(KeyError):
        render_gateway_error(REQUEST, KeyError("x"))


def test_a_document_has_the_members_of_the_rfc_and_the_code() -> None:
    response = problem_response(418, "teapot", "A teapot", "short and stout", {"X-Spout": "1"}, handle=2)
    assert bytes(response.body) == (
        b'{"type":"about:blank","title":"A teapot","status":418,"detail":"short and stout",'
        b'"code":"teapot","handle":2}'
    )
    assert response.headers["x-spout"] == "1"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nothing", {"status": 404, "code": "not_found"}),
        ("POST", "/v1/channel", {"status": 405, "code": "method_not_allowed"}),
        ("GET", "/v1/channel", {"status": 401, "code": "credentials_missing"}),
        ("GET", "/r/eu-west/v1/channel", {"status": 401, "code": "credentials_missing"}),
        ("POST", "/v1/sfu", {"status": 403, "code": "closed"}),
    ],
)
async def test_every_refusal_of_the_gateway_is_a_problem_document(
    method: str, path: str, expected: dict[str, Any]
) -> None:
    async with running_app(SETTINGS) as client:
        response = await client.request(method, path)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json().items() >= expected.items()
    assert response.status_code == expected["status"]
    assert response.headers["x-request-id"]


async def test_a_wrong_method_says_which_are_right() -> None:
    async with running_app(SETTINGS) as client:
        assert (await client.get("/v1/sfu")).headers["allow"] == "POST"
