"""Pictures to click that installed packages bring along; none is copied into this project."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

# Package -> files in it.
SHIPPED = {
    "gradio": (
        "media_assets/images/cheetah1.jpg",
        "media_assets/images/lion.jpg",
        "media_assets/images/bus.png",
        "media_assets/images/tower.jpg",
    ),
    "skimage": ("data/chelsea.png", "data/rocket.jpg", "data/coffee.png"),
}


def shipped_pictures() -> list[Path]:
    """Those of them that are on this machine."""
    paths = []
    for package, files in SHIPPED.items():
        spec = find_spec(package)
        for root in (spec.submodule_search_locations or []) if spec else []:
            paths += [Path(root) / name for name in files if (Path(root) / name).is_file()]
    return paths
