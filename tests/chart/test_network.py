"""Who may talk to whom: default deny, then exactly the flows that are needed; and the ways in."""

import pytest


@pytest.fixture
def policies(render):
    """NetworkPolicy specs by what their name ends in."""

    def found(*files, **values):
        return {
            m["metadata"]["name"].rpartition("-")[2]: m["spec"] for m in render(*files, **values).manifests if m["kind"] == "NetworkPolicy"
        }

    return found


def allowed(rules, side):
    """(port, component or None) pairs of a policy's rules."""
    pairs = set()
    for rule in rules:
        for port in rule["ports"]:
            peers = rule.get(side)
            for peer in peers or [None]:
                labels = peer.get("podSelector", {}) if peer else {}
                named = labels.get("matchLabels", {}).get("app.kubernetes.io/component")
                pairs.add((port["port"], named if peer else "anyone"))
    return pairs


def test_everything_is_denied_to_every_pod_of_the_release(policies, render):
    deny = policies()["deny"]
    assert deny["policyTypes"] == ["Ingress", "Egress"] and "ingress" not in deny and "egress" not in deny
    labels = deny["podSelector"]["matchLabels"].items()
    for name, pod in render().pods().items():
        assert labels <= pod["metadata"]["labels"].items(), name


def test_only_the_gateway_reaches_the_model_and_nobody_the_rest_port(policies):
    assert allowed(policies()["serving"]["ingress"], "from") == {(8500, "gateway")}
    assert "egress" not in policies()["serving"]


def test_the_gateway_reaches_dns_and_the_model_only(policies):
    assert allowed(policies()["gateway"]["egress"], "to") == {(53, None), (8500, "serving")}
    dns = policies()["gateway"]["egress"][0]
    assert dns["to"][0]["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}


def test_anyone_reaches_the_page_and_nobody_its_metrics(policies):
    assert allowed(policies()["gateway"]["ingress"], "from") == {(8080, "anyone")}


def test_a_narrowed_page_is_still_open_to_the_test(policies):
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "traefik"}}}
    (rule,) = policies(**{"networkPolicy.gatewayFrom": [peer]})["gateway"]["ingress"]
    assert peer in rule["from"] and rule["from"][-1]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"


def test_those_who_read_metrics_reach_the_metrics_ports_and_no_more(policies):
    found = policies(**{"networkPolicy.metricsFrom": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]})
    assert allowed(found["gateway"]["ingress"], "from") == {(8080, "anyone"), (9090, None)}
    assert allowed(found["serving"]["ingress"], "from") == {(8500, "gateway"), (8501, None)}


def test_nodes_may_probe_where_a_plugin_needs_to_be_told(policies):
    found = policies(**{"networkPolicy.nodeCidrs": ["10.0.0.0/16"], "networkPolicy.gatewayFrom": [{"podSelector": {}}]})
    node = {"ipBlock": {"cidr": "10.0.0.0/16"}}
    assert [node in rule["from"] for rule in found["gateway"]["ingress"]] == [True, True]
    assert {"ports": [{"port": 8500}, {"port": 8501}], "from": [node]} in found["serving"]["ingress"]


def test_the_trainer_has_no_network_at_all(policies, render):
    labels = render().of("Job")["spec"]["template"]["metadata"]["labels"]
    reaching = [name for name, spec in policies().items() if spec["podSelector"]["matchLabels"].items() <= labels.items()]
    assert reaching == ["deny"]


def test_the_test_reaches_dns_and_the_page_only(policies):
    assert allowed(policies()["test"]["egress"], "to") == {(53, None), (8080, "gateway")}


def test_ports_are_those_of_the_containers(policies, render):
    """By number: not every plugin knows a pod's names for them."""
    found = render("ci/everything-values.yaml")
    ports = {port["containerPort"] for pod in found.pods().values() for each in pod["spec"]["containers"] for port in each.get("ports", [])}
    rules = [rule for spec in policies("ci/everything-values.yaml").values() for rule in spec.get("ingress", []) + spec.get("egress", [])]
    used = {port["port"] for rule in rules for port in rule["ports"]}
    assert used == ports | {53}


def test_policies_can_be_left_to_others(policies):
    assert policies(**{"networkPolicy.enabled": False}) == {}


def test_an_ingress_needs_nothing_of_a_certain_controller(render):
    spec = render().of("Ingress")["spec"]
    (rule,) = spec["rules"]
    assert "host" not in rule and "ingressClassName" not in spec and "annotations" not in render().of("Ingress")["metadata"]
    assert rule["http"]["paths"] == [
        {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "digits-pynumdraw-gateway", "port": {"name": "http"}}}}
    ]


def test_a_sub_path_is_told_to_the_gateway_so_that_nobody_rewrites(render):
    found = render(**{"ingress.path": "/draw", "ingress.hosts": ["a.example.com", "b.example.com"]})
    rules = found.of("Ingress")["spec"]["rules"]
    assert [(rule["host"], rule["http"]["paths"][0]["path"]) for rule in rules] == [("a.example.com", "/draw"), ("b.example.com", "/draw")]
    (container,) = found.of("Deployment", "-gateway")["spec"]["template"]["spec"]["containers"]
    assert {"name": "GATEWAY_BASE_PATH", "value": "/draw"} in container["env"]


def test_a_route_of_the_gateway_api_leads_to_the_same_service(render):
    found = render("ci/everything-values.yaml")
    spec, service = found.of("HTTPRoute")["spec"], found.of("Service", "-gateway")
    (rule,) = spec["rules"]
    assert rule["backendRefs"] == [{"name": service["metadata"]["name"], "port": service["spec"]["ports"][0]["port"]}]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/draw"}}]
    assert spec["parentRefs"] == [{"name": "edge", "namespace": "gateways", "sectionName": "https"}]


def test_metrics_are_never_on_the_service_of_the_page(render):
    found = render("ci/everything-values.yaml")
    assert [port["name"] for port in found.of("Service", "-gateway")["spec"]["ports"]] == ["http"]
    assert found.of("Service", "-gateway-metrics")["spec"]["clusterIP"] == "None"


def test_each_monitor_finds_its_service(render):
    found = render("ci/everything-values.yaml")
    for ending in ("-gateway-metrics", "-serving"):
        monitor, service = found.of("ServiceMonitor", ending), found.of("Service", ending)
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert monitor["spec"]["endpoints"][0]["port"] in [port["name"] for port in service["spec"]["ports"]]
        others = [m for m in found.manifests if m["kind"] == "Service" and m is not service]
        assert not any(monitor["spec"]["selector"]["matchLabels"].items() <= other["metadata"]["labels"].items() for other in others)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"ipFamilyPolicy": "PreferDualStack"},
        {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]},
        {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]},
    ],
    ids=str,
)
def test_every_service_has_the_address_families_of_the_values(render, values):
    metrics = {"metrics.serviceMonitor.enabled": True, "networkPolicy.metricsFrom": [{"podSelector": {}}]}
    services = [each["spec"] for each in render(**values, **metrics).manifests if each["kind"] == "Service"]
    assert len(services) == 3
    assert all({key: spec[key] for key in ("ipFamilyPolicy", "ipFamilies") if key in spec} == values for spec in services)


@pytest.mark.parametrize("cidr", ["fd00:10::/64", "::/0", "2001:db8::1/128"])
def test_no_policy_and_no_probe_is_for_one_address_family(policies, render, cidr):
    found = policies(**{"networkPolicy.nodeCidrs": [cidr], "networkPolicy.dnsTo": [{"ipBlock": {"cidr": cidr}}]})
    block = {"ipBlock": {"cidr": cidr}}
    assert any(block in rule["from"] for rule in found["serving"]["ingress"]) and found["gateway"]["egress"][0]["to"] == [block]
    for name, pod in render().pods().items():
        for each in pod["spec"]["containers"]:
            probes = [each[key] for key in each if key.endswith("Probe")]
            assert all("host" not in probe.get("httpGet", probe.get("tcpSocket")) for probe in probes), name
    gateway = render().of("Deployment", "-gateway")["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "GATEWAY_HOST", "value": "::"} in gateway["env"]
