"""No name is remembered for ever."""

from app.rates import MOST_NAMES, Rates


def test_the_table_of_names_is_bounded() -> None:
    rates = Rates(1, 1, clock=lambda: 1000.0)
    for number in range(3 * MOST_NAMES):
        rates.admits(str(number))
    assert len(rates._due) == MOST_NAMES  # noqa: SLF001 - nothing else shows it
