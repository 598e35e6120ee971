"""Class sets of the paper's eight data sets: names, and colours of predictions.

Ids are those of the prepared labels, 0..K-1 in this order (docs/data.md); reports
list names in the order of the paper's columns.
"""

from crossearth_jax.data.classes import ClassSet

BLACK, WHITE, RED = (0, 0, 0), (255, 255, 255), (255, 0, 0)
GREEN, BLUE = (0, 255, 0), (0, 0, 255)
YELLOW, CYAN = (255, 255, 0), (0, 255, 255)

# Potsdam and Vaihingen, in the colours of their label files (Table 3).
ISPRS = ClassSet(
    names=("surface", "building", "low vegetation", "tree", "car", "clutter"),
    palette=(WHITE, BLUE, CYAN, GREEN, YELLOW, RED),
    clutter=5,
)

# Potsdam and RescueNet on common classes (Tables 2 and 6). Clutter is most of a
# RescueNet scene (bare ground, water), a class like the others.
ISPRS5 = ClassSet(
    names=("surface", "building", "vegetation", "car", "clutter"),
    palette=(WHITE, BLUE, GREEN, YELLOW, RED),
)

LOVEDA = ClassSet(
    names=(
        "background",
        "building",
        "road",
        "water",
        "barren",
        "forest",
        "agriculture",
    ),
    palette=(WHITE, RED, YELLOW, BLUE, (159, 129, 183), GREEN, (255, 195, 128)),
)

# WHU aerial and satellite II.
BUILDING = ClassSet(
    names=("background", "building"), palette=(BLACK, WHITE), foreground=1
)

# DeepGlobe and Massachusetts.
ROAD = ClassSet(names=("background", "road"), palette=(BLACK, WHITE), foreground=1)

CASID = ClassSet(
    names=("background", "building", "forest", "road", "water"),
    palette=(BLACK, YELLOW, (85, 255, 0), RED, (0, 112, 255)),
)

# What `data.classes` may name instead of a class file.
KNOWN_CLASSES = {
    "isprs": ISPRS,
    "isprs5": ISPRS5,
    "loveda": LOVEDA,
    "building": BUILDING,
    "road": ROAD,
    "casid": CASID,
}


def class_set(given: str, count: int) -> ClassSet:
    """The classes that a user names, for a head of so many.

    Args:
      given: a name of `KNOWN_CLASSES`, or a class file.
      count: of the head's classes.

    Raises:
      ValueError: there is no such file, or it has another number of classes.
    """
    known = KNOWN_CLASSES.get(given)
    classes = known or ClassSet.from_file(given)
    if len(classes.names) != count:
        raise ValueError(
            f"got {len(classes.names)} classes in {given} for a network that has "
            f"{count}, expected as many: name every class, in the order of its ids"
        )
    return classes
