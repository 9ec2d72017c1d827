"""The registry as a plain Python program: what the scripts must do, told without Redis.

Reservations are kept as the moments they were made, so that the scripts' two floats can be held against
their definition. Learning is off: w = 1 session per channel, and reports teach no join time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import exp
from typing import Any, Final

from app.registry.placements import Outcome
from app.registry.sfus import SfuReport

THRESHOLD_MS = 30_000
JOIN_MS = 15_000
CONFIRMED_MS = 1_000
HOLD_MS = 2_500
OPEN_MS = 2_000
MAX_OPEN_MS = 8_000
FAILURE_THRESHOLD = 2
MAX_SESSIONS = 6

POLICY: Final[dict[str, Any]] = {
    "sessions_per_channel": 1,
    "open_ms": OPEN_MS,
    "max_open_ms": MAX_OPEN_MS,
    "failure_threshold": FAILURE_THRESHOLD,
    "heartbeat_burst": 10_000,
}

Groups = tuple[tuple[str, ...], ...]


@dataclass
class Breaker:
    """A circuit breaker, which outlives its SFU."""

    state: str = "closed"
    failures: int = 0
    opens: int = 0
    blames_key: bool = False


@dataclass
class Life:
    """An SFU from its registration to its end."""

    address: str
    region: str
    generation: int
    state: str = "up"
    deadline: int = 0
    last_seen: int = 0
    since: int = 0
    drain_until: int = 0
    trial_until: int = 0
    sessions: int = 0
    cpu: float = 0.0
    reserved_at: list[int] = field(default_factory=list)

    @property
    def reserved(self) -> float:
        """Sessions that are promised and not reported: those before the last report have been joining."""
        return sum(exp(-max(0, self.last_seen - made) / JOIN_MS) for made in self.reserved_at)

    @property
    def estimate(self) -> float:
        """Sessions, reported and promised."""
        return self.sessions + self.reserved

    @property
    def load(self) -> float:
        """The roadmap's score."""
        return 0.5 * self.estimate / MAX_SESSIONS + 0.3 * self.cpu

    @property
    def effective(self) -> float:
        """The same with the CPU and memory of those who are promised, by those of the others."""
        filled = self.sessions / MAX_SESSIONS
        per_filled = 0.5 + max(0.0, 0.3 * self.cpu - 0.5 * filled) / (filled + 0.1)
        return self.load + per_filled * self.reserved / MAX_SESSIONS


@dataclass
class Pin:
    """Where an issuer is placed, and who is placing it."""

    address: str = ""
    holder: str = ""
    attempt: int = 0
    held_until: int = 0
    reserved_at: int = 0
    confirmed_at: int = 0


@dataclass(frozen=True)
class Ask:
    """One attempt of a request."""

    id: str
    issuer: str
    groups: Groups
    attempt: int = 1
    exclude: tuple[str, ...] = ()


class Model:
    """What is true at `now`."""

    def __init__(self) -> None:
        """An empty registry."""
        self.now = 0
        self.lives: dict[str, Life] = {}
        self.known: set[str] = set()
        self.drains: dict[str, int] = {}
        self.breakers: dict[str, Breaker] = {}
        self.probes: dict[str, int] = {}
        self.ejected: set[str] = set()
        self.pins: dict[str, Pin] = {}
        self.events: list[tuple[str, str, str]] = []
        self._generation = 0

    # SFUs

    def living(self, address: str) -> Life | None:
        """An SFU whose deadline has not passed."""
        life = self.lives.get(address)
        return life if life and life.deadline > self.now else None

    def breaker(self, address: str) -> Breaker:
        """The breaker of an SFU."""
        return self.breakers.setdefault(address, Breaker())

    def beat(self, report: SfuReport) -> None:
        """A heartbeat."""
        address = report.address
        life = self.lives.get(address) or self._born(report)
        if life.deadline <= self.now:
            life.since, life.reserved_at, life.trial_until = self.now, [], 0
            life.sessions, life.cpu = 0, 0
        if life.region != report.region:
            life.region = report.region
            self.ejected.discard(address)
        if report.is_fresh:
            life.sessions, life.cpu = report.sessions, report.cpu
        life.last_seen, life.deadline = self.now, self.now + THRESHOLD_MS
        self._settle(life, report)

    def _born(self, report: SfuReport) -> Life:
        self._generation += 1
        life = Life(report.address, report.region, self._generation)
        breaker = self.breaker(report.address)
        if breaker.state == "open" and breaker.blames_key:
            life.state = "misconfigured"
        self.lives[report.address] = life
        self._say("up", report.address, "returned" if report.address in self.known else "registered")
        self.known.add(report.address)
        return life

    def _settle(self, life: Life, report: SfuReport) -> None:
        address, breaker = life.address, self.breaker(life.address)
        life.drain_until = self.drains.get(address, 0)
        if breaker.state == "open":
            self.ejected.add(address)
            self.probes.setdefault(address, self.now)
        stays_wrong = life.state == "misconfigured" and breaker.state == "open"
        if stays_wrong or (life.state == "failed" and not report.is_fresh):
            return
        if breaker.state != "open":
            self.ejected.discard(address)
        is_told = address in self.drains
        state = "draining" if is_told or report.is_draining else "up"
        if state == "draining":
            self._become(life, state, state, "operator" if is_told else "sfu")
        else:
            self._become(life, state, state, "resumed" if life.state == "draining" else "recovered")

    def end(self, address: str, reason: str) -> bool:
        """The end of a life, if there is one."""
        if address not in self.lives:
            return False
        del self.lives[address]
        self.ejected.discard(address)
        self._say("down", address, reason)
        return True

    def expire(self) -> None:
        """End the lives that are over."""
        overdue = [life for life in self.lives.values() if life.deadline <= self.now]
        for life in sorted(overdue, key=lambda life: (life.deadline, life.address)):
            self.end(life.address, "expired")

    def drain(self, address: str, within_ms: int) -> None:
        """An operator's drain of a known SFU."""
        self.drains[address] = self.now + within_ms if within_ms else 0
        if life := self.living(address):
            life.drain_until = self.drains[address]
            if life.state == "up":
                self._become(life, "draining", "draining", "operator")

    def resume(self, address: str) -> None:
        """The end of a drain."""
        self.drains.pop(address, None)
        life = self.living(address)
        if life and life.state == "draining":
            life.drain_until = 0
            self._become(life, "up", "up", "resumed")

    def forget(self, address: str) -> None:
        """The end of every trace."""
        self.end(address, "forgotten")
        self.known.discard(address)
        for traces in (self.drains, self.breakers, self.probes):
            traces.pop(address, None)

    # Failures

    def _blame(self, life: Life, outcome: Outcome) -> None:
        breaker = self.breaker(life.address)
        breaker.failures += 1
        if breaker.state == "open" or not self._may_eject(life):
            return
        if outcome == "misconfigured":
            breaker.blames_key = True
            self._become(life, "misconfigured", "misconfigured", "refused its own key")
            self._open(life)
            return
        breaker.blames_key = False
        self.ejected.add(life.address)
        self._become(life, "failed", "down", "failed")
        if breaker.state == "half-open" or breaker.failures >= FAILURE_THRESHOLD:
            self._open(life)

    def _may_eject(self, life: Life) -> bool:
        region = [address for address, other in self.lives.items() if other.region == life.region]
        out = [address for address in region if address in self.ejected]
        return life.address in self.ejected or 2 * (len(out) + 1) <= len(region)

    def _open(self, life: Life) -> None:
        breaker = self.breaker(life.address)
        breaker.opens += 1
        self.probes[life.address] = self.now + min(MAX_OPEN_MS, OPEN_MS * 2 ** (breaker.opens - 1))
        self.ejected.add(life.address)
        if breaker.state != "open":
            self._say("breaker-open", life.address, "failures")
        breaker.state = "open"

    def claim(self, lease_ms: int) -> set[str]:
        """Hand out the probes that are due."""
        due = {address for address, at in self.probes.items() if at <= self.now}
        self.probes |= dict.fromkeys(due, self.now + lease_ms)
        return due

    def probe(self, address: str, *, answered: bool) -> None:
        """The outcome of a probe."""
        life, breaker = self.living(address), self.breaker(address)
        if not life or breaker.state != "open":
            self.probes.pop(address, None)
        elif not answered:
            self._open(life)
        else:
            del self.probes[address]
            breaker.state, life.trial_until = "half-open", 0
            if life.state in {"failed", "misconfigured"}:
                state = "draining" if address in self.drains else "up"
                self._become(life, state, state, "recovered")

    def _become(self, life: Life, state: str, event: str, reason: str) -> None:
        if life.state != state:
            life.state = state
            self._say(event, life.address, reason)

    def _say(self, event: str, address: str, reason: str) -> None:
        self.events.append((event, address, reason))

    # Placements

    def is_selectable(self, life: Life) -> bool:
        """Whether an SFU may take a new channel."""
        breaker = self.breaker(life.address).state
        return (
            life.deadline > self.now
            and life.state == "up"
            and (breaker == "closed" or (breaker == "half-open" and life.trial_until <= self.now))
            and round(life.estimate, 6) < MAX_SESSIONS
            and life.cpu <= 0.95
        )

    def must_be_listed(self, life: Life) -> bool:
        """As `is_selectable`, but not after a trial nobody reported, which the next heartbeat or reap ends."""
        return life.trial_until == 0 and self.is_selectable(life)

    def winners(self, ask: Ask) -> tuple[set[str], bool]:
        """Who may win a new channel, and whether somebody must."""
        allowed: set[str] = set()
        for group in ask.groups:
            fit = [life for life in self._within(group, ask.exclude) if self.is_selectable(life)]
            sure = [life.effective for life in fit if self.must_be_listed(life)]
            limit = min(sure, default=1.0) + 1e-6
            allowed |= {life.address for life in fit if life.effective <= limit}
            if sure:
                return allowed, True
        return allowed, False

    def _within(self, group: Iterable[str], exclude: Iterable[str]) -> Iterator[Life]:
        for life in self.lives.values():
            if ({"*", life.region} & set(group)) and life.address not in exclude:
                yield life

    def waits_ms(self, ask: Ask) -> int:
        """How long the request must wait for the holder of its issuer's placement, 0 for not at all."""
        pin = self.pins.get(ask.issuer, Pin())
        return max(0, pin.held_until - self.now) if pin.holder not in {"", ask.id} else 0

    def kept(self, ask: Ask) -> str | None:
        """The SFU that the request must get because its issuer, or itself, has it."""
        pin = self.pins.get(ask.issuer, Pin())
        life = self.living(pin.address)
        if life is None:
            return None
        if (pin.holder, pin.attempt) == (ask.id, ask.attempt):
            return life.address
        breaker = self.breaker(life.address).state
        is_open = breaker == "open" or (breaker == "half-open" and life.trial_until > self.now)
        is_past = life.state == "draining" and life.drain_until and life.drain_until <= self.now
        is_well = life.state in {"up", "draining"} and not is_open and not is_past
        return life.address if is_well and life.address not in ask.exclude else None

    def passes_freely(self, ask: Ask) -> bool:
        """Whether the SFU has just confirmed the channel, so that nobody need wait for this request."""
        pin = self.pins.get(ask.issuer, Pin())
        return pin.holder == "" and self.now - pin.confirmed_at < CONFIRMED_MS

    def place(self, ask: Ask, address: str) -> None:
        """The request has got `address` and holds the placement."""
        pin = self.pins.setdefault(ask.issuer, Pin())
        if (pin.holder, pin.attempt, pin.address) == (ask.id, ask.attempt, address):
            return
        if self.kept(ask) is None:
            self._give_back(pin)
            self.lives[address].reserved_at.append(self.now)
            pin.reserved_at, pin.confirmed_at = self.now, 0
        if self.breaker(address).state == "half-open":
            self.lives[address].trial_until = self.now + HOLD_MS
        pin.address, pin.holder, pin.attempt = address, ask.id, ask.attempt
        pin.held_until = self.now + HOLD_MS

    def _give_back(self, pin: Pin) -> None:
        life = self.living(pin.address)
        if life and pin.reserved_at in life.reserved_at:
            life.reserved_at.remove(pin.reserved_at)
        pin.reserved_at = 0

    def report(self, ask: Ask, address: str, outcome: Outcome, *, is_final: bool) -> None:
        """How a forward ended."""
        pin = self.pins.get(ask.issuer, Pin())
        holds, is_free = pin.holder == ask.id, pin.holder == ""
        life, breaker = self.living(address), self.breaker(address)
        if outcome == "created":
            if holds:
                pin.confirmed_at = self.now
                self._release(ask.issuer)
            if life and breaker.state != "open":
                self._succeed(life)
            return
        is_at_stake = outcome != "unblamed" or pin.reserved_at > 0
        if (holds or is_free) and pin.address == address and is_at_stake:
            self._give_back(pin)
            pin.address = ""
        if life:
            life.trial_until = 0
            if outcome != "unblamed":
                self._blame(life, outcome)
        if (holds and is_final) or (is_free and pin.address == ""):
            self._release(ask.issuer)

    def _succeed(self, life: Life) -> None:
        breaker = self.breaker(life.address)
        if breaker.state == "half-open":
            self._say("breaker-closed", life.address, "success")
        if (breaker.state == "half-open" or breaker.failures) and life.state != "failed":
            self.ejected.discard(life.address)
        if breaker.state == "half-open" or breaker.failures:
            breaker.state, breaker.failures, breaker.blames_key = "closed", 0, False
            life.trial_until = 0

    def reap(self) -> None:
        """End the holds that are over."""
        for issuer, pin in list(self.pins.items()):
            if pin.holder and pin.held_until <= self.now:
                if pin.reserved_at:
                    self._give_back(pin)
                    pin.address = ""
                self._release(issuer)

    def _release(self, issuer: str) -> None:
        pin = self.pins.get(issuer, Pin())
        pin.holder, pin.held_until, pin.reserved_at = "", 0, 0
        if pin.address == "":
            self.pins.pop(issuer, None)
