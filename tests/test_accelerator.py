"""`benchmarks.accelerator`: targets, compilers, page; the guard of what it counts."""

import json
from pathlib import Path

import jax
import pytest

from benchmarks.accelerator import __main__ as command
from benchmarks.accelerator import page, plugins, report
from benchmarks.accelerator.compiling import abstract_network, compiled, mesh_of
from benchmarks.accelerator.targets import targets
from benchmarks.document import PAGE
from benchmarks.our_side import benchmark_config

GOLDEN = Path(__file__).parent / "golden" / "accelerator.json"
NUM_CLASSES = 5
HELD = {
    "cuda": ("kernels", "loops", "modelled_ms"),
    "tpu": ("loops", "modelled_ms", "code_bytes", "peak_bytes"),
}
for_h100 = pytest.mark.accelerator(compiles_for="cuda")
for_v5e = pytest.mark.accelerator(compiles_for="tpu")


# ---- guard --------------------------------------------------------------------------


def check(name: str, config, what: str, key: str = "h100") -> None:
    target = targets()[key]
    found = report.figures(compiled(config, NUM_CLASSES, what, target, 1), target)
    held = {key: found[key] for key in HELD[target.platform]}
    known = json.loads(GOLDEN.read_text())
    if jax.__version__ not in known:
        pytest.skip(
            f"tests/golden/accelerator.json has no counts of jax {jax.__version__}: "
            f"add {json.dumps({name: held})}"
        )
    assert held == pytest.approx(known[jax.__version__][name], rel=0.05), (
        f"{name}: if that is meant, write it into tests/golden/accelerator.json and "
        f"the reason into the commit; what it is now: {report.shown(found)}"
    )


@for_h100
def test_small_scores_have_not_changed_unnoticed(tiny_config):
    check("scores of tests/tiny.py", tiny_config(), "scores")


@for_h100
@pytest.mark.slow
def test_the_step_of_vit_large_has_not_changed_unnoticed():
    config = benchmark_config("vit_large", 512, precision="bfloat16")
    check("step of vit_large", config, "step")


@for_h100
@pytest.mark.slow
def test_gpus_exchange_gradients_alone(tiny_config):
    """Every image stays on its device: what is gathered would grow with the devices.

    Without styles, whose branch gathers; see docs/performance.md.
    """
    target, config = targets()["h100"], tiny_config(**{"style.probability": 0.0})
    made = compiled(config, NUM_CLASSES, "step", target, 2)
    exchanged = report.figures(made, target)["collectives"]
    assert set(exchanged) == {"all-reduce"}
    trained = abstract_network(config, NUM_CLASSES).trainable
    size = sum(4 * x.size for x in jax.tree.leaves(trained))
    assert size < exchanged["all-reduce"] < 1.05 * size + 1000


@for_v5e
@pytest.mark.slow
def test_a_small_step_on_a_tpu_has_not_changed_unnoticed(tiny_config):
    check("step of tests/tiny.py on a v5e", tiny_config(), "step", "v5e")


# ---- command line -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["h200x", "step"], "invalid choice: 'h200x'"),
        (["h100", "step", "--devices", "0"], "got 0, expected 1 or more"),
        (["h100", "step", "--devices", "2"], "got --batch 1 on 2 devices, expected"),
        (["h100", "step", "--json", "/nowhere/a.json"], "a folder that exists"),
    ],
)
def test_options_that_cannot_work_are_refused_at_once(given, message, capsys):
    with pytest.raises(SystemExit):
        command.parse(given)
    assert message in capsys.readouterr().err


def test_a_missing_compiler_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr(plugins, "version", lambda _: None)
    with pytest.raises(SystemExit, match=r"got no libtpu, expected .*aot-tpu"):
        command.main(["v5e", "step", "--variant", "vit_tiny"])


def test_the_command_is_told_with_its_figures():
    given = ["h100", "scores", "--crop", "1024", "--remat", "--three-passes"]
    options = command.parse(given)
    assert command.parse(command.command(options).split()[3:]) == options
    assert (
        command.name(options)
        == "h100 scores, 1024², batch 1, bfloat16, float32 in three passes, "
        "blocks recomputed"
    )


@pytest.fixture
def little_effort():
    jax.config.update("jax_optimization_level", "O1")
    yield
    jax.config.update("jax_optimization_level", "UNKNOWN")


@pytest.mark.usefixtures("little_effort")
def test_the_compiler_s_effort_is_told_where_it_is_not_the_usual_one():
    options = command.parse(["v5e", "step"])
    start = "JAX_OPTIMIZATION_LEVEL=O1 python -m benchmarks.accelerator v5e step "
    assert command.command(options).startswith(start)
    assert command.name(options).endswith("bfloat16, JAX_OPTIMIZATION_LEVEL=O1")


# ---- targets ------------------------------------------------------------------------


def test_modelled_rates_are_below_the_makers():
    for target in targets().values():
        for kind, peak in target.peak.items():
            assert 0.75 * peak < target.tflops[kind] < peak, target.key
        assert target.source and target.memory and target.bandwidth


def test_a_kernel_takes_the_longest_of_three():
    h100 = targets()["h100"]
    assert h100.seconds(0, {}, 2e-6) == 2e-6
    assert h100.seconds(3352e9, {}, 2e-6) == 1
    assert h100.seconds(0, {"half": 400e12, "float32": 30e12}, 2e-6) == 1


@for_h100
@pytest.mark.parametrize(
    "key", [k for k, target in targets().items() if target.platform == "cuda"]
)
def test_xla_takes_the_description_of_every_gpu(key):
    mesh = mesh_of(targets()[key], 2)
    assert mesh.size == 2
    description = targets()[key].description
    assert mesh.devices.flat[0].device_kind in description


@for_v5e
@pytest.mark.parametrize(
    ("key", "devices"),
    [(k, int(n)) for k, target in targets().items() for n in target.topologies or ()],
)
def test_every_topology_has_its_chips(key, devices):
    assert mesh_of(targets()[key], devices).size == devices


def test_a_tpu_has_no_other_numbers_of_chips():
    with pytest.raises(ValueError, match="got 3 devices of v5e, expected 1, 4, 8, 16"):
        mesh_of(targets()["v5e"], 3)


# ---- compilers ----------------------------------------------------------------------

HERE = {
    "jax-cuda13-plugin": jax.__version__,
    "jax-cuda13-pjrt": jax.__version__,
    "nvidia-cudnn-cu13": "9.28.1.4",
}


@pytest.mark.parametrize(
    ("installed", "message"),
    [
        (
            {},
            rf"got no jax-cuda13-plugin, expected {jax.__version__}, as jax .*aot-cuda",
        ),
        (
            HERE | {"jax-cuda13-pjrt": "0.1.2"},
            rf"got jax-cuda13-pjrt 0\.1\.2, expected {jax.__version__}, as jax",
        ),
        (
            HERE | {"nvidia-cudnn-cu13": None},
            "got no nvidia-cudnn-cu13, expected one to compile for cuda: pip install",
        ),
    ],
)
def test_a_compiler_of_another_jax_is_refused(monkeypatch, installed, message):
    monkeypatch.setattr(plugins, "version", installed.get)
    with pytest.raises(ImportError, match=message):
        plugins.check_plugin("cuda")


def test_the_compiler_of_this_jax_is_taken(monkeypatch):
    monkeypatch.setattr(plugins, "version", HERE.get)
    plugins.check_plugin("cuda")


def test_the_version_of_libtpu_is_what_jax_asks_for(monkeypatch):
    asked = ['libtpu==0.0.42.*; extra == "tpu"', 'requests; extra == "tpu"']
    monkeypatch.setattr(plugins.metadata, "requires", lambda _: asked)
    for found in ("0.0.42", "0.0.43.1", "0.0.4"):
        monkeypatch.setattr(plugins, "version", lambda _, found=found: found)
        with pytest.raises(ImportError, match=r"expected 0\.0\.42\.\*, as jax"):
            plugins.check_plugin("tpu")
    monkeypatch.setattr(plugins, "version", lambda _: "0.0.42.1")
    plugins.check_plugin("tpu")
    monkeypatch.setattr(plugins.metadata, "requires", lambda _: [])
    plugins.check_plugin("tpu")


# ---- page ---------------------------------------------------------------------------

FIGURES = {
    "target": "h100",
    "kernels": 4000,
    "loops": 12,
    "bytes": 37e9,
    "flops": {"half": 3.2e12, "float32": 0.06e12, "tf32": 1e6},
    "modelled_ms": 16.3,
    "peak_bytes": 2.85e9,
    "collectives": {},
    "modules": {
        "models/rein.py": {"modelled_ms": 3, "kernels": 10, "bytes": 2e9},
        "weights of rein": {"modelled_ms": 2, "kernels": 1, "bytes": 1e9},
    },
}


def test_the_page_has_the_kept_figures():
    text = PAGE.read_text()
    assert page.filled(text, page.stored()) == text
    shown = [match[2] for match in page.PLACE.finditer(text)]
    assert shown == ["gpu", "modules", "tpu"]


def test_before_and_now_stand_beside_each_other():
    now = FIGURES | {"kernels": 2000, "loops": 0}
    text = page.gpus({"a step": {"before": FIGURES, "now": now}})
    row = text.splitlines()[-1]
    cells = "a step | 4,000 → 2,000 | 12 → 0 | 37 | 3.2, 0.06 float32 | 16.3 | 25 %"
    assert row == f"| {cells} | 2.85 | - |"
    text = page.gpus({"a step": {"before": FIGURES}})
    assert text.splitlines()[-1].startswith("| a step (before) | 4,000 |")


def test_modules_stand_by_their_time_and_what_is_gone_comes_last():
    gone = FIGURES | {"modules": {"optim.py": FIGURES["modules"]["weights of rein"]}}
    text = page.modules({"a step": {"before": FIGURES, "now": gone}})
    assert text.splitlines()[-3:] == [
        "| optim.py | 0 → 2.00 | 0 → 1 | 0 → 1.00 |",
        "| models/rein.py | 3.00 → 0 | 10 → 0 | 2.00 → 0 |",
        "| weights of rein | 2.00 → 0 | 1 → 0 | 1.00 → 0 |",
    ]
    text = page.modules({"a step": {"before": FIGURES}})
    assert "| models/rein.py | 3.00 | 10 | 2.00 |" in text


def test_figures_are_kept_beside_the_others_summed_by_module(tmp_path):
    path, each = tmp_path / "figures.json", {"modelled_ms": 1, "kernels": 2, "bytes": 8}
    places = dict.fromkeys(
        ["a.py:f", "b.py:f", "b.py:g.lambda", "weights of c.d"], each
    )
    page.keep(path, "step", "before", {"kernels": 8, "places": places})
    page.keep(path, "step", "now", {"kernels": 1})
    page.keep(path, "scores", "now", {"kernels": 2})
    found = json.loads(path.read_text())
    modules = found["step"]["before"].pop("modules")
    assert found == {
        "step": {"before": {"kernels": 8}, "now": {"kernels": 1}},
        "scores": {"now": {"kernels": 2}},
    }
    assert list(modules) == ["b.py", "a.py", "weights of c"]
    assert modules["b.py"] == {"modelled_ms": 2, "kernels": 4, "bytes": 16}
