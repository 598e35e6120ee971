"""Text in pictures."""

from functools import cache

from PIL import ImageDraw, ImageFont

INK, PAPER = (32, 32, 32), (255, 255, 255)
TEXT = 15  # height of letters, pixels
LONGEST = 300  # characters; more never fit, and measuring them takes long
LINE = TEXT + 7
GAP = 12


@cache
def font_of(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, which is available everywhere."""
    return ImageFont.load_default(size=size)


def write_line(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    width: int,
    size: int = TEXT,
) -> None:
    """One line of text, shortened with dots where it is too long."""
    font = font_of(size)
    text = "".join(c if c.isprintable() else "?" for c in text[:LONGEST])
    if font.getlength(text) > width:
        while text and font.getlength(text + "...") > width:
            text = text[:-1]
        text += "..."
    draw.text(place, text, fill=INK, font=font)
