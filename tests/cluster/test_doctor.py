"""What the doctor says of nodes; tests/cluster/test_cluster.py asks it of a real cluster."""

from cluster.doctor import node_findings, probe_findings


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


def test_a_node_whose_gpu_pytorch_cannot_use_is_a_finding_with_the_driver_that_it_needs():
    seen = {"nodes": 1, "pythons": [["3", "11"]], "failures": {}, "blind": {}}
    assert all(found.well for found in probe_findings("/mnt/runs", seen))
    seen["blind"] = {"a 10.0.0.1": "RuntimeError: The NVIDIA driver on your system is too old"}
    [found] = [found for found in probe_findings("/mnt/runs", seen) if not found.well]
    assert "node a 10.0.0.1" in found.what and "too old" in found.what
    assert "driver of 580 or newer" in found.remedy
