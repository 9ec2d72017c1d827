"""Routes that pass by the router answer as the router's do."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from app.api.middleware.body_limit import MAX_BODY_BYTES
from app.api.middleware.direct_routes import DirectRoutes
from app.api.middleware.request_log import RequestLog
from app.api.problems import render_gateway_error, render_http_exception, render_unexpected
from app.api.routes import DIRECT_ROUTES, PUBLIC_ROUTES
from app.errors import GatewayError, NoSfuAvailable


class Routes:
    """Which routes answered, and how many requests reached the router."""

    def __init__(self) -> None:
        self.observed: list[str | None] = []

    def requested(self, route: str | None, _status: int, _code: str | None, _seconds: float) -> None:
        """Keep the route."""
        self.observed.append(route)

    def crashed(self, error: Exception) -> None:
        """Take no note."""


async def echo(request: Request) -> Response:
    """Say how long the body was."""
    return PlainTextResponse(str(len(await request.body())))


async def refuse(_: Request) -> Response:
    """Refuse with an error of ours."""
    raise NoSfuAvailable("none")


async def fail(_: Request) -> Response:
    """Fail in a way nobody foresaw."""
    raise ZeroDivisionError


def client_of(routes: Routes) -> httpx.AsyncClient:
    """A client of an application whose routes are all direct."""
    direct = [
        Route("/echo", echo, methods=["POST"]),
        Route("/refuse", refuse, methods=["GET"]),
        Route("/fail", fail, methods=["GET"]),
    ]
    app = Starlette(
        routes=direct,
        middleware=[Middleware(RequestLog, observers=(routes,)), Middleware(DirectRoutes, routes=direct)],
        exception_handlers={
            GatewayError: render_gateway_error,
            HTTPException: render_http_exception,
            Exception: render_unexpected,
        },
    )
    app.router.redirect_slashes = False
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")


async def test_an_answer_has_its_id_and_its_route_is_observed() -> None:
    routes = Routes()
    async with client_of(routes) as client:
        answer = await client.post("/echo", content=b"four")
    assert (answer.status_code, answer.text) == (200, "4")
    assert len(answer.headers["x-request-id"]) == 32
    assert routes.observed == ["/echo"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/refuse", 503, "no_sfu"),
        ("GET", "/fail", 500, "internal"),
        ("GET", "/echo", 405, "method_not_allowed"),
        ("GET", "/echo/", 404, "not_found"),
        ("GET", "/other", 404, "not_found"),
    ],
)
async def test_errors_are_the_same_problem_documents(method: str, path: str, status: int, code: str) -> None:
    async with client_of(Routes()) as client:
        answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["code"] == code


async def test_a_body_over_the_limit_is_a_problem() -> None:
    async with client_of(Routes()) as client:
        answer = await client.post("/echo", content=b"x" * (MAX_BODY_BYTES + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_direct_routes_are_routes_of_the_public_port_without_parameters() -> None:
    assert all(route in PUBLIC_ROUTES for route in DIRECT_ROUTES)
    assert not any("{" in route.path for route in DIRECT_ROUTES)
