"""The import rules of the architecture: who may import whom, and what stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("cifar_model", "cluster", "jobs", "serve_app")

# Package or file -> what it must not import, at its top or inside a function.
FORBIDDEN = {
    "cifar_model": {"ray", "gradio", "fastapi", "starlette", "jobs", "serve_app"},
    "jobs": {"serve_app", "gradio", "fastapi"},
    "jobs/rivals": {"serve_app", "gradio", "ray"},
    "serve_app": {"jobs"},
    "cluster": {"cifar_model", "jobs", "serve_app", "torch"},
    "serve_app/ui.py": {"torch", "ray"},
    "serve_app/tabs": {"torch", "ray"},
    "serve_app/space": {"ray"},
    "cifar_model/resnet9.py": {"pytorch_lightning", "albumentations", "torchmetrics"},
    "cifar_model/predictor.py": {"pytorch_lightning", "albumentations", "torchmetrics"},
}
# The benchmark's other ways to serve the model are programs of their own; nothing imports them.
EXCEPT = {"jobs": "jobs/rivals"}


def imported(path):
    """Names of all modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


@pytest.mark.parametrize("place", sorted(FORBIDDEN))
def test_nothing_imports_what_it_must_not(place):
    root = ROOT / place
    files = [root] if root.suffix else sorted(root.rglob("*.py"))
    if place in EXCEPT:
        files = [path for path in files if (ROOT / EXCEPT[place]) not in path.parents]
    assert files
    broken = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files
        for module in imported(path)
        if module.split(".")[0] in FORBIDDEN[place]
    ]
    assert not broken


def test_only_rivals_import_rivals():
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            if ROOT / "jobs/rivals" not in path.parents:
                assert not any(module.startswith("jobs.rivals") for module in imported(path)), path


def test_only_augment_imports_albumentations_and_nothing_imports_lightning_by_its_other_name():
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            tops = {module.split(".")[0] for module in imported(path)}
            assert "lightning" not in tops, path
            if path.name != "augment.py":
                assert "albumentations" not in tops, path


# Module -> what importing it must not pull in, directly or through others.
STAYS_LIGHT = {
    "cifar_model": {"torch", "numpy", "PIL"},
    "cifar_model.sources": {"torch", "pytorch_lightning", "matplotlib", "sklearn", "pyarrow"},
    "cifar_model.model_config": {"torch", "numpy"},
    "cifar_model.resnet9": {"pytorch_lightning", "albumentations", "PIL"},
    "cifar_model.predictor": {
        "pytorch_lightning", "albumentations", "torchmetrics", "matplotlib", "ray", "gradio",
    },
    "cifar_model.training": {"albumentations", "ray", "gradio"},
    "cluster.doctor": {"torch", "ray", "numpy"},
    "cluster.local": {"torch", "ray", "numpy"},
    "jobs.submit": {"torch", "ray", "numpy", "pytorch_lightning"},
    "jobs.train": {"torch", "ray", "pytorch_lightning", "matplotlib"},
    "jobs.lr_find": {"torch", "ray", "pytorch_lightning", "matplotlib"},
    "jobs.tune": {"torch", "ray", "pytorch_lightning", "matplotlib", "optuna"},
    "jobs.bench": {"torch", "ray", "pytorch_lightning"},
    "jobs.evaluate": {"ray", "pytorch_lightning", "gradio"},
    "cifar_model.report_folder": {"torch", "matplotlib"},
    "serve_app.space.__main__": {"torch", "ray", "gradio"},
    "serve_app.client": {"torch", "ray", "numpy", "PIL", "gradio", "fastapi"},
    "serve_app.__main__": {"torch", "ray", "gradio"},
}  # fmt: skip


@pytest.mark.parametrize("module", sorted(STAYS_LIGHT))
def test_what_stays_light(module):
    code = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert not STAYS_LIGHT[module] & set(run.stdout.split())
