"""Uploads a built Space with huggingface_hub, or lists what would be uploaded."""

from __future__ import annotations

import re
from pathlib import Path

from cifar_model.errors import InputError

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def check_space(folder: Path, repo: str) -> list[Path]:
    """The files of a built Space, sorted; InputError for a folder or name that can't be one."""
    if not _REPO.fullmatch(repo):
        raise InputError(f"--repo {repo!r}: expected USER/NAME")
    missing = [n for n in ("README.md", "app.py", "requirements.txt") if not (folder / n).is_file()]
    if missing:
        raise InputError(
            f"{folder}: no {', '.join(missing)}; write it with python -m serve_app.space build"
        )
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )


def upload(folder: Path, repo: str) -> str:
    """Make the Space hold exactly this folder, creating it if need be; returns its address.

    The token is the usual one: HF_TOKEN, or that of `hf auth login`.
    """
    from huggingface_hub import HfApi
    from huggingface_hub import errors as hub

    api = HfApi()
    try:
        api.create_repo(repo, repo_type="space", space_sdk="gradio", exist_ok=True)
        api.upload_folder(
            repo_id=repo,
            repo_type="space",
            folder_path=folder,
            ignore_patterns=["**/__pycache__/**"],
            # What an earlier release left there goes in the same commit.
            delete_patterns=["*"],
            commit_message="Mirror of a release",
        )
    except (hub.HTTPError, hub.LocalTokenNotFoundError, OSError) as error:  # type: ignore[attr-defined]
        raise InputError(
            f"push to {repo} failed: {error}; it needs the network, and in HF_TOKEN a token that "
            "may write there"
        ) from error
    return f"https://huggingface.co/spaces/{repo}"
