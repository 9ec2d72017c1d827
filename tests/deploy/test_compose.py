"""docker-compose.yml, `scripts/compose-env` and what they promise."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import redis
import yaml

from app.server.uvicorn_server import GRACE_SECONDS
from app.settings.loader import load_settings
from tests.deploy.compose import LocalStack, read_compose, read_env_file, running, start_order
from tests.deploy.repository import ROOT
from tests.support.processes import Process
from tests.support.waiting import eventually_sync
from workers.agent.settings import load_agent_settings

OPS_PORT: Final = 8073
"""Where a gateway answers operators."""

GATEWAYS: Final = ("gateway-1", "gateway-2")
SWEEPERS: Final = ("sweeper-1", "sweeper-2")
SFUS: Final = ("sfu-1", "sfu-2", "sfu-3")


@pytest.fixture(scope="module")
def env_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compose") / "env"
    subprocess.run([ROOT / "scripts" / "compose-env", path], check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def environment(env_file: Path) -> dict[str, str]:
    return read_env_file(env_file)


@pytest.fixture(scope="module")
def services(environment: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = read_compose(environment)["services"]
    return found


class TestComposeEnv:
    def test_the_file_is_readable_by_its_owner_alone(self, env_file: Path) -> None:
        assert env_file.stat().st_mode & 0o777 == 0o600

    def test_it_never_overwrites_a_file(self, env_file: Path) -> None:
        before = env_file.read_text()
        again = subprocess.run([ROOT / "scripts" / "compose-env", env_file], capture_output=True, check=False)
        assert again.returncode != 0
        assert env_file.read_text() == before

    def test_no_secret_comes_twice(self, environment: dict[str, str], tmp_path: Path) -> None:
        subprocess.run([ROOT / "scripts" / "compose-env", tmp_path / "env"], check=True, capture_output=True)
        secrets = [value for value in environment.values() if len(value) >= 40]
        others = read_env_file(tmp_path / "env").values()
        assert len(set(secrets)) == len(secrets) == 6
        assert not set(secrets) & set(others)

    def test_every_variable_of_the_compose_file_is_in_the_file(self, environment: dict[str, str]) -> None:
        lines = (ROOT / "docker-compose.yml").read_text().splitlines()
        used = re.findall(r"\$\{(\w+)", "\n".join(line for line in lines if not line.startswith("#")))
        assert set(used) == environment.keys() - {"COMPOSE_PROFILES"}


class TestFile:
    def test_it_has_what_a_deployment_needs(
        self, services: dict[str, Any], environment: dict[str, str]
    ) -> None:
        always = {"redis", "proxy", *GATEWAYS, *SWEEPERS}
        assert running(services, {}).keys() == always
        assert running(services, environment).keys() == always | set(SFUS)
        assert services.keys() - always - set(SFUS) == {"prometheus", "grafana", "tls"}

    def test_only_fields_that_the_oldest_composes_know(self, services: dict[str, Any]) -> None:
        document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
        assert {key for key in document if not key.startswith("x-")} == {"services", "volumes"}
        known = {"test", "interval", "timeout", "retries", "start_period", "disable"}
        for service in services.values():
            assert service["healthcheck"].keys() <= known

    def test_the_gateways_start_with_their_environment(self, services: dict[str, Any]) -> None:
        for name in GATEWAYS:
            settings = load_settings(environ=services[name]["environment"])
            assert settings.missing_to_serve() is None
            assert list(settings.warnings()) == []

    def test_a_sweeper_knows_redis_and_no_key(self, services: dict[str, Any]) -> None:
        for name in SWEEPERS:
            given = {variable for variable, value in services[name]["environment"].items() if value}
            assert "SFU_GATEWAY_REDIS__URL" in given
            assert not [variable for variable in given if "KEY" in variable or "TOKEN" in variable]

    def test_a_sweeper_that_tells_odoo_of_calls_has_the_key(self, environment: dict[str, str]) -> None:
        rescue = {"RESCUE_ALLOW": "https://odoo.example.com", "RESCUE_KEY": environment["SFU_GATEWAY_KEY"]}
        services = read_compose(environment | rescue)["services"]
        for name in (*SWEEPERS, *GATEWAYS):
            settings = load_settings(environ=services[name]["environment"])
            assert settings.has_rescue
            assert settings.missing_to_serve() is None

    def test_everything_starts_after_what_it_needs_is_healthy(self, services: dict[str, Any]) -> None:
        order = start_order(services)
        assert order.index("redis") < min(map(order.index, (*GATEWAYS, *SWEEPERS)))
        assert max(map(order.index, GATEWAYS)) < min(map(order.index, (*SFUS, "proxy")))
        waits = [service.get("depends_on", {}) for service in services.values()]
        assert {wait["condition"] for needs in waits for wait in needs.values()} == {"service_healthy"}

    def test_every_service_has_a_health_check_or_says_why_not(self, services: dict[str, Any]) -> None:
        without = {name for name, service in services.items() if service["healthcheck"].get("disable")}
        assert without == set(SWEEPERS)

    def test_what_is_inside_is_published_to_this_machine_alone(self, services: dict[str, Any]) -> None:
        assert services["proxy"]["ports"] == ["8071:8071", "127.0.0.1:8073:8073"]

    def test_nothing_can_write_to_its_image_or_gain_rights(self, services: dict[str, Any]) -> None:
        for name, service in services.items():
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name

    def test_only_the_proxies_are_reachable_from_other_machines(self, services: dict[str, Any]) -> None:
        open_to_all = {
            name
            for name, service in services.items()
            for port in service.get("ports", ())
            if not port.startswith("127.0.0.1:")
        }
        assert open_to_all == {"proxy", "tls"}

    def test_running_requests_may_end_before_a_gateway_is_killed(self, services: dict[str, Any]) -> None:
        for name in GATEWAYS:
            assert int(services[name]["stop_grace_period"].removesuffix("s")) > GRACE_SECONDS

    def test_every_mounted_file_exists(self, services: dict[str, Any]) -> None:
        mounts = [mount for service in services.values() for mount in service.get("volumes", ())]
        sources = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]
        assert sources
        assert all((ROOT / source).exists() for source in sources)

    def test_images_are_pinned_to_a_version(self, services: dict[str, Any]) -> None:
        tags = [service["image"].rpartition(":")[2] for service in services.values()]
        assert not {"latest", ""} & set(tags)


class TestSfuFile:
    """docker-compose.sfu.yml, with the values of its example."""

    @pytest.fixture
    def services(self) -> dict[str, Any]:
        environment = read_env_file(ROOT / ".env.sfu.example")
        filled = {name: value or "a" * 43 + "=" for name, value in environment.items()}
        found: dict[str, Any] = read_compose(filled, ROOT / "docker-compose.sfu.yml")["services"]
        return found

    def test_every_variable_is_in_the_example(self) -> None:
        text = (ROOT / "docker-compose.sfu.yml").read_text()
        used = set(re.findall(r"\$\{(\w+)", text))
        assert used == read_env_file(ROOT / ".env.sfu.example").keys()

    def test_the_agent_starts_with_its_environment(
        self, services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in services["agent"]["environment"].items():
            monkeypatch.setenv(name, value)
        settings = load_agent_settings()
        assert settings.address == "http://10.0.0.11:8070"
        assert settings.public_url == "https://sfu1.example.com"

    def test_the_agent_may_drain_as_long_as_it_is_told(self, services: dict[str, Any]) -> None:
        assert int(services["agent"]["stop_grace_period"].removesuffix("s")) > 3600

    def test_no_secret_of_the_example_can_be_committed(self) -> None:
        assert {".env", ".env.sfu"} <= set((ROOT / ".gitignore").read_text().split())

    def test_every_mounted_file_exists(self, services: dict[str, Any]) -> None:
        for service in services.values():
            for mount in service.get("volumes", ()):
                if mount.startswith("./"):
                    assert (ROOT / mount.split(":")[0]).exists()


@pytest.fixture(scope="module")
def stack(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(environment, tmp_path_factory.mktemp("stack")) as running:
        yield running


class TestRunning:
    """The file's own commands, as processes of this machine."""

    def test_all_sfus_register_and_both_gateways_see_them(self, stack: LocalStack) -> None:
        for gateway in GATEWAYS:
            wait_for_sfus(stack.url(gateway, OPS_PORT), len(SFUS))

    def test_a_channel_is_placed_through_the_proxy(self, stack: LocalStack) -> None:
        wait_for_sfus(stack.url("gateway-2", OPS_PORT), 1)
        answer = ask(stack.url("proxy"), stack.run("gateway-1", "sfu-gateway", "token"))
        assert answer.status_code == 200, answer.text
        assert answer.json().keys() == {"uuid", "url"}

    @pytest.mark.parametrize(
        "path", ["/metrics", "/v1/health", "/dashboard", "/v1/events", "/v1/admin/explain"]
    )
    def test_operators_routes_do_not_pass_the_proxy(self, stack: LocalStack, path: str) -> None:
        assert get(f"{stack.url('proxy')}{path}").status_code == 404

    def test_operators_routes_are_on_the_other_port(self, stack: LocalStack) -> None:
        assert get(f"{stack.url('proxy', 8073)}/v1/health").status_code == 200

    def test_neither_port_believes_a_callers_own_forwarded_for(self) -> None:
        text = (ROOT / "k8s" / "compose" / "haproxy.cfg").read_text()
        fronts = [part for part in re.split(r"\n(?=frontend|backend)", text) if part.startswith("frontend")]
        assert len(fronts) == 2
        for front in fronts:
            assert "http-request set-header X-Forwarded-For %[src]" in front

    def test_redis_keeps_what_it_is_told(self, stack: LocalStack, environment: dict[str, str]) -> None:
        url = stack.local(f"redis://:{environment['REDIS_PASSWORD']}@redis:6379")
        with redis.Redis.from_url(url, decode_responses=True) as client:
            config = client.config_get("append*", "maxmemory-policy")
        assert (config["appendonly"], config["appendfsync"]) == ("yes", "everysec")
        assert config["maxmemory-policy"] == "noeviction"

    def test_placement_goes_on_while_one_gateway_is_replaced(self, stack: LocalStack) -> None:
        wait_for_sfus(stack.url("gateway-2", OPS_PORT), 1)
        token = stack.run("gateway-2", "sfu-gateway", "token", "--life", "60")
        stack["gateway-1"].terminate(grace_seconds=GRACE_SECONDS + 5)
        try:
            statuses = {ask(stack.url("proxy"), token).status_code for _ in range(20)}
        finally:
            stack["gateway-1"].start()
        assert statuses == {200}

    def test_everybody_ends_when_told_to(self, stack: LocalStack) -> None:
        for name in ("sfu-3", "sweeper-2", "gateway-2"):
            process: Process = stack[name]
            status = process.terminate(grace_seconds=GRACE_SECONDS + 5)
            process.start()
            assert status in (0, -15), name


def ask(url: str, token: str) -> httpx.Response:
    return get(f"{url}/v1/channel", Authorization=f"Bearer {token}")


def wait_for_sfus(url: str, count: int) -> None:
    """Wait until a gateway has at least `count` SFUs to choose from."""

    def has_them() -> bool:
        answer = get(f"{url}/v1/health")
        is_gateway = answer.headers["content-type"] == "application/json"  # the proxy's own errors are HTML
        return is_gateway and answer.json()["selectable"] >= count

    eventually_sync(has_them, timeout_seconds=15)


def get(url: str, **headers: str) -> httpx.Response:
    return httpx.get(url, headers=headers, timeout=5, trust_env=False)
