"""Fill the templates from `settings.py`: launcher files, manifests, Dockerfile; and the dashboard.

python -m cluster.render            # write them
python -m cluster.render --check    # exit with status 1 if one is out of step
"""

from __future__ import annotations

import argparse
import string
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from cluster.dashboard import dashboard_json
from cluster.settings import RAY_ENVIRONMENT, placeholders

HERE = Path(__file__).parent
RULES = "dashboards/rules.yaml"
SERVE_CONFIG = HERE.parent / "serve_app" / "config.yaml"
TEMPLATES = HERE / "templates"
NOTE = "# Made from cluster/templates/{name} by `python -m cluster.render`; change it there.\n"


class AtTemplate(string.Template):
    """`@{NAME}`: dollars belong to the shell commands in these files."""

    delimiter = "@"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m cluster.render",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    options = parser.parse_args(arguments)
    for path, text in rendered().items():
        if options.check:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                sys.exit(f"cluster.render: {path} is out of step; run python -m cluster.render")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(path)


def rendered() -> dict[Path, str]:
    """Each generated file with its content; KeyError for a placeholder without a setting."""
    values = placeholders()
    rules = textwrap.indent((HERE / RULES).read_text(encoding="utf-8"), "  ").lstrip()
    serve_config = _serve_config()
    texts = {}
    for source in sorted(path for path in TEMPLATES.rglob("*") if path.is_file()):
        name = source.relative_to(TEMPLATES)
        blocks = {
            "RAY_ENV_LIST": _environment_list(source),
            "RULES": rules,
            "SERVE_CONFIG": serve_config,
        }
        body = AtTemplate(source.read_text(encoding="utf-8")).substitute(values | blocks)
        texts[HERE / name] = NOTE.format(name=name.as_posix()) + body
    texts[HERE / "dashboards" / "grafana.json"] = dashboard_json()
    return texts


def _serve_config() -> str:
    """serve_app/config.yaml as part of a manifest: to be reached from outside its pod."""
    lines = SERVE_CONFIG.read_text(encoding="utf-8").splitlines()
    content = [line.partition("  #")[0] for line in lines if not line.startswith("#")]
    text = "\n".join(content).replace("host: 127.0.0.1", "host: 0.0.0.0")
    return textwrap.indent(text, "    ").lstrip()


def _environment_list(source: Path) -> str:
    """RAY_ENVIRONMENT as Kubernetes' list of names and values, as far in as where it is named."""
    for line in source.read_text(encoding="utf-8").splitlines():
        if "@{RAY_ENV_LIST}" in line:
            indent = " " * line.index("@")
            items = [f'- {{name: {k}, value: "{v}"}}' for k, v in RAY_ENVIRONMENT.items()]
            return f"\n{indent}".join(items)
    return ""


if __name__ == "__main__":
    main()
