"""What set an action off.

An action that several things set off is one for Gradio, which runs it again when one of them comes
while it runs: so the last answer on the page is of what stands there now.
"""

from __future__ import annotations

import gradio as gr


def set_off_by(event: gr.EventData, *components: gr.blocks.Block) -> bool:
    """Whether one of these did; for a script's call none did."""
    # By number: each visitor has copies of those that were changed for them.
    target = event.target
    return target is not None and target._id in [component._id for component in components]
