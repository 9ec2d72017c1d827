"""`sfu-gateway support-bundle`: what a person who is to help needs to see, in one archive without a secret."""

from __future__ import annotations

import asyncio
import io
import json
import os
import platform
import sys
import tarfile
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit, urlunsplit

import typer

from app import __version__
from app.cli.durations import duration
from app.cli.exits import CommandError, Exit, told_in_one_line
from app.cli.options import Where, asking

if TYPE_CHECKING:
    from app.settings.model import Settings

_PACKAGES: Final = (
    "cryptography", "fakeredis", "hiredis", "httptools", "httpx", "msgpack", "pydantic", "pydantic-settings", "redis",
    "starlette", "structlog", "typer", "uvicorn", "uvloop",
)  # fmt: skip
_MASK: Final = "***"
_SHORTEST_SECRET: Final = 6
"""A shorter text in the settings is no secret that could be found and masked elsewhere."""

_PART_S: Final = 30.0
_MOST_EVENTS: Final = 10_000


@asking
def support_bundle(
    where: Where,
    output: Annotated[
        Path | None,
        typer.Option(
            help="The archive to write. Default: sfu-gateway-support-TIME.tar.gz here.", show_default=False
        ),
    ] = None,
    since: Annotated[
        float, typer.Option(parser=duration, metavar="DURATION", help="How old the oldest event may be.")
    ] = 86_400,
) -> None:
    """Collect diagnosis, doctor, SFUs, events, masked settings and versions in one archive. It holds no secret."""
    with told_in_one_line():
        settings = _settings(where)
        parts = asyncio.run(_parts(where, settings, since))
        file = output or Path(time.strftime("sfu-gateway-support-%Y%m%dT%H%M%SZ.tar.gz", time.gmtime()))
        try:
            _write(file, parts, _secrets(where, settings))
        except OSError as error:
            raise CommandError(f"--output: cannot write {file}: {error.strerror}", Exit.USAGE) from None
    for name, text in parts.items():
        typer.echo(f"{name:<14}  {len(text.encode())} bytes")
    typer.echo(f"{file} is written. Read it before you send it.")


def _settings(where: Where) -> Settings:
    """Return this machine's settings; with a gateway to ask, they need not name a Redis."""
    from app.cli.sources.source import settings_for
    from app.settings.loader import load_settings

    return load_settings(where.config) if where.gateway else settings_for(where.redis, where.config)


async def _parts(where: Where, settings: Settings, since_s: float) -> dict[str, str]:
    """Return the files by name. One that cannot be had says why, and does not keep the others out."""
    after = f"{int((time.time() - since_s) * 1000)}-0"
    asked: dict[str, Callable[[], Awaitable[str]]] = {
        "diagnosis.json": lambda: _diagnosis(where),
        "sfus.json": lambda: _sfus(where),
        "events.jsonl": lambda: _events(where, after),
    }
    if settings.redis.url is not None:
        asked["doctor.json"] = lambda: _doctor(settings)
    parts = {"versions.json": _json(_versions()), "settings.json": _json(_described(settings))}
    for name, collect in asked.items():
        try:
            async with asyncio.timeout(_PART_S):
                parts[name] = await collect()
        except Exception as error:  # noqa: BLE001 - whatever is wrong is what the bundle is for
            parts[name] = _json({"error": f"{type(error).__name__}: {error}"})
    return parts


async def _diagnosis(where: Where) -> str:
    async with where.open() as source:
        return _json((await source.diagnosis()).model_dump())


async def _sfus(where: Where) -> str:
    async with where.open() as source:
        return _json([sfu.model_dump() for sfu in await source.sfus()])


async def _events(where: Where, after: str) -> str:
    async with where.open() as source, aclosing(source.events(after, follow=False)) as told:
        lines = [json.dumps(event) async for event in told]
    return "\n".join(lines[-_MOST_EVENTS:]) + "\n"


async def _doctor(settings: Settings) -> str:
    from app.cli.doctor import document_of, findings_of

    return _json([document_of(finding) for finding in await findings_of(settings)])


def _versions() -> dict[str, object]:
    from importlib.metadata import PackageNotFoundError, version

    def version_of(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return ""

    return {
        "sfu-gateway": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        "packages": {package: version_of(package) for package in _PACKAGES},
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _described(settings: Settings) -> dict[str, object]:
    """Every setting, masked, and the names of the variables that are set."""
    from app.registry.trouble import where
    from app.settings.model import ENV_PREFIX

    return {
        "redis": where(settings.redis),
        "settings": {name: masked(getattr(settings, name)) for name in type(settings).model_fields},
        "variables": sorted(name for name in os.environ if name.startswith(ENV_PREFIX)),
    }


def masked(value: Any) -> Any:
    """Return a setting as it may be shown: numbers, names and addresses; of a URL neither user nor query."""
    from pydantic import BaseModel

    match value:
        case None | bool() | int() | float():
            return value
        case BaseModel():
            return {name: masked(getattr(value, name)) for name in type(value).model_fields}
        case list() | tuple():
            return [masked(each) for each in value]
        case str():
            return _without_credentials(value)
        case Path():
            return str(value)
    return _shown(value)


def _shown(value: Any) -> str:
    """A value of a type of our own: its text only where that cannot hold a secret."""
    from ipaddress import IPv4Network, IPv6Network

    from app.settings.trusted_proxies import TrustedProxies

    return str(value) if isinstance(value, IPv4Network | IPv6Network | TrustedProxies) else _MASK


def _without_credentials(text: str) -> str:
    if "://" not in text:
        return _MASK if "@" in text else text
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
        before = f"{_MASK}@" if "@" in parts.netloc else ""
        return urlunsplit((parts.scheme, before + host, parts.path, _MASK if parts.query else "", ""))
    except ValueError:
        return _MASK


def _secrets(where: Where, settings: Settings) -> set[str]:
    """Every secret text that this process knows, in each form it may be written in."""
    from app.settings.loader import SECRETS
    from app.settings.model import ENV_PREFIX

    found = {*_secret_texts(settings), where.admin_token, where.redis, urlsplit(where.gateway).password or ""}
    for name in (ENV_PREFIX + secret for secret in SECRETS):
        value = os.environ.get(name, "").strip()
        is_json = value.startswith(("{", "["))  # its keys are among the settings
        found |= {value} if is_json else {value, *(part.strip() for part in value.split(","))}
    return {text for text in found if len(text) >= _SHORTEST_SECRET}


def _secret_texts(value: Any) -> Iterable[str]:
    import base64

    from pydantic import BaseModel, SecretStr

    from app.crypto.tokens import Key
    from app.settings.redis_url import parse_redis_url

    match value:
        case BaseModel():
            for name in type(value).model_fields:
                yield from _secret_texts(getattr(value, name))
        case list() | tuple():
            for each in value:
                yield from _secret_texts(each)
        case Key():
            yield base64.b64encode(value.secret).decode()
            yield value.secret.decode(errors="replace")
        case SecretStr():
            text = value.get_secret_value()
            yield text
            if "://" in text:
                options = parse_redis_url(text).options
                yield from (str(options.get(name) or "") for name in ("password", "sentinel_password"))


def _json(document: object) -> str:
    return json.dumps(document, indent=2, default=str) + "\n"


def _write(file: Path, parts: dict[str, str], secrets: set[str]) -> None:
    """Write the archive, for this user only. A secret that got into a part all the same is masked."""
    for name, text in parts.items():
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, _MASK)
        parts[name] = text
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as opened, tarfile.open(fileobj=opened, mode="w:gz") as archive:
        for name, text in parts.items():
            data = text.encode()
            entry = tarfile.TarInfo(f"sfu-gateway-support/{name}")
            entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
            archive.addfile(entry, io.BytesIO(data))
