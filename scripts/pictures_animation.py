"""Make the animation of the README from the running program: coarse, then sharp.

There must be a display (``scripts/headless`` makes one)::

    scripts/headless .venv/bin/python scripts/pictures_animation.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pictures import COLOURS, FOLDER, held_back, large_cells, pending, until, wait
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

SIZE = (400, 600)
STEP_MS = 160
COLOURS_KEPT = 96


def main() -> None:
    """Write ``sharpening.gif``."""
    with large_cells() as place:
        frames = [Image.fromarray(frame) for frame in film(place)]
    first, *others = [frame.quantize(COLOURS_KEPT) for frame in frames]
    first.save(
        FOLDER / "sharpening.gif",
        save_all=True,
        append_images=others,
        duration=[900, *[STEP_MS] * (len(others) - 1), 1800],
        loop=0,
    )


def film(place: Path) -> list[np.ndarray]:
    """Show a plane that arrives chunk by chunk, and another that was not asked for."""
    viewer, levels = held_back(place, (1200, 900), COLOURS)
    frames = []
    for z in (1, 2):
        viewer.dims.set_current_step(0, z)
        wait(1)
        for _ in range(40):
            frames.append(viewer.screenshot(size=SIZE, flash=False)[..., :3])
            if not pending(viewer):
                break
            levels[0].allow(6)
            until(lambda: not levels[0].allowed or not pending(viewer))
            wait(0.2)
    viewer.close()
    return frames


if __name__ == "__main__":
    main()
