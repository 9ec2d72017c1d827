"""Refuses in the server the requests that a full replica would refuse anyway, at a fraction of the cost.

Under overload most requests are refused, so the cost of a refusal decides how many others a replica can serve. A
refusal here is one write, without application, task or log line.
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
    """Asks the application's budgets (`budgets` in the lifespan's state) before a request starts."""

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
        """Whether the budget of this request is full. Unclear cases are left to the application."""
        budgets: Budgets | None = self.app_state.get("budgets")
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
        # More requests are on their way in than there is room for. Those without a credential do not count.
        return not (is_credible(self.app_state, path, self.headers) and budget.announce_credible())

    def _refuse(self) -> None:
        """Answer, and close the connection.

        The next request on an open connection would be refused, too. New connections wait in the kernel's queue at
        no cost until there is room.
        """
        self._is_over = True
        request_id = request_id_of(cast("Scope", {"headers": self.headers}))
        self._write_problem(ReplicaBusy(BUSY), request_id)
        self.transport.close()
        self._start_write_timer()
