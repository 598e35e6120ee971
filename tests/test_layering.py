"""Import rules of docs/architecture.md, read from the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "crossearth_jax"
# Leaf modules that everything may import.
LEAVES = {
    "crossearth_jax.compiling",
    "crossearth_jax.extras",
    "crossearth_jax.host_memory",
    "crossearth_jax.host_resize",
    "crossearth_jax.interpolate",
    "crossearth_jax.normalise",
    "crossearth_jax.picture_text",
    "crossearth_jax.progress",
    "crossearth_jax.rngs",
    "crossearth_jax.whole_file",
}


def imports(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, lazy ones too.

    `from a import b` counts as a.b where that is a module of ours.
    """
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                place = ROOT / name.replace(".", "/")
                ours = place.with_suffix(".py").exists() or place.is_dir()
                found.add(name if ours else node.module)
    return found


def files(*folders: str) -> list[Path]:
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*.py"))


def outside(path: Path, allowed: tuple[str, ...]) -> set[str]:
    """Own modules that a file imports and may not."""
    # The package itself, without a dot, holds nothing but its version.
    own = {name for name in imports(path) if name.startswith("crossearth_jax.")}
    return {
        name
        for name in own - LEAVES
        if not any(name == a or name.startswith(a + ".") for a in allowed)
    }


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        ("models", ("crossearth_jax.models",)),
        ("losses", ("crossearth_jax.losses",)),
        ("data", ("crossearth_jax.data",)),
        ("earth_style", ("crossearth_jax.earth_style", "crossearth_jax.data")),
        ("report", ("crossearth_jax.report", "crossearth_jax.data")),
    ],
)
def test_a_package_imports_only_what_stands_below_it(folder, allowed):
    paths = files(f"crossearth_jax/{folder}")
    assert len(paths) > 2
    wrong = {p.name: names for p in paths if (names := outside(p, allowed))}
    assert not wrong


def test_leaves_import_nothing_of_ours():
    for name in LEAVES:
        assert not outside(ROOT / f"{name.replace('.', '/')}.py", ())


def test_the_step_knows_no_entry_point():
    below = ("config", "data", "earth_style", "losses", "models")
    allowed = tuple(f"crossearth_jax.{name}" for name in below)
    assert not outside(PACKAGE / "train_step.py", allowed)
    assert not outside(PACKAGE / "optim.py", ("crossearth_jax.models",))
    for name in ("metrics", "sliding", "sharding", "run_log"):
        assert not outside(PACKAGE / f"{name}.py", ()), name


def test_torch_only_in_converters_benchmarks_and_parity_tests():
    allowed = ("weights_convert", "benchmarks", "tests/parity", "tests/weights_convert")
    for path in files("crossearth_jax", "configs", "tests"):
        place = path.relative_to(ROOT).as_posix()
        if not place.startswith(allowed):
            roots = {name.split(".")[0] for name in imports(path)}
            assert not roots & {"torch", "transformers"}, place


def test_package_never_imports_the_converter_but_lazily_in_cli():
    for path in files("crossearth_jax", "configs"):
        if path.name != "cli.py":
            assert "weights_convert" not in {n.split(".")[0] for n in imports(path)}
    top = ast.parse((PACKAGE / "cli.py").read_text()).body
    names = [ast.unparse(n) for n in top if isinstance(n, ast.Import | ast.ImportFrom)]
    assert not [name for name in names if "weights_convert" in name]


def test_features_stand_above_the_rest():
    """Nothing but the command line knows them; their arithmetic knows no run."""
    for path in files("crossearth_jax"):
        if path.parent.name != "features" and path != PACKAGE / "cli.py":
            assert not [n for n in imports(path) if ".features" in n], path
    below = tuple(f"crossearth_jax.{n}" for n in ("features", "data", "evaluate"))
    for name in ("contact_sheet", "gap", "maps", "pca", "plot", "sample"):
        assert not outside(PACKAGE / f"features/{name}.py", below), name


def test_configuration_stops_at_the_entry_points():
    """Only these may touch ConfigDict; below them arguments are explicit."""
    building = {"config", "build", "build_data", "describe"}
    allowed = building | {"train", "main", "cli", "ablate"}
    for path in files("crossearth_jax"):
        if "ml_collections" in {name.split(".")[0] for name in imports(path)}:
            assert path.parent == PACKAGE, path
            assert path.stem in allowed, path
