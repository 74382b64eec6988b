"""Build the Hugging Face Space, and upload it.

python -m serve_app.space build --out space --model runs/first/model
python -m serve_app.space push --from space --repo USER/NAME --yes
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cifar_model.errors import InputError, one_line_errors
from cifar_model.given_path import given_path


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m serve_app.space", description="The page as a Hugging Face Space."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="write a complete Space folder")
    build.add_argument("--out", required=True, help="folder to write")
    build.add_argument(
        "--model",
        action="append",
        help="model folder; give it again for more, the first is the default "
        "(default: the built-in CIFAR-10 model)",
    )
    push = commands.add_parser("push", help="upload a built Space; without --yes only list it")
    push.add_argument("--from", dest="folder", required=True, help="folder that build wrote")
    push.add_argument("--repo", required=True, help="USER/NAME of the Space")
    push.add_argument("--yes", action="store_true", help="really upload")
    options = parser.parse_args(arguments)
    with one_line_errors("serve_app.space"):
        if options.command == "build":
            build_space(given_path(options.out), options.model)
        else:
            push_space(given_path(options.folder), options.repo, really=options.yes)


def build_space(out: Path, folders: list[str] | None) -> None:
    """Write the Space and print its folder."""
    from cifar_model.model_config import read_config
    from cifar_model.model_folder import BUILT_IN
    from serve_app.space.build import build

    models: dict[str, Path] = {}
    for folder in [given_path(f) for f in folders] if folders else [BUILT_IN]:
        name = read_config(folder).name
        if name in models:
            raise InputError(f"--model {folder}: its name {name!r} is {models[name]}'s too")
        models[name] = folder
    print(build(out, models))


def push_space(folder: Path, repo: str, *, really: bool) -> None:
    """List or upload."""
    from serve_app.space.push import check_space, upload

    files = check_space(folder, repo)
    if really:
        print(upload(folder, repo))
        return
    for path in files:
        print(f"{path.stat().st_size:>12,}  {path.relative_to(folder)}")
    total = sum(path.stat().st_size for path in files)
    print(f"{total:>12,}  bytes would go to {repo}; add --yes to upload them")


if __name__ == "__main__":
    main()
