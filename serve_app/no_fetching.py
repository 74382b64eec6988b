"""The page fetches no URL that a visitor names.

Gradio would: where a file is expected, a request may name a public address instead, and
`/gradio_api/file=` passes one on. Both go through safehttpx, and there they end.
"""

from __future__ import annotations

from typing import Any, NoReturn

import safehttpx
from gradio.exceptions import Error

REFUSAL = "URLs are not fetched; upload the file itself"


class UrlRefused(Error, ValueError):
    """Gradio shows the visitor an `Error`, and answers 403 to a ValueError."""

    def __init__(self) -> None:
        super().__init__(REFUSAL)
        self.print_exception = False  # in the log


async def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise UrlRefused


def forbid_fetching() -> None:
    """Make Gradio refuse every URL in this process, before it resolves the name."""
    safehttpx.get = safehttpx.async_validate_url = _refuse
