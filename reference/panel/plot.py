"""The panel as a picture: a column of dots for each detector, a dot for each cell that counts."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Final

from reference.panel.tables import DETECTION, DETECTORS, Result, counted, values

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 760, 320, 46, 30, 40
_COLOURS: Final = {
    "scnn": "#b3541e",
    "resnet20": "#1d5fa8",
    "vgg": "#2f8f5b",
    "mobilenet": "#7a3fa0",
    "vit": "#c2185b",
    "resnet18": "#7a7a7a",
    "digits-scnn": "#333333",
}
_STYLE: Final = "text{font:11px system-ui,sans-serif;fill:#333}.t{font-weight:600;font-size:12px}.g{stroke:#ddd}"


def detection_svg(results: Sequence[Result]) -> str:
    """Detection at 1% false alarms, 400 clean images a class; the bar is the mean. All names are this package's own."""
    good = counted(results)
    networks = [name for name in _COLOURS if any(result["cell"]["network"] == name for result in good)]
    step = (_WIDTH - _LEFT) / len(DETECTORS)
    parts = [f'<text class="t" x="{_LEFT}" y="16">Detection at 1% false alarms, a dot a cell</text>']
    for share in (0.0, 0.5, 1.0):
        parts.append(f'<line class="g" x1="{_LEFT}" x2="{_WIDTH}" y1="{_y(share):.1f}" y2="{_y(share):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{_y(share) + 4:.1f}" text-anchor="end">{share:.1f}</text>')
    for number, (name, title) in enumerate(DETECTORS.items()):
        middle = _LEFT + step * (number + 0.5)
        parts.append(f'<text x="{middle:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{title}</text>')
        for place, network in enumerate(networks):
            own = [result for result in good if result["cell"]["network"] == network]
            x = middle + step * 0.7 * ((place + 0.5) / len(networks) - 0.5)
            parts += [_dot(x, value, network) for value in values(own, name, 400, DETECTION)]
        every = values(good, name, 400, DETECTION)
        if every:
            y = _y(fmean(every))
            parts.append(
                f'<line x1="{middle - 0.4 * step:.1f}" x2="{middle + 0.4 * step:.1f}" y1="{y:.1f}" y2="{y:.1f}" '
                'stroke="#333" stroke-width="1.5"/>'
            )
    for place, network in enumerate(networks):
        x = _WIDTH - 90 * (len(networks) - place)
        parts.append(f'<circle cx="{x}" cy="12" r="4" fill="{_COLOURS[network]}"/>')
        parts.append(f'<text x="{x + 8}" y="16">{network}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="Detection at 1% false alarms of each detector in each cell"><style>{_STYLE}</style>'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _dot(x: float, value: float, network: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{_y(value):.1f}" r="4" fill="{_COLOURS[network]}" fill-opacity=".55"/>'


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share
