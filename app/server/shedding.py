"""Refusing in the server what a full replica would refuse anyway, at a fraction of the cost.

Under overload most requests are refused, so what a refusal costs decides how much is left for the others.
Here it is one write: no application, no task, no log line of its own.
"""

from typing import Final, cast
from urllib.parse import unquote

from starlette.types import Scope

from app.api.middleware.admission import BUSY, Capacity, is_guarded
from app.api.problems import problem_response
from app.api.request_context import request_id_of
from app.errors import ReplicaBusy
from app.server.protocol import GuardedHttpProtocol

_METHODS: Final = frozenset({b"GET", b"POST"})


def _answer() -> tuple[bytes, bytes]:
    """The answer's head up to the request's id, and its body."""
    headers = {"Retry-After": str(ReplicaBusy.retry_after_seconds)}
    answer = problem_response(ReplicaBusy.status, ReplicaBusy.code, ReplicaBusy.title, BUSY, headers)
    lines = [b"HTTP/1.1 503 Service Unavailable", *(b": ".join(header) for header in answer.raw_headers)]
    return b"\r\n".join([*lines, b"connection: close", b"x-request-id: "]), bytes(answer.body)


class SheddingHttpProtocol(GuardedHttpProtocol):
    """Asks the application's `capacity` (a member of the lifespan's state) before it starts a request."""

    _HEAD, _BODY = _answer()
    _is_refusing = False

    def on_headers_complete(self) -> None:
        self._is_refusing = self.transport.is_closing() or self._must_refuse()
        if self._is_refusing:
            self._enter(is_head=False)
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._is_refusing:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_refusing:
            self._is_refusing = False
            self._ended()
            if not self.transport.is_closing():  # else it came behind one that was refused
                self._refuse()
        else:
            super().on_message_complete()

    def _must_refuse(self) -> bool:
        """Whether this is work for which there is no room. What is not plain is left to the application."""
        capacity = cast("Capacity | None", self.app_state.get("capacity"))
        if capacity is None or self.expect_100_continue or self.parser.get_method() not in _METHODS:
            return False
        if not getattr(self.cycle, "response_complete", True):  # its answer comes first
            return False
        path = unquote(self.url.partition(b"?")[0].decode("latin-1"))
        if not is_guarded(path):
            return False
        return not capacity.announce()

    def _refuse(self) -> None:
        """Answer, and close: what would come next on an open connection would have to be refused as well, while
        new connections wait in the kernel's queue at no cost until there is room.
        """
        request_id = request_id_of(cast("Scope", self.scope)).encode("latin-1")
        self.transport.write(b"".join((self._HEAD, request_id, b"\r\n\r\n", self._BODY)))
        self.transport.close()
        self.app_state["capacity"].refused_early()
