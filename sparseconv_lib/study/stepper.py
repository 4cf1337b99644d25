"""Panels of which the page shows one at a time, chosen by a slider.

All panels stand in the page. Without `book/_static/interactive.js`, and in print, those that are
named stand below each other, each under its own heading, and there is no slider.
"""

import html
from collections.abc import Collection, Mapping


def stepper(
    name: str, label: str, panels: Mapping[str, str], first: str, still: Collection[str]
) -> str:
    """panels: what a position is called -> its HTML, in the slider's order.

    name: of this slider, which no other on the page has; label: what the slider moves; first: the
    position where it stands; still: the positions that are shown where nothing moves.
    """
    for position in (first, *still):
        if position not in panels:
            raise ValueError(f"{position} is none of {', '.join(panels)}")
    start = list(panels).index(first)
    control = (
        f'<p class="stepper-control" hidden><label for="{name}">{html.escape(label)}</label> '
        f'<input type="range" id="{name}" min="0" max="{len(panels) - 1}" value="{start}" '
        f'autocomplete="off" aria-valuetext="{html.escape(first)}"> '
        f'<output for="{name}">{html.escape(first)}</output></p>'
    )
    parts = []
    for position, body in panels.items():
        told = html.escape(position)
        kept = ' data-still=""' if position in still else " hidden"
        parts.append(
            f'<div class="stepper-panel" role="group" aria-label="{told}"{kept}>'
            f'<p class="stepper-position"><strong>{told}</strong></p>{body}</div>'
        )
    return f'<div class="stepper">{control}<div class="stepper-panels">{"".join(parts)}</div></div>'
