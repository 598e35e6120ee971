"""Import rules of docs/architecture.md, read from the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "crossearth_jax"
# From the ground up. A room or module imports from its own floor's rooms nothing but
# itself, and from the floors below whatever it needs.
FLOORS = (
    {"system", "pixels", "paper"},
    {"models", "losses", "data", "hub", "to_onnx"},
    {"earth_style", "scoring"},
    {"config", "optim", "train_step"},
    {"run_settings", "config_file", "config_keys", "paper_config", "report"},
    {"build", "build_data"},
    {"run"},
    {"evaluate", "predict", "features"},
    {"trust", "tiles", "view", "library"},
    {"train"},
    {"commands"},
    {"main"},
    {"cli"},
)
FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor}


def files(*folders: str) -> list[Path]:
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, lazily too; `from a import b` counts as a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(name: str) -> str:
    """The folder or module below the package that a dotted name is in."""
    return name.split(".")[1]


def test_every_room_has_a_floor():
    here = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    here |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert here == set(FLOOR_OF)


@pytest.mark.parametrize("path", files("crossearth_jax"), ids=str)
def test_imports_run_downwards(path):
    here = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    own = {name for name in imports(path) if name.startswith("crossearth_jax.")}
    others = {room(name) for name in own} - {here, "__version__"}
    # The package itself stands above all: it hands on the library.
    floor = len(FLOORS) if here == "__init__" else FLOOR_OF[here]
    assert not {other for other in others if FLOOR_OF[other] >= floor}


def test_the_root_is_the_spine():
    assert len(list(PACKAGE.glob("*.py"))) <= 14


def test_torch_only_in_converters_benchmarks_and_parity_tests():
    allowed = ("weights_convert", "benchmarks", "tests/parity", "tests/weights_convert")
    for path in files("crossearth_jax", "configs", "tests"):
        place = path.relative_to(ROOT).as_posix()
        if not place.startswith(allowed):
            roots = {name.split(".")[0] for name in imports(path)}
            assert not roots & {"torch", "transformers"}, place


def test_the_package_never_imports_the_converter():
    for path in files("crossearth_jax", "configs"):
        assert "weights_convert" not in {n.split(".")[0] for n in imports(path)}, path


def test_arithmetic_of_features_knows_no_run():
    for name in ("gap", "maps", "pca", "plot", "sample"):
        own = {n for n in imports(PACKAGE / f"features/{name}.py") if "_jax." in n}
        below = {"features", "data", "pixels", "scoring", "system"}
        assert {room(n) for n in own} <= below, name


# Who reads keys of a ConfigDict, and who only hands one over. All others take settings.
READERS = {
    "config",
    "config_file",
    "config_keys",
    "paper_config",
    "run_settings",
    "build",
}
READERS |= {"build", "commands/ablate", "main"}
CARRIERS = {"train", "run/trained", "run/released", "commands/replay", "commands/rerun"}


def declared(tree: ast.AST) -> list[tuple[str, str]]:
    """(name, annotation) of every argument and annotated variable or field."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            kind = node.annotation
            found.append((node.arg, ast.unparse(kind) if kind else ""))
        if isinstance(node, ast.AnnAssign):
            found.append((ast.unparse(node.target), ast.unparse(node.annotation)))
    return found


def configurations(tree: ast.AST) -> set[str]:
    """Names that hold a ConfigDict: declared as one, or read from a file."""
    names = {name for name, kind in declared(tree) if "ConfigDict" in kind}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            if ast.unparse(node.value.func) in ("config.load", "read_config"):
                names |= {ast.unparse(target) for target in node.targets}
    return names


@pytest.mark.parametrize("path", files("crossearth_jax"), ids=str)
def test_configuration_stops_at_the_entry_points(path):
    place = path.relative_to(PACKAGE).with_suffix("").as_posix()
    if place in READERS:
        return
    tree = ast.parse(path.read_text())
    held = configurations(tree)
    assert not held or place in CARRIERS
    assert "ml_collections" not in imports(path) or place in CARRIERS
    read = {
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and ast.unparse(node.value) in held
        and node.attr not in ("to_json", "to_dict")
    }
    assert not read, "take `RunSettings` instead"
    # What has no type could be one in disguise.
    loose = {name for name, kind in declared(tree) if kind in ("", "Any")}
    assert "config" not in loose
