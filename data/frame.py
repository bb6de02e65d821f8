"""The frame: the size that a model knows drawings at."""

from translate.data.drawing_style import DrawingStyle

CLOSE = 1.25  # times larger or smaller than the frame, a drawing still has the scale of the training


def framed_size(height: int, width: int, style: DrawingStyle) -> tuple[int, int]:
    """Height and width at which a network sees a drawing: its own, unless its scale is far from the frame's.

    A drawing whose longer side is outside of 0.8 to 1.25 times the frame's longer side gets that side, keeping its
    aspect.
    """
    longer, wanted = max(height, width), max(style.height, style.width)
    if wanted <= longer * CLOSE and longer <= wanted * CLOSE:
        return height, width
    return max(1, round(height * wanted / longer)), max(1, round(width * wanted / longer))
