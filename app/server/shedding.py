"""Refusing in the server what a full replica would refuse anyway, at a fraction of the cost.

Under overload most requests are refused, so what a refusal costs decides how much is left for the others.
Here it is one write: no application, no task, no log line of its own.
"""

from typing import Final, cast
from urllib.parse import unquote

from starlette.types import Scope

from app.api.budgets import BUSY, Budgets
from app.api.credentials import is_credible
from app.api.request_context import request_id_of
from app.errors import ReplicaBusy
from app.server.protocol import GuardedHttpProtocol

_METHODS: Final = frozenset({b"GET", b"POST"})


class SheddingHttpProtocol(GuardedHttpProtocol):
    """Asks the application's budgets (`budgets` in the lifespan's state) before it starts a request."""

    _is_refusing = False

    def on_headers_complete(self) -> None:
        self._is_refusing = self._must_refuse()
        if self._is_refusing:
            self._read_head()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._is_refusing:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_refusing:
            self._is_refusing = False
            self._received()
            self._refuse()
        else:
            super().on_message_complete()

    def _must_refuse(self) -> bool:
        """Whether this is work for which there is no room. What is not plain is left to the application."""
        budgets = cast("Budgets | None", self.app_state.get("budgets"))
        if budgets is None or self.expect_100_continue or self.parser.get_method() not in _METHODS:
            return False
        path = self.url.partition(b"?")[0].decode("latin-1")
        if "%" in path:
            path = unquote(path)
        budget = budgets.of_work(path)
        if budget is None or budget.announce():
            return False
        if budget.is_full:
            return True
        # There is room, and more requests on their way in than it takes: strangers' make none for others'.
        return not (is_credible(self.app_state, path, self.headers) and budget.announce_credible())

    def _refuse(self) -> None:
        """Answer, and close: what would come next on an open connection would have to be refused as well, while
        new connections wait in the kernel's queue at no cost until there is room.
        """
        self._is_over = True
        request_id = request_id_of(cast("Scope", {"headers": self.headers}))
        self._write_problem(ReplicaBusy(BUSY), request_id)
        self.transport.close()
        self._start_write_timer()
