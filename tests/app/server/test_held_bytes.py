"""What all connections hold together stays below a limit; the one that has waited longest makes room."""

from app.server.held_bytes import HeldBytes


class Connections:
    """Connections by number, and which of them were closed."""

    def __init__(self, limit: int) -> None:
        self.table = HeldBytes(limit)
        self.closed: list[int] = []

    def hold(self, number: int, size: int) -> None:
        self.table.hold(number, size, lambda: self.closed.append(number))


def test_below_the_limit_every_connection_stays() -> None:
    connections = Connections(100)
    for number in range(10):
        connections.hold(number, 10)
    assert (connections.closed, connections.table.total) == ([], 100)


def test_over_the_limit_the_longest_waiting_connections_are_closed() -> None:
    connections = Connections(100)
    for number in range(10):
        connections.hold(number, 10)
    connections.hold(0, 9)  # it has not moved to the end
    connections.hold(10, 15)
    assert (connections.closed, connections.table.total) == ([0, 1], 95)


def test_a_connection_that_holds_too_much_alone_is_closed() -> None:
    connections = Connections(100)
    connections.hold(1, 101)
    assert (connections.closed, connections.table.total) == ([1], 0)


def test_a_connection_that_waits_for_nothing_is_forgotten() -> None:
    connections = Connections(100)
    connections.hold(1, 60)
    connections.table.release(1)
    connections.table.release(1)
    connections.hold(2, 60)
    assert (connections.closed, connections.table.total) == ([], 60)
