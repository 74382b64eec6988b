"""What `pip install .` installs: beside the code also the files that the code reads."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_files_that_the_code_reads_are_installed_with_it():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "package-data"
    ]
    for package in ("cifar_model", "jobs", "serve_app"):
        folder = ROOT / package
        read = {
            path
            for path in folder.rglob("*")
            if path.is_file() and path.suffix not in (".py", ".pyc") and "report" not in path.parts
        }
        installed = {path for pattern in data[package] for path in folder.glob(pattern)}
        assert read and read <= installed
