"""What the doctor says of nodes; tests/cluster/test_cluster.py asks it of a real cluster."""

from cluster.doctor import node_findings


def node(name, state, gpus=0):
    resources = {"CPU": 4.0, **({"GPU": gpus} if gpus else {})}
    return {
        "hostname": name,
        "ip": "10.0.0.1",
        "raylet": {"state": state, "resourcesTotal": resources},
    }


def test_a_node_that_is_gone_is_no_finding_and_its_gpus_do_not_count():
    words = [found.what for found in node_findings([node("a", "ALIVE"), node("b", "DEAD", gpus=8)])]
    assert any(what.startswith("node a") for what in words)
    assert not any("node b" in what for what in words)
    assert any("no GPU now" in what for what in words)
