"""The Space folder: complete, small, pinned, and without Ray."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from serve_app.space.__main__ import main
from serve_app.space.import_graph import needed_files, read_pins

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def space(tmp_path_factory, digits_model):
    out = tmp_path_factory.mktemp("space") / "out"
    main(["build", "--out", str(out), "--model", str(digits_model)])
    return out


def test_every_file_of_ours_that_is_imported_is_there_and_no_other(space):
    copied = {p.relative_to(space) for p in space.rglob("*.py")} - {Path("app.py")}
    assert copied == set(needed_files(space, space / "app.py"))
    assert not any(p.parts[0] == "jobs" or p.name in ("web.py", "deployments.py") for p in copied)


def test_requirements_are_exact_and_those_of_the_constraints(space):
    pins = read_pins(ROOT / "constraints.txt")
    index, *required = (space / "requirements.txt").read_text().splitlines()
    assert index.startswith("--extra-index-url ") and index.endswith("/cpu")
    lines = dict(line.split("==") for line in required)
    assert {"torch", "gradio", "safetensors", "grad-cam"} <= set(lines)
    assert all(pins[name] == version for name, version in lines.items())
    assert not {"ray", "pytorch-lightning", "albumentations", "triton"} & set(lines)
    assert not any("nvidia" in name or "cuda" in name for name in lines)


def test_what_is_imported_at_the_top_of_a_file_is_required(space):
    from importlib.metadata import packages_distributions

    known = packages_distributions()
    required = {line.split("==")[0] for line in (space / "requirements.txt").open()}
    for path in space.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom | ast.Import):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                for name in names or [node.module]:
                    top = name.split(".")[0]
                    if top in sys.stdlib_module_names or (space / top).is_dir():
                        continue
                    distributions = {d.lower().replace("_", "-") for d in known[top]}
                    assert distributions & required, f"{path}: {name}"


def test_the_front_matter_is_what_spaces_read(space):
    yaml = pytest.importorskip("yaml")
    front = yaml.safe_load((space / "README.md").read_text().split("---\n")[1])
    assert front["sdk"] == "gradio" and front["app_file"] == "app.py"
    assert f"gradio=={front['sdk_version']}\n" in (space / "requirements.txt").read_text()


def test_the_model_comes_with_its_report(space, digits_model):
    name = json.loads((digits_model / "config.json").read_text())["name"]
    for file in ("model.safetensors", "report/misclassified.npz", "report/confusion_matrix.png"):
        copied = space / "models" / f"00-{name}" / file
        assert copied.read_bytes() == (digits_model / file).read_bytes()


def test_pushing_only_lists_unless_told(space, capsys):
    main(["push", "--from", str(space), "--repo", "somebody/classifier"])
    assert "add --yes" in capsys.readouterr().out


def test_where_no_hub_answers_one_line_says_what_pushing_needs(space):
    push = ["push", "--from", str(space), "--repo", "somebody/classifier", "--yes"]
    run = subprocess.run(
        [sys.executable, "-m", "serve_app.space", *push],
        env={**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "hf_none"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2 and run.stderr.count("\n") == 1, run.stderr
    assert "it needs the network" in run.stderr


def test_mistakes_are_one_line(space, tmp_path, capsys):
    for arguments in (
        ["build", "--out", str(space)],
        ["build", "--out", str(tmp_path / "new"), "--model", str(tmp_path)],
        ["push", "--from", str(tmp_path), "--repo", "somebody/classifier"],
        ["push", "--from", str(space), "--repo", "classifier"],
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1
