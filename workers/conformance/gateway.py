"""The clauses of docs/sfu.md that a gateway keeps, checked by a played SFU."""

import contextlib
from typing import Any, Final

import httpx

from workers.conformance.clause import Clauses, Violated, require, require_status
from workers.conformance.played_sfu import PlayedSfu, new_key, object_of, unsigned

MAX_BODY_BYTES: Final = 64 * 1024
LONGEST_TOKEN_LIFE_SECONDS: Final = 300

_TRIES: Final = 5

CLAUSES: Final[Clauses[PlayedSfu]] = Clauses()


@CLAUSES.clause(
    "HB-1",
    "A heartbeat with a good token is answered 200 with a JSON object: `status` is `ok`, `nextPingMs` a "
    "positive whole number, `draining` true or false.",
)
async def _heartbeat(sfu: PlayedSfu) -> None:
    reply = await sfu.register()
    require(reply.get("status") == "ok", "`status` is not `ok`")
    next_ping_ms = reply.get("nextPingMs")
    is_positive = isinstance(next_ping_ms, int) and next_ping_ms > 0 and next_ping_ms is not True
    require(is_positive, "`nextPingMs` is not a positive whole number")
    require(isinstance(reply.get("draining"), bool), "`draining` is not true or false")


@CLAUSES.clause("HB-2", "`status`, `address` and `key` suffice.")
async def _minimum(sfu: PlayedSfu) -> None:
    # Drained first: with no figures it would look empty, and a gateway in use would send it calls.
    await sfu.register(draining=True)
    least = {"status": "down", "address": sfu.address, "key": sfu.key.to_base64()}
    require_status(await sfu.send(least), 200)
    require_status(await sfu.send(least | {"status": "up", "draining": True}), 200)


@CLAUSES.clause("HB-3", "Fields that the gateway does not know are ignored.")
async def _unknown_fields(sfu: PlayedSfu) -> None:
    await sfu.register(conformance={"nested": [1, 2]}, temperature=21.5)


@CLAUSES.clause(
    "HB-4",
    "A registered SFU is listed by `GET /v1/health` with its region and the figures of its last heartbeat.",
)
async def _listed(sfu: PlayedSfu) -> None:
    await sfu.register(channels=2, sessions=7, maxSessions=7, cpuUsage=0.75, memoryUsage=1)
    entry = await sfu.listed(lambda entry: entry is not None and entry.get("sessions") == 7)
    if entry is None:
        raise Violated("it is not listed")
    expected = {"region": "conformance", "channels": 2, "sessions": 7, "maxSessions": 7, "cpuUsage": 0.75}
    for name, value in expected.items():
        require(entry.get(name) == value, f"`{name}` is not what was reported")


@CLAUSES.clause("HB-5", "A body that is not a JSON object is answered 400 `malformed`.")
async def _malformed(sfu: PlayedSfu) -> None:
    for body in (b"", b'{"status": ', b"[]", b'"up"'):
        require_refusal(await sfu.send(body), 400, "malformed")


@CLAUSES.clause(
    "HB-6", "A field outside its domain is answered 422 `invalid_field`, and `field` is the field's name."
)
async def _invalid_field(sfu: PlayedSfu) -> None:
    wrong = {
        "status": "sideways",
        "address": f"{sfu.address}/path",
        "key": "not base64!",
        "region": "no spaces",
        "sessions": -1,
        "cpuUsage": "much",
        "maxSessions": 0,
        "publicUrl": "ftp://sfu.invalid",
    }
    for field, value in wrong.items():
        problem = require_refusal(await sfu.send(sfu.report(**{field: value})), 422, "invalid_field")
        require(problem.get("field") == field, f"`field` does not name {field}")


@CLAUSES.clause("HB-7", "A body of more than 64 KiB is answered 413 `too_large`.")
async def _too_large(sfu: PlayedSfu) -> None:
    body = sfu.report(padding="x" * MAX_BODY_BYTES)
    for _ in range(_TRIES):
        # A server that refuses unread may close too early for its answer to arrive (RFC 9112 section 9.6).
        with contextlib.suppress(httpx.TransportError):
            require_refusal(await sfu.send(body), 413, "too_large")
            return
    raise Violated("no answer")


@CLAUSES.clause(
    "HB-8",
    "Every refusal is a problem document (RFC 9457) of type `application/problem+json` with `title`, "
    "`status`, `detail` and `code`.",
)
async def _problem_documents(sfu: PlayedSfu) -> None:
    for answer in await _refusals(sfu):
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        require(media_type == "application/problem+json", f"a {answer.status_code} is of type {media_type}")
        problem = object_of(answer)
        require(problem.get("status") == answer.status_code, "`status` is not the status")
        for name in ("title", "detail", "code"):
            require(isinstance(problem.get(name), str), f"a {answer.status_code} has no `{name}`")


@CLAUSES.clause("HB-9", "No refusal repeats the key or the token.")
async def _no_secrets(sfu: PlayedSfu) -> None:
    for answer in await _refusals(sfu):
        sent = (sfu.key.to_base64(), answer.request.headers.get("authorization", "").partition(" ")[2])
        leaks = any(secret and secret in answer.text for secret in sent)
        require(not leaks, f"a {answer.status_code} repeats a secret")


async def _refusals(sfu: PlayedSfu) -> list[httpx.Response]:
    """Return one refusal of each kind that a misconfigured SFU gets."""
    answers = [
        await sfu.send(sfu.report(), token=""),
        await sfu.send(sfu.report(), token=sfu.token(new_key())),
        await sfu.send(b"{" + sfu.report()["key"].encode()),
        await sfu.send(sfu.report(key=sfu.key.to_base64() + "!")),
        await sfu.send(sfu.report(sessions=-1)),
    ]
    for answer in answers:
        require_status(answer, 400, 401, 422)
    return answers


@CLAUSES.clause(
    "AUTH-1", "Without a token: 401 `credentials_missing`, and `WWW-Authenticate` names the scheme `Bearer`."
)
async def _no_token(sfu: PlayedSfu) -> None:
    answer = await sfu.send(sfu.report(), token="")
    require_refusal(answer, 401, "credentials_missing")
    challenge = answer.headers.get("www-authenticate", "")
    require(challenge.startswith("Bearer"), "`WWW-Authenticate` does not name `Bearer`")


@CLAUSES.clause("AUTH-2", "A token signed with another key: 401 `credentials_invalid`.")
async def _wrong_key(sfu: PlayedSfu) -> None:
    answer = await sfu.send(sfu.report(), token=sfu.token(new_key()))
    require_refusal(answer, 401, "credentials_invalid")


@CLAUSES.clause("AUTH-3", "A token past its `exp`: 401 `credentials_expired`.")
async def _expired(sfu: PlayedSfu) -> None:
    answer = await sfu.send(sfu.report(), token=sfu.token(exp=sfu.in_seconds(-60)))
    require_refusal(answer, 401, "credentials_expired")


@CLAUSES.clause("AUTH-4", "A token without `exp`: 401 `credentials_invalid`.")
async def _without_expiry(sfu: PlayedSfu) -> None:
    answer = await sfu.send(sfu.report(), token=sfu.token(exp=None, sub="conformance"))
    require_refusal(answer, 401, "credentials_invalid")


@CLAUSES.clause("AUTH-5", "A token that lives much longer than five minutes: 401 `credentials_invalid`.")
async def _long_lived(sfu: PlayedSfu) -> None:
    exp = sfu.in_seconds(2 * LONGEST_TOKEN_LIFE_SECONDS)
    answer = await sfu.send(sfu.report(), token=sfu.token(exp=exp))
    require_refusal(answer, 401, "credentials_invalid")


@CLAUSES.clause("AUTH-6", "A token without signature (`alg` is `none`): 401 `credentials_invalid`.")
async def _unsigned(sfu: PlayedSfu) -> None:
    answer = await sfu.send(sfu.report(), token=unsigned(sfu.token()))
    require_refusal(answer, 401, "credentials_invalid")


@CLAUSES.clause("LEASE-1", "While an SFU lives, its address with another key: 409 `address_leased`.")
async def _leased(sfu: PlayedSfu) -> None:
    await sfu.register()
    answer = await sfu.send(sfu.report(key=new_key().to_base64()))
    require_refusal(answer, 409, "address_leased")


@CLAUSES.clause("LEASE-2", "A sign-off with another key removes nothing: 409 `address_leased`.")
async def _foreign_sign_off(sfu: PlayedSfu) -> None:
    await sfu.register()
    answer = await sfu.send(sfu.report(status="down", key=new_key().to_base64()))
    require_refusal(answer, 409, "address_leased")
    require(await _is_up(sfu), "it is not `up` any more")


@CLAUSES.clause("LEASE-3", "After the sign-off the address is free for another key.")
async def _free_again(sfu: PlayedSfu) -> None:
    await sfu.register()
    await sfu.register(status="down")
    sfu.key = new_key()
    await sfu.register()


@CLAUSES.clause(
    "DRAIN-1", "`draining` true in a heartbeat drains the SFU: the reply and `GET /v1/health` say so."
)
async def _drains(sfu: PlayedSfu) -> None:
    reply = await sfu.register(draining=True)
    require(reply.get("draining") is True, "the reply's `draining` is not true")
    entry = await sfu.listed(lambda entry: _status_of(entry) == "draining")
    require(_status_of(entry) == "draining", "it is not listed as `draining`")


@CLAUSES.clause("DRAIN-2", "A heartbeat without `draining` ends a drain that the SFU asked for.")
async def _drain_ends(sfu: PlayedSfu) -> None:
    await sfu.register(draining=True)
    reply = await sfu.register()
    require(reply.get("draining") is False, "the reply's `draining` is not false")
    require(await _is_up(sfu), "it is not listed as `up`")


@CLAUSES.clause("OFF-1", "A sign-off (`status` is `down`) is answered 200, and takes effect at once.")
async def _signs_off(sfu: PlayedSfu) -> None:
    await sfu.register()
    require(await _is_up(sfu), "it was not `up` before")
    await sfu.register(status="down")
    require(not await _is_up(sfu, expected=False), "it is still listed as `up`")


@CLAUSES.clause("OFF-2", "A sign-off may be repeated, and may come from an SFU that is not registered: 200.")
async def _signs_off_again(sfu: PlayedSfu) -> None:
    await sfu.register(status="down")
    await sfu.register(status="down")


@CLAUSES.clause("OFF-3", "After a sign-off the next heartbeat registers the SFU anew.")
async def _comes_back(sfu: PlayedSfu) -> None:
    await sfu.register()
    await sfu.register(status="down")
    await sfu.register()
    require(await _is_up(sfu), "it is not listed as `up`")


async def _is_up(sfu: PlayedSfu, *, expected: bool = True) -> bool:
    entry = await sfu.listed(lambda entry: (_status_of(entry) == "up") is expected)
    return _status_of(entry) == "up"


def _status_of(entry: dict[str, Any] | None) -> object:
    return None if entry is None else entry.get("status")


def require_refusal(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Return the problem document of a refusal with `status` and `code`. Raises `Violated`."""
    require_status(answer, status)
    problem = object_of(answer)
    require(problem.get("code") == code, f"the {status} has not the code {code}")
    return problem
