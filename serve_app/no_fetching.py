"""The page fetches no URL that a visitor names.

Gradio would: where a file is expected, a request may name a public address instead, and
`/gradio_api/file=` passes one on. Both go through safehttpx, and there they end.
"""

from __future__ import annotations

from typing import Any, NoReturn

import safehttpx

REFUSAL = "URLs are not fetched; upload the file itself"


async def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise ValueError(REFUSAL)


def forbid_fetching() -> None:
    """Make Gradio refuse every URL in this process, before it resolves the name."""
    safehttpx.get = safehttpx.async_validate_url = _refuse
