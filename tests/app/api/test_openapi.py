"""The OpenAPI document: valid, complete, true of what the routes answer; and docs/api.md, example by example."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import httpx
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import SecretStr
from starlette.routing import Route

from app import errors
from app.api.openapi import Description, error_codes, openapi_document, route_keys
from app.api.operations import OPERATIONS
from app.api.routes import ROUTES
from app.crypto.tokens import Key
from app.errors import GatewayError
from app.events.event import Event, EventType
from app.settings.model import RegistrationSettings, Settings
from tests.support.apps import running_app
from tests.support.simulated import KEY as SFU_KEY
from tests.support.simulated import NO_PEOPLE, running_sfu
from workers.simulator.sfu import SfuConfig

PAGE: Final = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
DOCUMENT: Final = openapi_document(ROUTES)
GATEWAY_KEY: Final = Key(b"the key between Odoo and the gateway")
REGISTRATION_KEY: Final = Key(b"the key between SFUs and the gateway")
ADMIN_TOKEN: Final = "the-token-of-the-operators"
SETTINGS: Final = Settings(
    key=(GATEWAY_KEY,),
    registration=RegistrationSettings(key=(REGISTRATION_KEY,)),
    admin_token=SecretStr(ADMIN_TOKEN),
)


def test_the_document_is_valid_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert DOCUMENT["openapi"] == "3.1.0"


def test_every_route_is_described_and_nothing_else() -> None:
    described = {(method.upper(), path) for path, found in DOCUMENT["paths"].items() for method in found}
    assert set(route_keys(ROUTES)) == set(OPERATIONS) == described


def test_a_route_that_nobody_described_stops_no_replica() -> None:
    assert openapi_document([Route("/new", lambda _: None)])["paths"] == {}


def test_every_route_is_in_the_page_of_the_docs() -> None:
    (table,) = re.findall(r"^\| route \| for .*?\n\n", PAGE, re.M | re.S)
    named = set(re.findall(r"[`, ](/[\w/{}.]*)`|`\w+ (/[\w/{}.]*)`", table))
    paths = {path for pair in named for path in pair if path}
    shortened = {f"/{order}": f"/v1/admin/sfus/{order}" for order in ("resume", "reset", "forget")}
    assert {shortened.get(path, path) for path in paths} == {path for _, path in OPERATIONS}


def problem_codes() -> dict[str, type[GatewayError]]:
    """Every class of problem with a code of its own."""
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GatewayError)
    ]
    return {kind.code: kind for kind in kinds}


def test_the_problem_schema_and_the_docs_name_every_code() -> None:
    schema = DOCUMENT["components"]["schemas"]["Problem"]
    assert set(problem_codes()) < set(error_codes())
    assert schema["properties"]["code"]["enum"] == error_codes()
    (table,) = re.findall(r"^\| status \| `code` .*?\n\n", PAGE, re.M | re.S)
    assert sorted(re.findall(r"^\| [\w, ]+ \| `(\w+)`", table, re.M)) == sorted(["code", *error_codes()])


def test_secured_routes_say_so() -> None:
    needs = {
        (method, path): next(iter(operation["security"][0]))
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
        if "security" in operation
    }
    assert needs[("get", "/v1/channel")] == "channelToken"
    assert needs[("post", "/v1/sfu")] == "registrationToken"
    assert {path for (_, path), scheme in needs.items() if scheme == "adminToken"} == {
        path for path in DOCUMENT["paths"] if path.startswith("/v1/admin/")
    }


def test_the_event_in_the_docs_is_an_event() -> None:
    (text,) = re.findall(r"^data: (\{.*\})$", PAGE, re.M)
    assert json.loads(text).keys() == Event.__annotations__.keys()
    sentence = PAGE.partition("`type` is ")[2].partition("`at` is")[0]
    assert set(get_args(EventType)) < set(re.findall(r"`([a-z_-]+)`", sentence))


# The examples of docs/api.md, run from the first to the last


@dataclass(frozen=True, slots=True)
class Example:
    """A request and the answer that the page promises."""

    method: str
    target: str
    headers: dict[str, str]
    body: str
    status: int
    answer: Any


def examples() -> list[Example]:
    """All pairs of `http` blocks."""
    blocks = re.findall(r"```http\n(.*?)```", PAGE, re.S)
    return [_example(*pair) for pair in zip(blocks[::2], blocks[1::2], strict=True)]


def _example(request: str, response: str) -> Example:
    head, _, body = request.partition("\n\n")
    first, *lines = head.strip().splitlines()
    method, target = first.split()
    headers = dict(line.split(": ", 1) for line in lines)
    status, _, answer = response.partition("\n\n")
    return Example(method, target, headers, body.strip(), int(status.split()[0]), json.loads(answer))


def same_shape(promised: Any, real: Any) -> bool:
    """Whether two documents have the same members of the same types, and say the same where it is fixed."""
    if isinstance(promised, dict) and isinstance(real, dict):
        fixed = ("status", "code", "type", "title", "mode", "region", "verdict", "breaker")
        return promised.keys() == real.keys() and all(
            same_shape(promised[name], real[name]) and (name not in fixed or promised[name] == real[name])
            for name in promised
        )
    if isinstance(promised, list) and isinstance(real, list):
        return len(promised) == len(real) and all(map(same_shape, promised, real))
    is_number = isinstance(promised, int | float) and isinstance(real, int | float)
    return is_number or type(promised) is type(real)


def schema_of(example: Example) -> dict[str, Any]:
    """The schema of an example's answer, with all that it refers to."""
    path = re.sub(r"^/r/[^/]+", "/r/{region}", example.target.partition("?")[0])
    responses = DOCUMENT["paths"][path][example.method.lower()]["responses"]
    content: Mapping[str, Any] = responses[str(example.status)]["content"]
    (media,) = content.values()
    return {**media["schema"], "components": DOCUMENT["components"]}


@pytest.fixture
async def gateway() -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, str]]]:
    """A replica, and what stands for the page's placeholders."""
    now = int(time.time())
    config = SfuConfig(key=SFU_KEY, people=NO_PEOPLE, proxy=True)
    async with running_sfu(config) as (sfu, _), running_app(SETTINGS) as client:
        yield (
            client,
            {
                "http://sfu1:8070": sfu.address,
                "<key of the SFU>": sfu.key_text,
                "<registration token>": REGISTRATION_KEY.sign({"exp": now + 60}),
                "<channel token>": GATEWAY_KEY.sign({"iss": "a", "exp": now + 60}),
                "<disconnect token>": GATEWAY_KEY.sign(
                    {"sessionIdsByChannel": {"gone": [1]}, "exp": now + 60}
                ),
                "<admin token>": ADMIN_TOKEN,
            },
        )


async def test_every_example_is_answered_as_the_page_says_and_by_its_schema(
    gateway: tuple[httpx.AsyncClient, dict[str, str]],
) -> None:
    client, placeholders = gateway

    def filled(text: str) -> str:
        for placeholder, value in placeholders.items():
            text = text.replace(placeholder, value)
        return text

    for example in examples():
        response = await client.request(
            example.method,
            example.target,
            headers={name: filled(text) for name, text in example.headers.items()},
            content=filled(example.body) or None,
        )
        said = f"{example.method} {example.target}: {response.status_code} {response.text}"
        assert response.status_code == example.status, said
        assert same_shape(example.answer, response.json()), said
        OAS31Validator(schema_of(example)).validate(response.json())
        OAS31Validator(schema_of(example)).validate(example.answer)


def test_the_answers_of_the_examples_have_no_undescribed_member() -> None:
    """Of the examples' answers, that is; the test above holds the real ones to the same members."""
    for example in examples():
        schema = schema_of(example)
        name = schema["$ref"].rpartition("/")[2]
        described = DOCUMENT["components"]["schemas"][name]["properties"].keys()
        assert example.answer.keys() <= described, (example.target, name)


async def test_the_document_is_made_once_for_all_who_ask() -> None:
    description = Description(ROUTES)
    first, second = await asyncio.gather(description.json(), description.json())
    assert first is second
    assert json.loads(first) == DOCUMENT


async def test_the_document_is_served(gateway: tuple[httpx.AsyncClient, dict[str, str]]) -> None:
    response = await gateway[0].get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    assert response.json() == DOCUMENT
