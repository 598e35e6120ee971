"""A QGIS style (.qml) beside a class map: colours and class names in the legend."""

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.system.escape import xml_text


def class_style(classes: ClassSet, about: str = "") -> str:
    """The text of the style, which QGIS applies to a raster of the same name.

    QGIS reads a colour table of a GeoTIFF too, but no class names with it.

    Args:
      classes: names and colours.
      about: kept as a comment.
    """
    entries = "".join(
        f'<paletteEntry value="{k}" label="{xml_text(name)}" alpha="255" '
        f'color="#{r:02x}{g:02x}{b:02x}"/>'
        for k, (name, (r, g, b)) in enumerate(
            zip(classes.names, classes.palette, strict=True)
        )
    )
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        f"<!-- {xml_text(about)} -->\n"
        '<qgis version="3.0" styleCategories="Symbology"><pipe>'
        '<rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1">'
        f"<rasterTransparency/><colorPalette>{entries}</colorPalette>"
        "</rasterrenderer></pipe></qgis>\n"
    )
