"""What holds of the chart whatever is switched on.

It is rendered with combinations of its features that hold every three values of different features at once.
"""

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.deploy.helm import CHART, VALUE_SETS, Object, containers, helm, named, of_kind, pods, validate

KEY: Final = "bm90IGEgc2VjcmV0LCBvbmx5IGZvciB0aGUgdGVzdHM="
KUBERNETES: Final = ("1.30", "1.31", "1.32", "1.33", "1.34")
CUSTOM_GROUPS: Final = ("monitoring.coreos.com/", "keda.sh/", "gateway.networking.k8s.io/")

SFUS: Final[Object] = {
    "enabled": True,
    "image": {"repository": "images.example.internal/odoo-sfu", "tag": "1.3.3"},
    "authSecret": "sfu-auth",
    "gatewayUrl": "https://sfu.example.com",
}
EXTRAS: Final[Object] = {
    "commonLabels": {"team": "calls"},
    "imagePullSecrets": [{"name": "one"}, {"name": "two"}],
    "extraEnv": [{"name": "SFU_GATEWAY_LOG__LEVEL", "value": "debug"}],
    "extraVolumes": [{"name": "extra", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "extra", "mountPath": "/extra"}],
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}}],
    "ingress": {"enabled": True, "hosts": ["sfu.example.com"]},
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]},
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "grafanaDashboards": {"enabled": True},
    "rescue": {"enabled": True},
    "redis": {"tlsSecret": "redis-ca"},
    "gateway": {"podLabels": {"example.com/tier": "front"}},
    "sfu": {"extraContainers": [{"name": "tls", "image": "images.example.internal/tls:1"}]},
}

FEATURES: Final[dict[str, dict[str, Object]]] = {
    "release": {
        "gateway": {},
        "gateway and SFUs": {"sfu": SFUS},
        "SFUs": {"sfu": SFUS, "gateway": {"enabled": False}, "sweeper": {"enabled": False}},
    },
    "address": {
        "of the node": {},
        "asked": {"sfu": {"publicIp": {"source": "node"}, "command": ["node", "src/server.js"]}},
        "given": {"sfu": {"publicIp": {"source": "value", "value": "203.0.113.7"}}},
    },
    "redis": {
        "given": {"secrets": {"key": KEY, "registrationKey": KEY, "redisUrl": "redis://redis.example.internal"}},
        "bundled": {
            "secrets": {"key": KEY, "registrationKey": KEY},
            "redis": {"bundled": {"enabled": True, "password": "x"}},
        },
        "in a Secret": {"secrets": {"existingSecret": "sfu-gateway"}},
    },
    "scaling": {
        "fixed": {},
        "automatic": {"gateway": {"autoscaling": {"enabled": True}}, "sfu": {"autoscaling": {"enabled": True}}},
    },
    "ports": {"two": {}, "one": {"ops": {"port": 0}}},
    "platform": {"any": {}, "openshift": {"openshift": {"enabled": True}}},
    "extras": {"none": {}, "all": EXTRAS},
}  # fmt: skip

Release = tuple[str, tuple[Object, ...]]


class StrictLoader(yaml.CSafeLoader):
    """Refuses a key that a mapping has twice, as Kubernetes' server and most tools do."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [self.construct_object(name, deep=True) for name, _ in node.value]
        assert len(names) == len(set(names)), f"twice: {names}"
        return super().construct_mapping(node, deep=deep)


def covering(features: Object, strength: int = 3) -> list[tuple[str, ...]]:
    """Return combinations of the features' values that hold every `strength` values of different features at once."""
    holds = {
        choice: set(itertools.combinations(zip(features, choice, strict=True), strength))
        for choice in itertools.product(*features.values())
    }
    wanted = set().union(*holds.values())
    chosen: list[tuple[str, ...]] = []
    while wanted:
        chosen.append(max(holds, key=lambda choice: len(holds[choice] & wanted)))
        wanted -= holds[chosen[-1]]
    return chosen


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> list[Release]:
    """The chosen combinations of features, rendered; the name of each says which."""
    directory = tmp_path_factory.mktemp("values")

    def render(numbered: tuple[int, tuple[str, ...]]) -> Release:
        number, choice = numbered
        values: Object = {}
        for feature, name in zip(FEATURES, choice, strict=True):
            _merge(values, FEATURES[feature][name])
        file = directory / f"{number}.json"
        file.write_text(json.dumps(values))
        done = helm("template", "sfu-gateway", CHART, "--namespace", "calls", "--values", file)
        assert done.returncode == 0, f"{choice}: {done.stderr}"
        return " + ".join(choice), tuple(filter(None, yaml.load_all(done.stdout, yaml.CSafeLoader)))

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(render, enumerate(covering(FEATURES))))


def _merge(into: Object, more: Object) -> None:
    for name, value in more.items():
        if isinstance(value, dict):
            _merge(into.setdefault(name, {}), value)
        else:
            into[name] = value


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_accepts_every_object(releases: list[Release], version: str) -> None:
    distinct = {json.dumps(item, sort_keys=True) for _, objects in releases for item in objects}
    for text in distinct:
        item = json.loads(text)
        if not item["apiVersion"].startswith(CUSTOM_GROUPS):
            validate(item, version)


def test_every_pod_has_the_pull_secrets_and_no_token(releases: list[Release]) -> None:
    for name, objects in releases:
        wanted = EXTRAS["imagePullSecrets"] if name.endswith("all") else None
        for what, pod in pods(objects).items():
            assert pod.get("imagePullSecrets") == wanted, (name, what)
            assert pod["automountServiceAccountToken"] is False, (name, what)
            assert pod["enableServiceLinks"] is False, (name, what)


def test_every_pod_but_the_sfus_keeps_to_the_restricted_standard(releases: list[Release]) -> None:
    for name, objects in releases:
        for what, pod in pods(objects).items():
            if what.endswith("-sfu"):
                continue
            context = pod["securityContext"]
            assert context["runAsNonRoot"] is True, (name, what)
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}, (name, what)
            assert ("runAsUser" in context) == ("openshift" not in name), (name, what)
            assert not pod.get("hostNetwork"), (name, what)
            for container in containers(pod):
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }, (name, what)


def test_every_reference_within_the_release_resolves(releases: list[Release]) -> None:
    outside = {"sfu-auth", "sfu-gateway", "redis-ca", "kube-root-ca.crt"}
    for name, objects in releases:
        there = {(item["kind"], item["metadata"]["name"]) for item in objects}
        keys = {
            (item["metadata"]["name"], key)
            for item in of_kind(objects, "Secret")
            for key in item.get("stringData", ())
        }
        for kind, target, key in _references(objects):
            if kind == "Secret" and target in outside - (
                {"sfu-gateway"} if "in a Secret" not in name else set()
            ):
                continue
            if target in ("kube-root-ca.crt",):
                continue
            assert (kind, target) in there, (name, kind, target)
            assert key is None or (target, key) in keys, (name, target, key)


def _references(objects: tuple[Object, ...]) -> Iterator[tuple[str, str, str | None]]:
    """Yield (kind, name, key) of everything that a pod, a route or an autoscaler names."""
    for pod in pods(objects).values():
        if pod["serviceAccountName"] != "default":
            yield "ServiceAccount", pod["serviceAccountName"], None
        yield from _named_in(pod)
    for item in objects:
        if item["kind"] in ("Ingress", "HTTPRoute"):
            for target in re.findall(r'"service": \{"name": "([^"]+)"', json.dumps(item)):
                yield "Service", target, None
            for rule in item["spec"]["rules"]:
                for backend in rule.get("backendRefs", ()):
                    yield "Service", backend["name"], None
        if "scaleTargetRef" in item.get("spec", {}):
            target = item["spec"]["scaleTargetRef"]
            yield target["kind"], target["name"], None


def _named_in(node: Any) -> Iterator[tuple[str, str, str | None]]:
    if isinstance(node, list):
        for item in node:
            yield from _named_in(item)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name in ("secretKeyRef", "secretRef"):
                yield "Secret", value["name"], value.get("key")
            elif name == "secret" and "secretName" in value:
                yield "Secret", value["secretName"], None
            elif name == "configMap":
                yield "ConfigMap", value["name"], None
            else:
                yield from _named_in(value)


def test_every_mount_has_its_volume_and_every_named_port_exists(releases: list[Release]) -> None:
    for name, objects in releases:
        for what, pod in pods(objects).items():
            volumes = {volume["name"] for volume in pod.get("volumes", ())}
            claims = next(
                (item["spec"].get("volumeClaimTemplates", ()) for item in objects
                 if f"{item['kind']}/{item['metadata']['name']}" == what), ()
            )  # fmt: skip
            volumes |= {claim["metadata"]["name"] for claim in claims}
            for container in containers(pod):
                mounted = {mount["name"] for mount in container.get("volumeMounts", ())}
                assert mounted <= volumes, (name, what)
                ports = {port["name"] for port in container.get("ports", ())}
                probes = [container[key] for key in container if key.endswith("Probe")]
                asked = {next(iter(probe.values()))["port"] for probe in map(_action, probes)}
                assert asked <= ports, (name, what)


def _action(probe: Object) -> Object:
    return {key: probe[key] for key in ("httpGet", "tcpSocket") if key in probe}


def test_every_service_selects_a_pod_that_has_its_port(releases: list[Release]) -> None:
    for name, objects in releases:
        workloads = [item for item in objects if "template" in item.get("spec", {})]
        for service in of_kind(objects, "Service"):
            wanted = service["spec"]["selector"].items()
            (workload,) = [
                item for item in workloads if wanted <= item["spec"]["template"]["metadata"]["labels"].items()
            ]
            named = {
                port["name"]
                for container in containers(workload["spec"]["template"]["spec"])
                for port in container.get("ports", ())
            }
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= named, name


def test_no_pod_template_has_a_version(releases: list[Release]) -> None:
    for name, objects in releases:
        for item in objects:
            labels = item.get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {})
            assert "app.kubernetes.io/version" not in labels, name


def test_every_workload_says_how_many(releases: list[Release]) -> None:
    """Without `replicas` Kubernetes makes it one, as long as the autoscaler has not spoken."""
    for name, objects in releases:
        for item in objects:
            if item["kind"] in ("Deployment", "StatefulSet"):
                assert item["spec"]["replicas"] >= 1, name


def test_no_url_is_made_of_an_address_without_brackets(releases: list[Release]) -> None:
    """`$(HOST_IP)` may be an IPv6 address; only who reads it knows."""
    for name, objects in releases:
        assert not re.search(r"://[^\"' ]*\$\(HOST_IP\)", json.dumps(objects)), name


def test_every_object_has_the_labels_and_its_name_once(releases: list[Release]) -> None:
    for name, objects in releases:
        names = [(item["kind"], item["metadata"]["name"]) for item in objects]
        assert len(names) == len(set(names)), name
        for item in objects:
            if item["metadata"]["name"] != "extra":
                assert item["metadata"]["labels"]["app.kubernetes.io/part-of"] == "sfu-gateway", name
                assert ("team" in item["metadata"]["labels"]) == name.endswith("all"), name


def test_operators_routes_have_a_service_inside_alone(releases: list[Release]) -> None:
    for name, objects in releases:
        ops = [item for item in of_kind(objects, "Service") if item["metadata"]["name"].endswith("-ops")]
        assert bool(ops) == (" two " in f" {name} " and not name.startswith("SFUs")), name
        assert all("type" not in item["spec"] for item in ops)


class TestOlderValues:
    """`helm upgrade --reuse-values` brings the defaults of the older chart, which lack what is new."""

    @pytest.mark.parametrize("name", ["trial", "sfus-only"])
    def test_any_missing_value_has_its_default(self, name: str, tmp_path: Path) -> None:
        path = VALUE_SETS[name]
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        expected = helm("template", "x", CHART, "--values", path)
        assert expected.returncode == 0, expected.stderr

        def rendered_without(numbered: tuple[int, tuple[str, ...]]) -> tuple[tuple[str, ...], str]:
            number, gap = numbered
            chart = tmp_path / str(number)
            shutil.copytree(CHART, chart)
            older = json.loads(json.dumps(values))
            group = older
            for step in gap[:-1]:
                group = group[step]
            del group[gap[-1]]
            (chart / "values.yaml").write_text(yaml.safe_dump(older))
            done = helm("template", "x", chart, "--values", path)
            return gap, done.stdout + done.stderr

        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(rendered_without, enumerate(_sections(values))))
        assert len(results) > 20
        assert [gap for gap, text in results if text != expected.stdout] == []

    def test_no_grace_period_becomes_shorter_by_a_null(self) -> None:
        done = helm(
            "template",
            "x",
            CHART,
            "--values",
            CHART / "ci" / "minimal-values.yaml",
            "--set",
            "gateway.shutdown=null",
        )
        assert "terminationGracePeriodSeconds: 20" in done.stdout


def _sections(values: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every group of values, and of the first value in each."""
    for name, value in values.items():
        if name in ("podSecurityContext", "containerSecurityContext", "resources", "labels"):
            yield (*above, name)  # a whole: it replaces the default, and a field of it can be left out
        elif isinstance(value, dict) and value:
            yield (*above, name)
            yield from _sections(value, (*above, name))
        elif above and name == next(iter(values)):
            yield (*above, name)


class TestReplicas:
    """Switching autoscaling on keeps what runs; `lookup` finds nothing in `helm template`, so a probe stands in."""

    @pytest.mark.parametrize(
        ("live", "expected"),
        [(None, 4), (6, 6), (1, 3), (3, 3), (12, 12)],
    )
    def test_autoscaling_starts_from_what_runs(self, tmp_path: Path, live: int | None, expected: int) -> None:
        chart = tmp_path / "chart"
        shutil.copytree(CHART, chart)
        found = "dict" if live is None else f'(dict "spec" (dict "replicas" {live}))'
        probe = (
            '{{- include "sfu-gateway.prepare" . }}\nkind: Probe\nmetadata: {name: probe}\n'
            f'replicas: {{{{ include "sfu-gateway.replicas" (list ({found}) .Values.gateway) | trim }}}}\n'
        )
        (chart / "templates" / "probe.yaml").write_text(probe)
        done = helm(
            "template", "x", chart, "--values", CHART / "ci" / "minimal-values.yaml", "--show-only",
            "templates/probe.yaml", "--set", "gateway.autoscaling.enabled=true",
            "--set", "gateway.autoscaling.minReplicas=3", "--set", "gateway.replicaCount=4",
        )  # fmt: skip
        assert yaml.safe_load(done.stdout)["replicas"] == expected, done.stderr


class TestOddValues:
    """Text that YAML reads as something else, names at their longest, and what a section gives twice."""

    @staticmethod
    def render(tmp_path: Path, base: str, values: Object, release: str = "x") -> tuple[Object, ...]:
        file = tmp_path / "values.json"
        file.write_text(json.dumps(values))
        done = helm(
            "template", release, CHART, "--namespace", "calls", "--values", VALUE_SETS[base], "--values", file
        )
        assert done.returncode == 0, done.stderr
        return tuple(filter(None, yaml.load_all(done.stdout, StrictLoader)))

    @pytest.mark.parametrize(
        ("base", "release", "values"),
        [
            ("trial", "2024", {"fullnameOverride": "gw", "nameOverride": "1e3"}),
            ("trial", "my.release", {}),
            ("minimal", "x", {"redis": {"namespace": "2024", "tlsSecret": "123"}}),
            ("minimal", "x", {"secrets": {"existingSecret": "123"}, "rescue": {"enabled": True}}),
            ("minimal", "x", {"serviceAccount": {"name": "123"}, "gateway": {"priorityClassName": "1"}}),
            ("minimal", "x", {"ingress": {"enabled": True, "hosts": ["*.example.com"], "className": "1"}}),
            ("minimal", "x", {"config": "  # indented\n[log]\nlevel = 'info'\n"}),
            ("sfus-only", "x", {"sfu": {"region": "no", "authSecret": "1", "maxSessions": 1000000}}),
            (
                "everything",
                "x",
                {
                    "commonLabels": {"app.kubernetes.io/name": "other", "team": "a"},
                    "service": {"labels": {"team": "b"}},
                    "gateway": {
                        "podLabels": {"app.kubernetes.io/component": "other"},
                        "podAnnotations": {"checksum/config": "none"},
                    },
                    "prometheusRule": {"labels": {"team": "b"}},
                    "containerSecurityContext": {"runAsNonRoot": True, "runAsUser": 5},
                },
            ),
        ],
    )
    def test_kubernetes_accepts_every_object(
        self, base: str, release: str, values: Object, tmp_path: Path
    ) -> None:
        objects = self.render(tmp_path, base, values, release)
        for item in objects:
            if not item["apiVersion"].startswith(CUSTOM_GROUPS):
                validate(item, "1.34")
            if item["kind"] in ("Deployment", "StatefulSet"):
                labels = item["spec"]["template"]["metadata"]["labels"]
                assert item["spec"]["selector"]["matchLabels"].items() <= labels.items()
                for container in containers(item["spec"]["template"]["spec"]):
                    names = [variable["name"] for variable in container.get("env", ())]
                    assert len(names) == len(set(names))
            if item["kind"] == "Service":
                assert re.fullmatch("[a-z][a-z0-9-]*", item["metadata"]["name"])

    def test_text_stays_what_the_values_say(self, tmp_path: Path) -> None:
        objects = self.render(tmp_path, "minimal", {"config": "  # indented\n[log]\nlevel = 'info'\n"})
        assert of_kind(objects, "ConfigMap")[0]["data"] == {
            "gateway.toml": "  # indented\n[log]\nlevel = 'info'\n"
        }
        sfus = self.render(tmp_path, "sfus-only", {"sfu": {"region": "no", "maxSessions": 1000000}})
        agent = containers(named(sfus, "StatefulSet", "-sfu")["spec"]["template"]["spec"])[0]
        environment = {variable["name"]: variable.get("value") for variable in agent["env"]}
        assert environment["SFU_REGION"] == "no"
        assert environment["SFU_MAX_SESSIONS"] == "1000000"

    @pytest.mark.parametrize("base", ["trial", "sfus-only"])
    def test_the_longest_release_name_leaves_room_for_a_stateful_sets_hash(
        self, base: str, tmp_path: Path
    ) -> None:
        """Kubernetes labels its pods `<name>-<hash of ten>`, and a label has 63 characters."""
        objects = self.render(tmp_path, base, {}, "a" * 53)
        assert max(len(item["metadata"]["name"]) for item in of_kind(objects, "StatefulSet")) <= 63 - 11

    def test_an_agent_may_listen_and_measure_elsewhere(self, tmp_path: Path) -> None:
        more = [{"name": "SFU_AGENT_BIND", "value": "::"}, {"name": "SFU_CGROUP", "value": "/sys/fs/cgroup"}]
        objects = self.render(tmp_path, "sfus-only", {"sfu": {"agent": {"extraEnv": more}}})
        agent = containers(named(objects, "StatefulSet", "-sfu")["spec"]["template"]["spec"])[0]
        assert [item for item in agent["env"] if item["name"] in ("SFU_AGENT_BIND", "SFU_CGROUP")] == more

    def test_a_container_may_run_as_root_where_the_values_say_so(self, tmp_path: Path) -> None:
        objects = self.render(tmp_path, "sfus-only", {"containerSecurityContext": {"runAsNonRoot": False}})
        agent = containers(named(objects, "StatefulSet", "-sfu")["spec"]["template"]["spec"])[0]
        assert agent["securityContext"]["runAsNonRoot"] is False

    @pytest.mark.parametrize(
        ("values", "ports"),
        [
            ({"secrets": {"redisUrl": "rediss://u:p:99@redis.example:6380/0?a=:1"}}, {6380}),
            ({"secrets": {"redisUrl": "redis+cluster://[fd00::1]:7001,b:7002"}}, {7001, 7002}),
            ({"secrets": {"redisUrl": "redis://redis.example"}}, set()),
            ({"sfu": {**SFUS, "port": 9090}, "secrets": {"registrationKey": KEY}}, {9090}),
            (
                {
                    "sfu": {**SFUS, "address": "https://$(NODE_NAME).example/"},
                    "secrets": {"registrationKey": KEY},
                },
                {443},
            ),
            (
                {"sfu": {**SFUS, "address": "http://[fd00::1]:9443/a"}, "secrets": {"registrationKey": KEY}},
                {9443},
            ),
        ],
    )
    def test_the_gateway_reaches_the_ports_that_the_values_name(
        self, values: Object, ports: set[int], tmp_path: Path
    ) -> None:
        policy = named(self.render(tmp_path, "minimal", values), "NetworkPolicy", "-gateway-gateway")
        reached = {port["port"] for port in policy["spec"]["egress"][1]["ports"]}
        assert reached == {6379, 26379, 8070} | ports

    def test_the_charts_own_test_reaches_a_gateway_that_few_may_reach(self, tmp_path: Path) -> None:
        objects = self.render(tmp_path, "minimal", {"networkPolicy": {"from": [{"podSelector": {}}]}})
        policy = named(objects, "NetworkPolicy", "-gateway-gateway")
        selectors = [peer["podSelector"] for peer in policy["spec"]["ingress"][0]["from"]]
        labels = named(objects, "Pod", "-test")["metadata"]["labels"]
        assert selectors[-1]["matchLabels"].items() <= labels.items()

    @pytest.mark.parametrize(("query", "region"), [("", "eu-west"), ('f{region="x"}', "x")])
    def test_sfus_are_scaled_by_their_own_region(self, query: str, region: str, tmp_path: Path) -> None:
        sfu = {"region": "eu-west", "autoscaling": {"enabled": True, "query": query}}
        objects = self.render(tmp_path, "sfus-only", {"sfu": sfu})
        (trigger,) = of_kind(objects, "ScaledObject")[0]["spec"]["triggers"]
        assert f'region="{region}"' in trigger["metadata"]["query"]

    @pytest.mark.parametrize(
        ("service", "ops", "low"), [(80, 8073, True), (443, 0, True), (8071, 80, True), (1024, 0, False)]
    )
    def test_a_port_below_1024_needs_no_root(self, service: int, ops: int, low: bool, tmp_path: Path) -> None:
        objects = self.render(tmp_path, "minimal", {"service": {"port": service}, "ops": {"port": ops}})
        pod = named(objects, "Deployment", "x-sfu-gateway")["spec"]["template"]["spec"]
        sysctls = pod["securityContext"].get("sysctls", [])
        assert sysctls == [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}] * low
        validate(named(objects, "Deployment", "x-sfu-gateway"), "1.34")

    @pytest.mark.parametrize(
        ("service", "bind"),
        [
            ({}, None),
            ({"ipFamilyPolicy": "PreferDualStack"}, None),
            ({"ipFamilies": ["IPv4"]}, None),
            ({"ipFamilies": ["IPv6"]}, "::"),
            ({"ipFamilies": ["IPv4", "IPv6"]}, "::"),
            ({"ipFamilyPolicy": "RequireDualStack"}, "::"),
        ],
    )
    def test_pods_listen_on_the_families_of_their_service(
        self, service: Object, bind: str | None, tmp_path: Path
    ) -> None:
        objects = self.render(tmp_path, "minimal", {"service": service})
        (gateway,) = named(objects, "Deployment", "x-sfu-gateway")["spec"]["template"]["spec"]["containers"]
        environment = {variable["name"]: variable.get("value") for variable in gateway["env"]}
        assert environment.get("SFU_GATEWAY_BIND") == bind

    def test_no_policy_is_none_for_redis_too(self, tmp_path: Path) -> None:
        objects = self.render(tmp_path, "trial", {"networkPolicy": {"enabled": False}})
        assert of_kind(objects, "NetworkPolicy") == []
