"""docs/sfu.md says what the code does, and its examples work."""

import calendar
import json
import re
from pathlib import Path
from typing import Any

import pytest

from app import errors
from app.crypto.tokens import Key, verify
from app.registration.service import HeartbeatBody
from app.settings.model import setting_names
from workers.agent.settings import AgentSettings, variable_names
from workers.conformance import gateway as conformance_gateway
from workers.conformance import sfu as conformance_sfu

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "sfu.md").read_text(encoding="utf-8")
JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
CLAUSES = [*conformance_gateway.CLAUSES, *conformance_sfu.CLAUSES]


def blocks(language: str) -> list[str]:
    """Return the code blocks of the page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def rows(heading: str) -> list[list[str]]:
    """Return the cells of each row of the table whose heading row begins with `heading`."""
    table = PAGE[PAGE.index(f"| {heading} |") :].split("\n\n")[0]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table.splitlines()[2:]]


def code_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_schema_is_that_of_the_gateway() -> None:
    expected = {"$schema": JSON_SCHEMA} | HeartbeatBody.model_json_schema()
    text = json.dumps(expected, indent=2) + "\n"
    assert (DOCS / "schemas" / "heartbeat.json").read_text(encoding="utf-8") == text


def test_the_example_heartbeat_is_one_and_has_every_field_of_an_sfu_that_stays() -> None:
    example = json.loads(blocks("json")[0])
    HeartbeatBody.model_validate(example, strict=True)
    assert HeartbeatBody.model_fields.keys() - example.keys() == {"draining", "reason"}


def test_the_table_has_every_field_and_says_which_are_required() -> None:
    documented = {code_in(row[0])[0]: row[2] == "required" for row in rows("field")}
    fields = HeartbeatBody.model_fields
    assert documented == {name: field.is_required() for name, field in fields.items()}


def test_the_worked_example_makes_the_token_that_is_shown_and_the_gateway_takes_it() -> None:
    namespace: dict[str, Any] = {}
    exec(blocks("python")[0], namespace)  # noqa: S102 - our own documentation
    key_text = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    now = calendar.timegm((2026, 1, 1, 0, 0, 0))
    assert key_text in PAGE
    token = namespace["token"](key_text, now)
    assert token == blocks("text")[0].strip()
    assert verify(token, [Key.from_base64(key_text)], now=now) == {"exp": now + 60}


def test_the_table_of_refusals_has_those_that_a_heartbeat_can_get() -> None:
    expected: set[type[errors.GatewayError]] = {
        errors.MalformedBody,
        errors.CredentialsMissing,
        errors.CredentialsInvalid,
        errors.CredentialsExpired,
        errors.RouteClosed,
        errors.AddressNotAllowed,
        errors.AddressLeased,
        errors.BodyTooLarge,
        errors.InvalidField,
        errors.RateLimited,
        errors.GatewayError,
        errors.RegistryUnavailable,
    }
    documented = {(int(row[0]), *code_in(row[1])) for row in rows("status")}
    assert documented == {(error.status, error.code) for error in expected}


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.id)
def test_every_clause_stands_on_the_page_word_for_word(clause: Any) -> None:
    assert f"| {clause.id} | {clause.text} |\n" in PAGE


def test_the_page_has_no_clause_that_is_not_checked_and_no_id_twice() -> None:
    documented = re.findall(r"^\| ([A-Z]+-\d+) \|", PAGE, re.MULTILINE)
    assert documented == [clause.id for clause in CLAUSES]
    assert len(set(documented)) == len(documented)


def test_the_table_has_every_variable_of_the_agent_with_its_default() -> None:
    table = rows("variable")
    assert sorted(name for row in table for name in code_in(row[0])) == sorted(variable_names())
    shown = {
        name: value for row in table for name, value in zip(code_in(row[0]), row[1].split(", "), strict=False)
    }
    for field in AgentSettings.model_fields.values():
        name = str(field.alias)
        if field.is_required():
            assert shown[name] == "required"
        elif field.default is not None:
            assert shown[name] == f"`{field.default}`"


@pytest.mark.parametrize("index", [0, 1], ids=["compose", "kubernetes"])
def test_the_snippets_set_variables_that_the_agent_knows(index: int) -> None:
    snippet = blocks("yaml")[index]
    agent = snippet[snippet.index("agent") :]
    names = set(re.findall(r"^      (?:  - \{?name: )?([A-Z][A-Z_]+)\b", agent, re.MULTILINE))
    required = {"SFU_GATEWAY_URL", "AUTH_KEY", "SFU_GATEWAY_REGISTRATION__KEY", "SFU_LOCAL_URL"}
    assert required <= names <= set(variable_names())
    assert names & {"PUBLIC_IP", "SFU_ADDRESS"}


def test_the_answers_that_an_odoo_administrator_sees_are_the_gateway_s() -> None:
    text = (DOCS / "odoo.md").read_text(encoding="utf-8")
    named = {(int(status), code) for status, code in re.findall(r"^\| (\d{3}) `(\w+)`", text, re.MULTILINE)}
    known = {(error.status, error.code) for error in all_errors(errors.GatewayError)}
    assert named
    assert named <= known


def all_errors(tree: type[errors.GatewayError]) -> set[type[errors.GatewayError]]:
    return {tree}.union(*(all_errors(branch) for branch in tree.__subclasses__()))


@pytest.mark.parametrize("page", ["sfu.md", "odoo.md"])
def test_every_variable_that_a_page_names_is_a_setting(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    named = set(re.findall(r"\bSFU_[A-Z_]+\b", text))
    assert named <= {*setting_names(), *variable_names()}


@pytest.mark.parametrize("page", ["sfu.md", "odoo.md"])
def test_links_of_the_page_lead_somewhere(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (DOCS / target).exists(), target
