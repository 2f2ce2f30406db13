"""Small inline pictures for the report. Colours come from the page's style sheet, so that they follow light and dark."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape

from hazy_pipeline.evaluate.distributions import Bar, Distribution

WIDTH = 260
HISTOGRAM_HEIGHT = 96
ROW_HEIGHT = 19
LABEL_WIDTH = 96
LEVELS = 20  # steps of a heat map's colour


def draw(distribution: Distribution) -> Markup:
    """A column's histogram or its bars per category: real filled, synthetic outlined or below it."""
    if distribution.is_histogram:
        return _histogram(distribution) if distribution.bars else Markup("")
    return _category_bars(distribution.bars)


def heat_map(values: np.ndarray, names: Sequence[str], *, labels: bool = True) -> Markup:
    """A square matrix of values in [-1, 1]: stronger colour for larger ones, another hue below zero."""
    n = len(names)
    cell = float(np.clip(330 / max(n, 1), 12, 26))
    margin = min(7 * max((len(_short(name)) for name in names), default=0), 110) if labels else 0
    size = margin + n * cell
    parts = [_open(size, size, "heat map of associations", "heat")]
    for i in range(n):
        if labels:
            y, short = margin + (i + 0.5) * cell, escape(_short(names[i]))
            font = min(cell * 0.75, 11)
            parts.append(f'<text x="{margin - 5:.1f}" y="{y + font / 3:.1f}" font-size="{font:.1f}" '
                         f'text-anchor="end">{short}</text>'
                         f'<text transform="translate({y + font / 3:.1f} {margin - 5:.1f}) rotate(-90)" '
                         f'font-size="{font:.1f}">{short}</text>')  # fmt: skip
        for j in range(n):
            level = round(abs(float(values[i, j])) * LEVELS)
            if level == 0:
                continue
            hue = "minus" if values[i, j] < 0 else "plus"
            parts.append(f'<rect class="{hue}" x="{margin + j * cell:.1f}" y="{margin + i * cell:.1f}" '
                         f'width="{cell - 0.6:.1f}" height="{cell - 0.6:.1f}" fill-opacity="{level / LEVELS:.2f}">'
                         f"<title>{escape(names[i])} and {escape(names[j])}: {values[i, j]:.2f}</title></rect>")  # fmt: skip
    parts.append(
        f'<rect class="frame" x="{margin:.1f}" y="{margin:.1f}" width="{n * cell:.1f}" height="{n * cell:.1f}"/>'
    )
    return Markup("".join(parts) + "</svg>")  # noqa: S704  everything from the data went through escape


def score_bar(value: float, error: float, limit: float | None) -> Markup:
    """A value in [0, 1] as a bar with its standard error, and a mark where real data stand."""
    width, height = 220, 18
    low, high = (float(np.clip(value + side * error, 0, 1)) * width for side in (-1, 1))
    parts = [
        _open(width, height, f"{value:.3f} of 1", "score"),
        f'<rect class="track" y="5" width="{width}" height="8" rx="4"/>',
        f'<rect class="value" y="5" width="{max(value * width, 4):.1f}" height="8" rx="4"/>',
        f'<line class="error" x1="{low:.1f}" x2="{high:.1f}" y1="9" y2="9"/>',
    ]
    if limit is not None:
        at = float(np.clip(limit * width, 1, width - 1))
        parts.append(f'<line class="limit" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{height}"/>')
    return Markup("".join(parts) + "</svg>")  # noqa: S704  numbers alone


def _open(width: float, height: float, label: str, kind: str) -> str:
    return f'<svg class="{kind}" viewBox="0 0 {width:.1f} {height:.1f}" role="img" aria-label="{escape(label)}">'


def _histogram(distribution: Distribution) -> Markup:
    bars, height = distribution.bars, HISTOGRAM_HEIGHT
    top = max([share for bar in bars for share in (bar.real, bar.synthetic) if share is not None] or [0.0]) or 1.0
    step = WIDTH / len(bars)
    parts = [_open(WIDTH, height + 18, f"distribution of {distribution.name}", "histogram")]
    path = f"M0 {height}"
    for i, bar in enumerate(bars):
        real, synthetic = ((share or 0.0) / top * (height - 6) for share in (bar.real, bar.synthetic))
        parts.append(f'<rect class="real" x="{i * step:.1f}" y="{height - real:.1f}" width="{step - 0.8:.1f}" '
                     f'height="{real:.1f}"><title>{escape(_told(bar))}</title></rect>')  # fmt: skip
        path += f"V{height - synthetic:.1f}H{(i + 1) * step:.1f}"
    parts.append(f'<path class="synthetic-line" d="{path}V{height}"/>')
    parts.append(f'<line class="axis" x1="0" x2="{WIDTH}" y1="{height}" y2="{height}"/>')
    for place, anchor, tick in zip((0, WIDTH / 2, WIDTH), ("start", "middle", "end"), distribution.ticks, strict=True):
        parts.append(f'<text x="{place:.0f}" y="{height + 13}" text-anchor="{anchor}">{escape(tick)}</text>')
    return Markup("".join(parts) + "</svg>")  # noqa: S704  everything from the data went through escape


def _category_bars(bars: Sequence[Bar]) -> Markup:
    if not bars:
        return Markup("")
    top = max([share for bar in bars for share in (bar.real, bar.synthetic) if share is not None] or [0.0]) or 1.0
    room = WIDTH - LABEL_WIDTH - 40
    parts = [_open(WIDTH, ROW_HEIGHT * len(bars), "shares of categories", "categories")]
    for i, bar in enumerate(bars):
        y = i * ROW_HEIGHT
        parts.append(f"<g><title>{escape(_told(bar))}</title>"
                     f'<text x="{LABEL_WIDTH - 6}" y="{y + 12.5}" text-anchor="end">{escape(_short(bar.label, 16))}</text>')  # fmt: skip
        for kind, share, offset in (("real", bar.real, 2.5), ("synthetic", bar.synthetic, 9)):
            width = (share or 0.0) / top * room
            parts.append(
                f'<rect class="{kind}" x="{LABEL_WIDTH}" y="{y + offset}" width="{width:.1f}" height="6" rx="1"/>'
            )
        longest = max(bar.real or 0.0, bar.synthetic or 0.0) / top * room
        parts.append(
            f'<text class="share" x="{LABEL_WIDTH + longest + 5:.1f}" y="{y + 12.5}">{percent(bar.synthetic)}</text></g>'
        )
    return Markup("".join(parts) + "</svg>")  # noqa: S704  everything from the data went through escape


def percent(share: float | None) -> str:
    """As a person reads it: no more digits than matter."""
    if share is None:
        return "few"
    return f"{share:.0%}" if share >= 0.1 or share == 0 else f"{share:.1%}"


def _told(bar: Bar) -> str:
    return f"{bar.label}: real {percent(bar.real)}, synthetic {percent(bar.synthetic)}"


def _short(text: str, length: int = 18) -> str:
    text = " ".join(text.split()) or "(blank)"
    return text if len(text) <= length else text[: length - 1] + "…"
