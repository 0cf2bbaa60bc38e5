"""Small pictures as SVG, drawn on the server: no script is needed to see them."""

from collections.abc import Sequence

WIDTH, HEIGHT = 120, 28


def sparkline(values: Sequence[float], slots: int) -> tuple[str, str]:
    """Points of a line and of the area under it, newest at the right edge.

    Args:
        values: not negative; at most `slots` of them count, the newest.
        slots: how many the whole width holds.

    Returns:
        The `points` of a polyline and of a polygon in a WIDTH x HEIGHT box; empty without values.
    """
    shown = list(values[-slots:])
    if not shown:
        return "", ""
    top = max(*shown, 1e-9)
    step = WIDTH / max(slots - 1, 1)
    start = WIDTH - step * (len(shown) - 1)
    points = [
        (round(start + step * i, 1), round(HEIGHT - 2 - (HEIGHT - 4) * value / top, 1))
        for i, value in enumerate(shown)
    ]
    line = " ".join(f"{x},{y}" for x, y in points)
    return line, f"{points[0][0]},{HEIGHT} {line} {points[-1][0]},{HEIGHT}"
