"""A small stand-in of the Odoo that the rescue addon calls: ORM, bus, HTTP and calls, in three versions.

It holds one database in memory. What a transaction writes or puts on the bus counts when its cursor commits.
"""

import copy
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any, Final, Literal, Self, TypeAlias

import pytest

ADDON: Final = "sfu_gateway_rescue"
KEY: Final = "c2VjcmV0IG9mIHRoZSBnYXRld2F5LCAzMiBieXRlcy4="
HOT_SWAP: Final = "discuss.channel.rtc.session/sfu_hot_swap"
VERSIONS: Final = ("17.0", "18.0", "19.0")

Sfu: TypeAlias = tuple[str, str]
"""A channel's uuid and the URL of its SFU."""


@dataclass
class Session:
    """One person in a call: a partner, or a guest."""

    name: str
    channel: "Channel" = field(repr=False)
    guest_id: str = ""

    @property
    def partner_id(self) -> str:
        """The name, unless this person is a guest."""
        return "" if self.guest_id else self.name

    @property
    def channel_member_id(self) -> "Member":
        """The member whose session this is."""
        return self.channel.database.member_class(self.channel)


class Session18(Session):
    """From 18.0 on, a record itself sends to the bus."""

    def _bus_send(self, kind: str, payload: dict[str, Any]) -> None:
        self.channel.database.put_on_bus(self.name, kind, payload)


@dataclass
class Member:
    """A member of a channel, as far as joining a call goes."""

    channel: "Channel"

    def _join_sfu(self, ice_servers: Any = None) -> None:
        self._join(ice_servers, threshold=3)

    def _join(self, ice_servers: Any, threshold: int) -> None:
        channel = self.channel
        if len(channel.rtc_session_ids) < threshold:
            channel.write({"sfu_channel_uuid": False, "sfu_server_url": False})
            return
        if channel.sfu_channel_uuid:
            return
        placed = channel.database.ask_gateway()
        if placed is None:
            return
        channel.write({"sfu_channel_uuid": placed[0], "sfu_server_url": placed[1]})
        for session in channel.rtc_session_ids:
            info = self._get_rtc_server_info(session, ice_servers)
            channel.database.put_on_bus(session.name, HOT_SWAP, {"serverInfo": info})

    def _get_rtc_server_info(self, session: Session, ice_servers: Any) -> dict[str, Any]:
        assert ice_servers == ["ice"]
        return {"url": self.channel.sfu_server_url, "for": session.name}


class Member19(Member):
    """From 18.2 on, two people can be forced onto an SFU."""

    def _join_sfu(self, ice_servers: Any = None, force: bool = False) -> None:
        self._join(ice_servers, threshold=1 if force else 3)


@dataclass
class Channel:
    """The fields of a discussion that the addon reads; its methods come from the addon's own class."""

    id: int
    sfu_channel_uuid: str | Literal[False]
    sfu_server_url: str | Literal[False]
    database: "Odoo" = field(repr=False)
    rtc_session_ids: list[Session] = field(default_factory=list)

    def write(self, values: dict[str, Any]) -> None:
        """Set fields."""
        for name, value in values.items():
            setattr(self, name, value)

    @property
    def env(self) -> "Environment":
        """An environment on the cursor in use."""
        return Environment(self.database)


class Environment:
    """Gives models by name, and the registry that opens cursors."""

    def __init__(self, database: "Odoo") -> None:
        self.registry = SimpleNamespace(cursor=database.cursor)
        self._models = {
            "discuss.channel": database.channels_model,
            "mail.ice.server": SimpleNamespace(_get_ice_servers=lambda: ["ice"]),
            "bus.bus": SimpleNamespace(_sendone=database.put_on_bus),
        }

    def __getitem__(self, model: str) -> Any:
        return self._models[model]


class Cursor:
    """A transaction: it answers the one query of the addon, and records all."""

    def __init__(self, database: "Odoo") -> None:
        self.database = database
        self._row: tuple[int] | None = None

    def execute(self, query: str, parameters: list[str] | None = None) -> None:
        """Run a statement. Raises what the test arranged for the row that it locks."""
        self.database.queries.append(query)
        if parameters:
            [uuid] = parameters
            if uuid in self.database.locked:
                raise TimeoutError("canceling statement due to lock timeout")
            self._row = next(
                ((channel.id,) for channel in self.database.channels if channel.sfu_channel_uuid == uuid),
                None,
            )

    def fetchone(self) -> tuple[int] | None:
        """Return the row that the last query found."""
        return self._row


class Odoo:
    """One database of one version, with the addon loaded."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.member_class = Member19 if version == "19.0" else Member
        self.session_class = Session if version == "17.0" else Session18
        self.channels: list[Channel] = []
        self.bus: list[tuple[str, Any]] = []
        """Who was told, and of which server; what was committed only."""
        self.queries: list[str] = []
        self.locked: set[str] = set()
        self.placements: list[Sfu | Exception | None] = []
        """What the gateway answers, one after the other."""
        self.key: str | None = KEY
        self.transactions = 0
        self._uncommitted: list[tuple[str, Any]] = []
        self.addon: Any = None

    def add_call(self, uuid: str, url: str, *people: str, guests: tuple[str, ...] = ()) -> Channel:
        """Start a call on the SFU at `url`."""
        channel: Channel = self.channel_class(len(self.channels) + 1, uuid, url, self)
        channel.rtc_session_ids = [self.session_class(name, channel) for name in people]
        channel.rtc_session_ids += [self.session_class(name, channel, guest_id=name) for name in guests]
        self.channels.append(channel)
        return channel

    @property
    def channel_class(self) -> Any:
        """The stand-in's record with the addon's methods."""
        return type("ExtendedChannel", (Channel, self.addon.models.DiscussChannel), {})

    @property
    def channels_model(self) -> Any:
        """`env["discuss.channel"]`, an empty record."""
        model = self.channel_class(0, False, False, self)
        model.sudo = lambda: model
        model.browse = lambda number: next(channel for channel in self.channels if channel.id == number)
        return model

    def ask_gateway(self) -> Sfu | None:
        """Answer a request for a channel. Raises an answer that is an exception."""
        placed = self.placements.pop(0)
        if isinstance(placed, Exception):
            raise placed
        return placed

    def put_on_bus(self, target: str, kind: str, payload: dict[str, Any]) -> None:
        """Send at the next commit."""
        assert kind == HOT_SWAP
        self._uncommitted.append((target, payload["serverInfo"]))

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """Open a transaction of its own: commit at the end, roll back on an exception."""
        self.transactions += 1
        before = [copy.copy(vars(channel)) for channel in self.channels]
        try:
            yield Cursor(self)
            self.bus += self._uncommitted
        except BaseException:
            for channel, values in zip(self.channels, before, strict=True):
                vars(channel).update(values)
            raise
        finally:
            self._uncommitted.clear()

    def post(self, body: bytes, content_length: int | None = None) -> tuple[int, Any]:
        """Post `body` to the addon's route: the status, and the document."""
        length = len(body) if content_length is None else content_length
        self.addon.controllers.request.__dict__.update(
            env=Environment(self),
            httprequest=SimpleNamespace(content_length=length, get_data=lambda: body),
            make_json_response=lambda document, status=200: (status, json.loads(json.dumps(document))),
        )
        answer: tuple[int, Any] = self.addon.controllers.SfuGatewayRescue().rescue()
        return answer


class Stub(ModuleType):
    """A module of Odoo's with these names in it."""

    def __init__(self, name: str, **names: Any) -> None:
        super().__init__(name)
        vars(self).update(names)

    def __getattr__(self, name: str) -> Self:
        """Refuse what the stand-in does not have, by a clear name."""
        raise AttributeError(f"the stand-in of {self.__name__} has no {name}")


def load(monkeypatch: pytest.MonkeyPatch, version: str) -> Odoo:
    """Import the addon anew into an Odoo of this version."""
    odoo = Odoo(version)
    unchanged: Callable[[Any], Any] = lambda function: function  # noqa: E731 - a decorator that does nothing
    http = Stub("odoo.http", route=lambda *_, **__: unchanged, Controller=object, request=SimpleNamespace())
    api = Stub("odoo.api", model=unchanged, Environment=lambda cursor, *_: Environment(cursor.database))
    discuss = Stub("odoo.addons.mail.tools.discuss", get_sfu_key=lambda _: odoo.key)
    stubs = [
        http,
        Stub(
            "odoo",
            http=http,
            api=api,
            SUPERUSER_ID=1,
            fields=Stub("odoo.fields", Char=lambda **_: False),
            models=Stub("odoo.models", Model=object),
        ),
        Stub("odoo.addons"),
        Stub("odoo.addons.mail"),
        Stub("odoo.addons.mail.tools", discuss=discuss),
    ]
    for stub in stubs:
        monkeypatch.setitem(sys.modules, stub.__name__, stub)
    for name in ("", ".controllers", ".models", ".message"):
        monkeypatch.delitem(sys.modules, ADDON + name, raising=False)
    odoo.addon = importlib.import_module(ADDON)
    return odoo
