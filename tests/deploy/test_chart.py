"""The Helm chart: what it renders, what it refuses, and that the gateway knows everything it mentions."""

import json
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from starlette.routing import Match
from typer.main import get_command

from app.api.routes import ROUTES
from app.cli.main import cli
from app.server.uvicorn_server import GRACE_SECONDS
from app.settings.loader import load_settings
from tests.deploy.helm import (
    CHART,
    NEWEST,
    VALUE_SETS,
    Object,
    containers,
    helm,
    named,
    of_kind,
    pods,
    rendered,
    template,
    validate,
)
from tests.deploy.repository import K8S, final_stage
from workers.agent.settings import AgentSettings

KUBERNETES: Final = ("1.30", "1.34", NEWEST)
"""The oldest that Chart.yaml allows, one between, and the newest there are schemas for."""

WITH_GATEWAY: Final = [name for name in VALUE_SETS if name != "sfus-only"]

CUSTOM_KINDS: Final = {"HTTPRoute", "PrometheusRule", "ScaledObject", "ServiceMonitor"}
"""Kinds that are not Kubernetes' own: there are no schemas for them."""

every_set = pytest.mark.parametrize("name", VALUE_SETS)
every_gateway = pytest.mark.parametrize("name", WITH_GATEWAY)


class TestRendering:
    @every_set
    def test_lint_finds_nothing(self, name: str) -> None:
        done = helm("lint", "--strict", CHART, "--values", VALUE_SETS[name])
        assert done.returncode == 0, done.stdout

    @pytest.mark.parametrize("version", KUBERNETES)
    @every_set
    def test_kubernetes_accepts_every_object(self, name: str, version: str) -> None:
        for item in rendered(name):
            if item["kind"] not in CUSTOM_KINDS:
                validate(item, version)

    def test_everything_has_every_kind_that_the_chart_can_make(self) -> None:
        kinds = {item["kind"] for item in rendered("everything")}
        assert kinds >= CUSTOM_KINDS | {
            "ClusterRole", "ClusterRoleBinding",
            "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Ingress", "NetworkPolicy", "Pod",
            "PodDisruptionBudget", "Secret", "Service", "ServiceAccount", "StatefulSet",
        }  # fmt: skip

    def test_minimal_has_no_kind_that_a_bare_cluster_lacks(self) -> None:
        assert not {item["kind"] for item in rendered("minimal")} & CUSTOM_KINDS

    @every_set
    def test_no_two_objects_have_the_same_name(self, name: str) -> None:
        names = [(item["kind"], item["metadata"]["name"]) for item in rendered(name)]
        assert len(names) == len(set(names))

    def test_notes_name_three_commands(self, tmp_path: Path) -> None:
        notes = _notes(tmp_path, "minimal")
        assert re.findall(r"^  (\d)\. ", notes, re.MULTILINE) == ["1", "2", "3"]
        assert notes.count("kubectl -n calls") == 5

    def test_notes_of_sfus_alone_name_their_gateway(self, tmp_path: Path) -> None:
        notes = _notes(tmp_path, "sfus-only")
        assert "https://sfu.example.com" in notes
        assert "has no gateway" in notes

    def test_notes_of_sweepers_alone_speak_of_sweepers(self, tmp_path: Path) -> None:
        notes = _notes(tmp_path, "minimal", "gateway.enabled=false")
        assert "deployment/sfu-gateway-sweeper" in notes
        assert "SFUs register" not in notes
        assert "no SFU can register" not in notes

    def test_notes_warn_of_a_registration_that_is_closed(self, tmp_path: Path) -> None:
        assert "no SFU can register" in _notes(tmp_path, "minimal")
        assert "no SFU can register" not in _notes(tmp_path / "again", "trial")


class TestRefusals:
    @pytest.mark.parametrize(
        "wrong",
        [
            'gateway.replicaCount="two"',
            "gateway.replica=2",
            "gateway.shutdown.preStopSeconds=0",
            f"gateway.shutdown.requestSeconds={GRACE_SECONDS - 1}",
            "sweeper.replicaCount=0",
            "ops.port=70000",
            'sfu.publicIp.source="guess"',
            'sfu.updateStrategy="Never"',
            'sfu.gatewayUrl="gateway:8071"',
            'service.externalTrafficPolicy="local"',
            "service.port=70000",
            'service.type="Internal"',
            'image.digest="latest"',
            'secrets.key="not base64!"',
            'secrets.redisUrl="http://redis:6379"',
            'redis.namespace="{sfu}"',
            'redis.bundled.password="p@ss/word"',
            'publicPaths=["v1/channel"]',
            "networkPolicy.sfuPorts=[]",
            "networkPolicy.odooPorts=[]",
            'rescue={"enabled":true,"allow":["odoo.example.com"]}',
            'serviceMonitor.interval="often"',
            "sfu.autoscaling.targetPercent=101",
            'extraEnv=[{"name":"A","value":1}]',
            'sfu.extraEnv=[{"name":"A","vale":"1"}]',
            "colour=true",
        ],
    )
    def test_a_wrong_value_is_refused_by_name(self, wrong: str) -> None:
        done = template(wrong, values=VALUE_SETS["minimal"])
        assert done.returncode != 0
        assert wrong.partition("=")[0].rpartition(".")[2] in done.stderr

    @pytest.mark.parametrize(
        ("missing", "named_in_the_message"),
        [
            ('secrets.key=""', "secrets.key"),
            ('secrets.redisUrl=""', "secrets.redisUrl"),
            ("redis.bundled.enabled=true", "redis.bundled.password"),
            ("ingress.enabled=true", "ingress.hosts"),
            ("httpRoute.enabled=true", "httpRoute.parentRefs"),
            ('sfu={"enabled":true}', "secrets.registrationKey"),
            ('sfu={"enabled":true,"authSecret":"a"}', "secrets.registrationKey"),
            ("ops.port=8071", "ops.port"),
            ('fullnameOverride="Calls"', "fullnameOverride"),
            ('fullnameOverride="1st"', "fullnameOverride"),
            ('gateway.autoscaling={"enabled":true,"minReplicas":11}', "gateway.autoscaling.maxReplicas"),
            ('extraEnv=[{"name":"SFU_GATEWAY_PORT","value":"1"}]', "extraEnv"),
            ('extraEnv=[{"name":"SFU_GATEWAY_REDIS__URL","value":"redis://a"}]', "extraEnv"),
            ('bind="::",extraEnv=[{"name":"SFU_GATEWAY_BIND","value":"::"}]', "extraEnv"),
            ('rescue.allow=["https://odoo.example.com"]', "rescue.enabled"),
            ('rescue={"enabled":true},gateway.enabled=false,secrets.key=""', "secrets.key"),
        ],
    )
    def test_a_missing_value_is_asked_for(self, missing: str, named_in_the_message: str) -> None:
        done = template(missing, values=VALUE_SETS["minimal"])
        assert done.returncode != 0
        assert f"{named_in_the_message}: " in done.stderr

    @pytest.mark.parametrize(
        ("missing", "named_in_the_message"),
        [
            ('sfu.authSecret=""', "sfu.authSecret"),
            ('sfu.image.repository=""', "sfu.image.repository"),
            ('sfu.image.tag=""', "sfu.image.tag"),
            ('sfu.gatewayUrl=""', "sfu.gatewayUrl"),
            ('sfu.publicIp.source="node"', "sfu.command"),
            ('sfu.publicIp.source="value"', "sfu.publicIp.value"),
            ("sfu.rtcMaxPort=40000", "sfu.rtcMaxPort"),
            ('sfu.autoscaling={"enabled":true,"minReplicas":21}', "sfu.autoscaling.maxReplicas"),
            ('sfu.extraEnv=[{"name":"PORT","value":"1"}]', "sfu.extraEnv"),
            ('sfu.agent.extraEnv=[{"name":"SFU_REGION","value":"a"}]', "sfu.agent.extraEnv"),
            ("sfu.enabled=false", "gateway.enabled, sweeper.enabled, sfu.enabled"),
        ],
    )
    def test_sfus_ask_for_what_they_need(self, missing: str, named_in_the_message: str) -> None:
        done = template(missing, values=VALUE_SETS["sfus-only"])
        assert done.returncode != 0
        assert f"{named_in_the_message}: " in done.stderr

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('extraLabels={"team": "calls"}', "commonLabels"),
            ("gateway.replicas=4", "gateway.replicaCount"),
            ('gateway.disruptionBudget={"enabled": false}', "gateway.podDisruptionBudget"),
            (
                "gateway.autoscaling.targetCpuPercent=60",
                "gateway.autoscaling.targetCPUUtilizationPercentage",
            ),
            ("sweeper.replicas=3", "sweeper.replicaCount"),
            ('sweeper.disruptionBudget={"enabled": false}', "sweeper.podDisruptionBudget"),
            ("sfu.replicas=3", "sfu.replicaCount"),
            ('sfu.image="odoo-sfu:1.3.3"', "sfu.image.repository"),
            ('imagePullSecrets=["registry"]', "{name: registry}"),
        ],
    )
    def test_a_name_of_an_earlier_chart_is_refused_with_its_new_one(self, old: str, new: str) -> None:
        done = template(old, values=VALUE_SETS["minimal"])
        assert done.returncode != 0
        assert f"is now {new}" in done.stderr

    def test_a_secret_that_helm_would_delete_is_refused(self) -> None:
        done = template('secrets.existingSecret="sfu-gateway-settings"', values=VALUE_SETS["minimal"])
        assert "Helm would delete yours" in done.stderr

    def test_the_bundled_redis_is_not_for_secrets_of_your_own(self) -> None:
        done = template(
            "redis.bundled.enabled=true", 'redis.bundled.password="x"', values=VALUE_SETS["external-secret"]
        )
        assert "exclude each other" in done.stderr

    def test_every_value_is_in_the_schema(self) -> None:
        schema = json.loads((CHART / "values.schema.json").read_text())
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        assert list(_unknown(values, schema, schema["$defs"])) == []


class TestPods:
    def test_the_user_is_the_images(self) -> None:
        user = pods(rendered("minimal"))["Deployment/sfu-gateway"]["securityContext"]["runAsUser"]
        assert dict(final_stage())["USER"] == f"{user}:{user}"

    def test_the_grace_period_is_longer_than_everything_in_it(self) -> None:
        for name, pre_stop in (("minimal", 5), ("everything", 20)):
            pod = _gateway_pod(rendered(name))
            assert pod["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": pre_stop}}}
            assert pod["terminationGracePeriodSeconds"] == pre_stop + GRACE_SECONDS + 5

    def test_liveness_asks_the_process_and_readiness_what_it_can_do(self) -> None:
        gateway = _gateway_pod(rendered("minimal"))["containers"][0]
        assert gateway["startupProbe"]["httpGet"]["path"] == "/livez"
        assert gateway["livenessProbe"]["httpGet"]["path"] == "/livez"
        assert gateway["readinessProbe"]["httpGet"]["path"] == "/readyz"

    def test_a_roll_out_never_has_fewer_replicas_than_before(self) -> None:
        for item in of_kind(rendered("minimal"), "Deployment"):
            assert item["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}

    def test_new_settings_and_new_secrets_roll_the_pods(self) -> None:
        before = _checksums(rendered("minimal"))
        assert (
            _checksums(rendered("minimal", 'config="port = 1"'))["checksum/config"]
            != before["checksum/config"]
        )
        other = 'secrets.adminToken="another"'
        assert _checksums(rendered("minimal", other))["checksum/secrets"] != before["checksum/secrets"]

    def test_a_sweeper_gets_no_secret_but_the_url_of_redis(self) -> None:
        (sweeper,) = pods(rendered("minimal"))["Deployment/sfu-gateway-sweeper"]["containers"]
        assert "envFrom" not in sweeper
        assert _secrets_of(sweeper) == ["SFU_GATEWAY_REDIS__URL"]

    def test_a_sweeper_that_tells_odoo_of_calls_gets_the_keys_that_sign_and_reaches_odoo(self) -> None:
        objects = rendered("everything")
        (sweeper,) = pods(objects)["Deployment/sfu-gateway-calls-sweeper"]["containers"]
        assert "secretRef" not in json.dumps(sweeper["envFrom"])
        assert _secrets_of(sweeper) == ["SFU_GATEWAY_REDIS__URL", "SFU_GATEWAY_KEY"]
        for container in (sweeper, _gateway_pod(objects)["containers"][0]):
            environment = _environment(container)
            del environment["SFU_GATEWAY_CONFIG"]
            settings = load_settings(environ=environment)
            assert settings.rescue.allow == ("https://*.odoo.example.com", "https://odoo.example.org")
        reached = {
            kind: {port["port"] for rule in _egress(objects, kind) for port in rule["ports"]}
            for kind in ("gateway", "sweeper")
        }
        assert reached["sweeper"] - reached["gateway"] == {8069}

    def test_a_sweeper_that_tells_odoo_of_calls_gets_the_tenants_of_a_secret_of_your_own(self) -> None:
        objects = rendered("external-secret", "rescue.enabled=true")
        (sweeper,) = named(objects, "Deployment", "-sweeper")["spec"]["template"]["spec"]["containers"]
        assert _secrets_of(sweeper)[1:] == ["SFU_GATEWAY_KEY", "SFU_GATEWAY_TENANT"]

    def test_a_sweeper_without_a_gateway_in_the_release_has_the_key_too(self) -> None:
        objects = rendered("minimal", "gateway.enabled=false", "rescue.enabled=true")
        assert "SFU_GATEWAY_KEY" in of_kind(objects, "Secret")[0]["stringData"]

    def test_a_secret_of_your_own_is_the_only_one(self) -> None:
        objects = rendered("external-secret")
        assert of_kind(objects, "Secret") == []
        text = yaml.safe_dump_all(objects)
        assert set(re.findall(r"secret(?:Key)?Ref:\n(?: +key: .*\n)? +name: (\S+)", text)) == {
            "sfu-gateway-from-vault"
        }

    def test_labels_that_select_are_on_the_pods_and_differ_between_components(self) -> None:
        workloads = [item for item in rendered("everything") if item["kind"] in ("Deployment", "StatefulSet")]
        selectors = [item["spec"]["selector"]["matchLabels"] for item in workloads]
        for item, selector in zip(workloads, selectors, strict=True):
            assert selector.items() <= item["spec"]["template"]["metadata"]["labels"].items()
        assert len({json.dumps(selector) for selector in selectors}) == len(workloads) == 4

    def test_the_agent_drains_an_sfu_before_it_ends(self) -> None:
        pod = pods(rendered("everything"))["StatefulSet/sfu-gateway-calls-sfu"]
        agent = next(container for container in pod["initContainers"] if container["name"] == "agent")
        (sfu,) = pod["containers"]
        assert agent["restartPolicy"] == "Always"
        assert agent["lifecycle"] == {"preStop": {"exec": {"command": ["sh", "-c", "kill -TERM 1"]}}}
        assert _environment(agent)["SFU_DRAIN_SECONDS"] == "3600"
        assert "/v1/stats" in sfu["lifecycle"]["preStop"]["exec"]["command"][-1]
        assert pod["terminationGracePeriodSeconds"] > 3600

    def test_no_sfu_has_a_credential_of_the_operators(self) -> None:
        assert "ADMIN_TOKEN" not in json.dumps(
            pods(rendered("everything"))["StatefulSet/sfu-gateway-calls-sfu"]
        )

    def test_a_new_gateway_rolls_no_sfu_and_no_redis(self, tmp_path: Path) -> None:
        chart = tmp_path / "chart"
        shutil.copytree(CHART, chart)
        text = (chart / "Chart.yaml").read_text()
        (chart / "Chart.yaml").write_text(text.replace("ersion: 0.1.0", "ersion: 0.2.0"))
        done = template(values=VALUE_SETS["everything"], chart=chart)
        after = list(filter(None, yaml.safe_load_all(done.stdout)))
        assert (
            named(after, "Deployment", "-calls")["metadata"]["labels"]["app.kubernetes.io/version"] == "0.2.0"
        )
        for ending in ("-sfu", "-redis"):
            before = named(rendered("everything"), "StatefulSet", ending)["spec"]["template"]
            assert named(after, "StatefulSet", ending)["spec"]["template"] == before

    def test_sfus_wait_to_be_deleted(self) -> None:
        sfu = named(rendered("sfus-only"), "StatefulSet", "-sfu")
        assert sfu["spec"]["updateStrategy"] == {"type": "OnDelete"}
        assert named(rendered("sfus-only"), "PodDisruptionBudget", "-sfu")["spec"]["maxUnavailable"] == 1


class TestTheGatewayKnowsIt:
    """Nothing in the chart names a route, a command or a setting that the code does not have."""

    @every_set
    def test_commands_exist(self, name: str) -> None:
        known = _commands()
        for pod in pods(rendered(name)).values():
            for container in containers(pod):
                if "args" in container and "command" not in container:
                    assert container["args"][0] in known

    @every_gateway
    def test_probes_and_scrapes_go_to_routes(self, name: str) -> None:
        gateway = _gateway_pod(rendered(name))["containers"][0]
        probes = [gateway[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
        paths = [probe["path"] for probe in probes]
        monitors = of_kind(rendered(name), "ServiceMonitor")
        paths += [point["path"] for item in monitors for point in item["spec"]["endpoints"]]
        assert all(map(_is_route, paths))

    def test_public_paths_are_routes_and_none_is_the_operators(self) -> None:
        public = yaml.safe_load((CHART / "values.yaml").read_text())["publicPaths"]
        assert all(_is_route(path) or _is_route(f"{path}/eu-west/v1/channel") for path in public)
        private = ("/metrics", "/v1/admin/explain", "/v1/health", "/dashboard", "/v1/events", "/livez")
        assert all(map(_is_route, private))
        assert not [path for path in private if path.startswith(tuple(f"{prefix}/" for prefix in public))]
        assert not set(private) & set(public)

    @every_gateway
    def test_the_gateway_starts_with_its_settings(self, name: str, tmp_path: Path) -> None:
        objects = rendered(name)
        pod = _gateway_pod(objects)
        config = tmp_path / "gateway.toml"
        config.write_text(_of_gateway(objects, "ConfigMap")["data"]["gateway.toml"])
        environment = _environment(pod["containers"][0])
        if secrets := [
            item for item in of_kind(objects, "Secret") if "SFU_GATEWAY_KEY" in item["stringData"]
        ]:
            environment |= secrets[0]["stringData"]
        else:
            environment |= {"SFU_GATEWAY_KEY": "a" * 44, "SFU_GATEWAY_REDIS__URL": "redis://redis"}
        settings = load_settings(config, environment)
        assert settings.missing_to_serve() is None
        assert settings.port == pod["containers"][0]["ports"][0]["containerPort"]
        assert environment["SFU_GATEWAY_CONFIG"] in [
            mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]
        ]

    def test_the_agents_variables_are_its_settings(self) -> None:
        pod = pods(rendered("everything"))["StatefulSet/sfu-gateway-calls-sfu"]
        known = {str(field.alias) for field in AgentSettings.model_fields.values()}
        agent = next(container for container in pod["initContainers"] if container["name"] == "agent")
        given = {entry["name"] for entry in agent["env"]}
        assert given - known == {"HOST_IP", "NODE_NAME"}

    def test_tenants_with_keys_can_come_from_the_secret(self) -> None:
        tenants = json.dumps([{"name": "acme", "key": "a" * 44, "region": "eu-west"}])
        settings = load_settings(environ={"SFU_GATEWAY_TENANT": tenants})
        assert [tenant.name for tenant in settings.tenant] == ["acme"]


class TestExternalAddress:
    """What an SFU with `publicIp.source=node` runs before it starts."""

    def ask(self, tmp_path: Path, addresses: list[dict[str, str]]) -> subprocess.CompletedProcess[str]:
        node = json.dumps({"status": {"addresses": addresses}}).encode()

        class Api(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if self.path == "/api/v1/nodes/one" else 404)
                self.end_headers()
                self.wfile.write(node)

            def log_message(self, *_: object) -> None:
                """Write nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
            threading.Thread(target=server.serve_forever).start()
            environment = {"NODE_NAME": "one", "KUBERNETES_API": f"http://127.0.0.1:{server.server_port}"}
            done = subprocess.run(
                [sys.executable, CHART / "files" / "public_ip.py", tmp_path / "ip"],
                env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            server.shutdown()
        return done

    def test_the_first_external_address_is_written(self, tmp_path: Path) -> None:
        internal = {"type": "InternalIP", "address": "10.0.0.7"}
        done = self.ask(tmp_path, [internal, {"type": "ExternalIP", "address": "203.0.113.7"}])
        assert (done.returncode, (tmp_path / "ip").read_text()) == (0, "203.0.113.7"), done.stderr

    def test_a_node_without_one_says_what_to_set(self, tmp_path: Path) -> None:
        done = self.ask(tmp_path, [{"type": "InternalIP", "address": "10.0.0.7"}])
        assert done.returncode == 1
        assert "sfu.publicIp.source" in done.stderr


class TestMonitoring:
    def test_the_rule_has_the_alerts_of_the_repository(self) -> None:
        files = sorted((K8S / "alerts").glob("*.rules.yml"))
        text = "".join(path.read_text() for path in files)
        groups = yaml.safe_load(text.replace("docs/runbooks.md", "https://wiki.example.com/runbooks"))[
            "groups"
        ]
        (rule,) = of_kind(rendered("everything"), "PrometheusRule")
        assert rule["spec"]["groups"] == groups != []

    def test_the_config_map_has_the_dashboards_of_the_repository(self) -> None:
        files = {path.name: path.read_text() for path in (K8S / "grafana").glob("*.json")}
        shipped = named(rendered("everything"), "ConfigMap", "-dashboards")["data"]
        assert {name: json.loads(text) for name, text in shipped.items()} == {
            name: json.loads(text) for name, text in files.items()
        }

    @every_gateway
    def test_metrics_are_scraped_where_they_are_served(self, name: str) -> None:
        for monitor in of_kind(rendered(name), "ServiceMonitor"):
            wanted = monitor["spec"]["selector"]["matchLabels"].items()
            services = [
                item
                for item in of_kind(rendered(name), "Service")
                if wanted <= item["metadata"]["labels"].items()
            ]
            (service,) = services
            (endpoint,) = monitor["spec"]["endpoints"]
            assert [port["name"] for port in service["spec"]["ports"]] == [endpoint["port"]]

    def test_sfus_scale_on_a_metric_that_exists(self) -> None:
        (scaled,) = of_kind(rendered("everything"), "ScaledObject")
        metrics = re.findall(r"sfu_gateway_\w+", scaled["spec"]["triggers"][0]["metadata"]["query"])
        documented = (K8S.parent / "docs" / "metrics.md").read_text()
        assert metrics
        assert all(f"`{metric}`" in documented for metric in metrics)


def _notes(directory: Path, name: str, *sets: str) -> str:
    """Return NOTES.txt as a release shows it; `helm template` alone leaves it out."""
    chart = directory / "chart"
    shutil.copytree(CHART, chart)
    probe = 'notes: {{ include (print $.Template.BasePath "/NOTES.txt") . | quote }}\n'
    (chart / "templates" / "notes-probe.yaml").write_text(probe)
    done = template(*sets, values=VALUE_SETS[name], chart=chart)
    assert done.returncode == 0, done.stderr
    documents = filter(None, yaml.safe_load_all(done.stdout))
    return next(str(document["notes"]) for document in documents if "notes" in document)


def _unknown(values: Any, schema: Any, definitions: Any, path: str = "") -> Any:
    """Yield the paths of values that the schema has no word for."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if isinstance(values, dict) and "properties" in schema:
        assert schema["additionalProperties"] is False, path
        for name, value in values.items():
            if name not in schema["properties"]:
                yield f"{path}.{name}"
            else:
                yield from _unknown(value, schema["properties"][name], definitions, f"{path}.{name}")


def _of_gateway(objects: tuple[Object, ...], kind: str) -> Object:
    return next(
        item
        for item in of_kind(objects, kind)
        if item["metadata"]["labels"]["app.kubernetes.io/component"] == "gateway"
    )


def _gateway_pod(objects: tuple[Object, ...]) -> Object:
    pod: Object = _of_gateway(objects, "Deployment")["spec"]["template"]["spec"]
    return pod


def _environment(container: Object) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


def _secrets_of(container: Object) -> list[str]:
    """The keys of Secrets that a container gets one by one."""
    return [entry["valueFrom"]["secretKeyRef"]["key"] for entry in container["env"] if "valueFrom" in entry]


def _egress(objects: tuple[Object, ...], component: str) -> list[Object]:
    rules: list[Object] = named(objects, "NetworkPolicy", f"-{component}")["spec"]["egress"]
    return rules


def _checksums(objects: tuple[Object, ...]) -> dict[str, str]:
    metadata = _of_gateway(objects, "Deployment")["spec"]["template"]["metadata"]
    annotations: dict[str, str] = metadata["annotations"]
    return annotations


def _commands() -> set[str]:
    """Return the commands of the CLI, those of groups with the group's name before them."""
    root: Any = get_command(cli)
    names = set(root.commands)
    for group, command in root.commands.items():
        names |= {f"{group} {name}" for name in getattr(command, "commands", {})}
    return names


def _is_route(path: str) -> bool:
    scopes = [{"type": "http", "path": path, "method": method} for method in ("GET", "POST")]
    return any(route.matches(scope)[0] is Match.FULL for route in ROUTES for scope in scopes)
