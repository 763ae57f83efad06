"""Curves, histograms and example triggers as SVG, from numbers to a picture. No other text gets in."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from reference.attacks import attack_named
from reference.datasets import DataSet
from reference.reproduction.cell import ROWS, Cell
from reference.reproduction.tables import METHODS

SIZE, LEFT, RIGHT, TOP, BOTTOM = 300.0, 54.0, 14.0, 26.0, 40.0
COLOURS: Final = {
    "dnn": "#7a7a7a",
    "df": "#b3541e",
    "bnn": "#7a3fa0",
    "bnn-clean": "#2f8f5b",
    "default": "#1d5fa8",
}
_DASHES: Final = {"dnn": "2 3", "df": "", "bnn": "6 3", "bnn-clean": "8 3 2 3", "default": ""}
_STYLE: Final = (
    "text{font:11px system-ui,sans-serif;fill:#333}.t{font-weight:600;font-size:12px}"
    ".g{stroke:#ddd}.a{stroke:#777}.c{fill:none;stroke-width:1.8}"
)
_SCALE: Final = 6
_EXAMPLES: Final = 4


def roc_svg(cell: Cell) -> str:
    """ROC curves of all rows of a cell."""
    lines = [(row, *cell.rows[row]["plots"]["roc"]) for row in ROWS if row in cell.rows]
    return _chart("ROC", "false alarms", "detected", lines)


def precision_recall_svg(cell: Cell) -> str:
    """Precision-recall curves of all rows of a cell."""
    lines = [(row, *cell.rows[row]["plots"]["precision_recall"]) for row in ROWS if row in cell.rows]
    return _chart("Precision and recall", "recall", "precision", lines)


def histogram_svg(cell: Cell, row: str) -> str:
    """Histogram of one row's scores: clean images filled, triggered ones outlined."""
    data = cell.rows[row]["plots"]["histogram"]
    counts = {kind: np.array(data[kind]) / max(sum(data[kind]), 1) for kind in ("clean", "triggered")}
    highest = max(float(c.max()) for c in counts.values()) or 1.0
    bins = len(data["clean"])
    label = "score" if data["scale"] == "linear" else f"{data['scale']} of the score"
    parts = [_frame(METHODS[row], label, "share of images", highest, (data["edges"][0], data["edges"][-1]))]
    width = (SIZE - LEFT - RIGHT) / bins
    for kind, colour in (("clean", "#1d5fa8"), ("triggered", "#b3541e")):
        for index, share in enumerate(counts[kind].tolist()):
            top = _y(share / highest)
            if share:
                parts.append(
                    f'<rect x="{LEFT + index * width:.1f}" y="{top:.1f}" width="{width - 0.5:.1f}" '
                    f'height="{SIZE - BOTTOM - top:.1f}" fill="{colour}" fill-opacity=".5"/>'
                )
    parts.append(_legend([("clean", "#1d5fa8", ""), ("triggered", "#b3541e", "")], SIZE - RIGHT - 80, TOP - 4))
    return _svg(parts, f"Histogram of the scores of {METHODS[row]}")


def example_png(data: DataSet, attack_name: str) -> bytes:
    """A few test images (top), with the trigger (middle), and the difference (bottom), enlarged; a PNG."""
    _, channels, height, width = data.test.images.shape
    attack = attack_named(attack_name, (channels, height, width))
    rows = torch.linspace(0, len(data.test) - 1, _EXAMPLES).round().long()
    clean = data.test.images[rows]
    triggered = attack.trigger.apply(clean)
    difference = (triggered.int() - clean.int()).abs().to(torch.uint8)
    gap = torch.full((channels, height, 2), 255, dtype=torch.uint8)
    strips = []
    for images in (clean, triggered, difference):
        tiles = [piece for image in images for piece in (image, gap)][:-1]
        strips += [torch.cat(tiles, dim=2), torch.full((channels, 2, (width + 2) * _EXAMPLES - 2), 255).to(torch.uint8)]
    sheet = torch.cat(strips[:-1], dim=1)
    pixels = (sheet[0] if channels == 1 else sheet.permute(1, 2, 0)).contiguous().numpy()
    picture = Image.fromarray(pixels)
    picture = picture.resize((picture.width * _SCALE, picture.height * _SCALE), Image.Resampling.NEAREST)
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def data_uri(png: bytes) -> str:
    """A PNG as part of a page."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _chart(title: str, x_label: str, y_label: str, lines: Sequence[tuple[str, Any, Any]]) -> str:
    parts = [_frame(title, x_label, y_label, 1.0, (0.0, 1.0))]
    for row, xs, ys in lines:
        points = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in zip(xs, ys, strict=True))
        parts.append(
            f'<polyline class="c" points="{points}" stroke="{COLOURS[row]}" stroke-dasharray="{_DASHES[row]}"/>'
        )
    parts.append(
        _legend(
            [(METHODS[row], COLOURS[row], _DASHES[row]) for row, _, _ in lines],
            SIZE - RIGHT - 140,
            SIZE - BOTTOM - 10 - 14 * (len(lines) - 1),
        )
    )
    return _svg(parts, f"{title}: {', '.join(METHODS[row] for row, _, _ in lines)}")


def _frame(title: str, x_label: str, y_label: str, highest: float, x_range: tuple[float, float]) -> str:
    parts = [f'<text class="t" x="{LEFT}" y="16">{title}</text>']
    for share in (0.0, 0.5, 1.0):
        y = _y(share)
        parts.append(f'<line class="g" x1="{LEFT}" x2="{SIZE - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{share * highest:.2g}</text>')
        value = x_range[0] + share * (x_range[1] - x_range[0])
        anchor = {0.0: "start", 0.5: "middle", 1.0: "end"}[share]
        parts.append(f'<text x="{_x(share):.1f}" y="{SIZE - BOTTOM + 14}" text-anchor="{anchor}">{value:.3g}</text>')
    parts.append(f'<line class="a" x1="{LEFT}" x2="{SIZE - RIGHT}" y1="{SIZE - BOTTOM}" y2="{SIZE - BOTTOM}"/>')
    middle = (LEFT + SIZE - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{SIZE - 8}" text-anchor="middle">{x_label}</text>')
    side = (TOP + SIZE - BOTTOM) / 2
    parts.append(f'<text transform="rotate(-90 11 {side})" x="11" y="{side}" text-anchor="middle">{y_label}</text>')
    return "".join(parts)


def _legend(entries: Sequence[tuple[str, str, str]], left: float, top: float) -> str:
    parts = []
    for index, (name, colour, dashes) in enumerate(entries):
        y = top + 14 * index
        parts.append(
            f'<line x1="{left}" x2="{left + 18}" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" stroke-width="3" '
            f'stroke-dasharray="{dashes}"/><text x="{left + 23}" y="{y}">{name}</text>'
        )
    return "".join(parts)


def _svg(parts: Sequence[str], summary: str) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE:.0f} {SIZE:.0f}" role="img"'
    ground = f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>'
    return f'{head} aria-label="{summary}">{ground}{"".join(parts)}</svg>'


def _x(share: float) -> float:
    return LEFT + (SIZE - LEFT - RIGHT) * share


def _y(share: float) -> float:
    return SIZE - BOTTOM - (SIZE - TOP - BOTTOM) * share
