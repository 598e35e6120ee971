"""The front door: every command's help, its name, its exit status."""

import argparse
import os
import shlex
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import crossearth_jax
from crossearth_jax import cli, config_file, main
from crossearth_jax import train as training
from crossearth_jax.commands import configs
from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.parser import split_changes
from crossearth_jax.run.stop import Stopped
from crossearth_jax.system import extras
from crossearth_jax.system.output import UNREAD, until_unread

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_every_command_lists_its_options(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: crossearth {command} ")
    assert "--traceback" in shown and "--help" in shown


def unexplained(parser):
    """Options without a line of help, also of a command's own commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, one in action.choices.items():
                yield from (f"{name} {option}" for option in unexplained(one))
        elif not action.help:
            yield action.dest


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_option_is_explained(command, monkeypatch):
    def note(parser, *arguments):
        found.extend(unexplained(parser))
        raise SystemExit

    found = []
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", note)
    with pytest.raises(SystemExit):
        cli.main([command])
    assert not found


@pytest.mark.parametrize("group", ["prepare potsdam", "convert dinov2"])
def test_help_of_a_command_of_a_command(group, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*group.split(), "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: crossearth {group} ") and "--traceback" in shown


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_names_every_command(arguments, capsys):
    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: crossearth COMMAND")
    for command in cli.COMMANDS:
        assert f"\n  {command} " in shown


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ["configs", "--help", "train --help", "settings"])
def test_an_output_that_nobody_reads_ends_quietly(arguments):
    """As `crossearth configs | head -0`."""
    reading, writing = os.pipe()
    os.close(reading)
    code = "import sys; from crossearth_jax.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments.split()],
        stdout=writing,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    os.close(writing)
    # argparse keeps quiet about it where its text does not fit a buffer.
    assert done.returncode in ((0, UNREAD) if "train" in arguments else (UNREAD,))
    assert done.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_that_cannot_be_written_is_one_line(monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit, match=r"^error: the output .*No space left"):
            cli.main(["--version"])


def test_a_broken_pipe_of_something_else_is_an_error(capsys):
    def fail(options):
        raise BrokenPipeError(32, "a worker is gone")

    options = argparse.Namespace(traceback=False)
    assert until_unread(lambda: guarded(fail, options)) == 1
    assert "error: [Errno 32] a worker is gone" in capsys.readouterr().err
    options.traceback = True
    with pytest.raises(BrokenPipeError):
        until_unread(lambda: guarded(fail, options))


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"crossearth {crossearth_jax.__version__}\n"


@pytest.mark.parametrize("command", ["train", "eval"])
def test_what_may_change_reaches_the_run(command, monkeypatch):
    seen = []

    def run(config, workdir, allow_changes):
        seen.append((config.optim.lr, allow_changes))

    monkeypatch.setattr(training, "train", run)
    monkeypatch.setattr(training, "evaluate_run", run)
    flags = ["--config", "demo", "--config.optim.lr=0.5"]
    assert cli.main([command, *flags, "--allow-changes", "optim.lr, data"]) == 0
    assert cli.main([command, *flags]) == 0
    assert seen == [(0.5, ("optim.lr", "data")), (0.5, ())]


def test_an_unknown_command_is_wrong_usage(capsys):
    assert cli.main(["trian"]) == 2
    shown = capsys.readouterr().err
    assert "\n  style-statistics " in shown
    last = "\nerror: got command 'trian', expected one of these, such as train\n"
    assert shown.endswith(last)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train"],
        ["train", "--config", "demo", "--steps=3"],
        ["eval", "--config", "demo", "--mode=train"],
        ["ablate", "--config", "demo"],
        ["predict", "runs/demo"],
        ["prepare", "nothing"],
        ["convert", "nothing", "a", "b"],
        ["configs", "--to", "x.py"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert f"crossearth {arguments[0]}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["eval", "--config", "nothing"],
        ["ablate", "--config", "nothing", "--table=8"],
        ["predict", "nowhere", "a.tif", "--out=maps"],
        ["compare", "nowhere"],
        ["export", "nowhere", "--out=a.stablehlo"],
        ["report", "nowhere"],
        ["rerun", "nowhere"],
        ["replay", "nowhere"],
        ["features", "nowhere", "a.png", "--out=seen"],
        ["convert", "inspect", "nowhere"],
        ["prepare", "loveda", "--raw=nowhere", "--out=data"],
        ["style-statistics", "nowhere", "--weights=a", "--out=b"],
        ["configs", "--copy=nothing"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_wrong_input_is_1_in_one_line(arguments, tmp_path, monkeypatch, capsys):
    module = import_module(cli.COMMANDS[arguments[0]][0].partition(":")[0])
    for name in ("set_up_compiler", "keep_freed_memory"):
        monkeypatch.setattr(module, name, lambda: None, raising=False)
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "Traceback" not in error
    assert error.endswith("\n(--traceback shows where)\n")
    assert not list(tmp_path.iterdir())


def _raising(error):
    def run(options):
        raise error

    return run


@pytest.mark.parametrize("error", [ValueError("x"), OSError("x"), ImportError("x")])
def test_the_guard_shows_where_on_request(error, capsys):
    quiet, loud = (argparse.Namespace(traceback=value) for value in (False, True))
    assert guarded(_raising(error), quiet) == 1
    assert capsys.readouterr().err == "error: x\n(--traceback shows where)\n"
    with pytest.raises(type(error)):
        guarded(_raising(error), loud)


def test_the_guard_gives_what_a_command_gives(capsys):
    options = argparse.Namespace(traceback=False)
    assert guarded(lambda _: None, options) == 0
    assert guarded(lambda _: 1, options) == 1
    assert guarded(_raising(KeyboardInterrupt()), options, "halfway") == 130
    assert capsys.readouterr().err == "halfway\n"
    with pytest.raises(RuntimeError):  # a bug of ours is no wrong input
        guarded(_raising(RuntimeError()), options)


@pytest.fixture
def trained(monkeypatch):
    """Stands in for training and scoring; collects what is asked for."""
    asked = []
    monkeypatch.setattr(main, "_set_up_process", lambda: None)
    for name in ("train", "evaluate_run"):

        def run(config, place, allow_changes, name=name):
            asked.append((name, place))

        monkeypatch.setattr(training, name, run)
    return asked


@pytest.mark.parametrize(
    ("start", "mode"),
    [
        (lambda rest: cli.main(["train", *rest]), "train"),
        (lambda rest: cli.main(["eval", *rest]), "evaluate_run"),
        (main.main, "train"),
        (lambda rest: main.main(["--mode=eval", *rest]), "evaluate_run"),
    ],
    ids=["train", "eval", "module", "module, eval"],
)
def test_every_door_leads_to_the_same_run(trained, start, mode):
    assert start(["--config=demo:quick"]) == 0
    assert start(["--config", "demo", "--config.workdir", "a", "--nodistributed"]) == 0
    assert start(["--config", "demo", "--config.workdir", "a", "--workdir=b"]) == 0
    assert trained == [(mode, Path(p)) for p in ("runs/demo_quick", "a", "b")]


def test_a_run_that_is_asked_to_stop_is_done(trained, monkeypatch, capsys):
    def stopped(config, workdir, allow_changes):
        raise Stopped

    monkeypatch.setattr(training, "train", stopped)
    arguments = ["--config=demo", "--workdir", "a run"]
    assert cli.main(["train", *arguments]) == 0
    assert main.main(arguments) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1::2] == [
        f"  crossearth train {shlex.join(arguments)}",
        f"  python -m crossearth_jax.main {shlex.join(arguments)}",
    ]


def test_changes_are_taken_out_of_a_command_line():
    line = "--config x --config.a=1 --workdir y --config.b 2 --config.c --noconfig.d"
    changes, rest = split_changes([*line.split(), "--host", "0", "--config.e", "-1"])
    assert changes == [
        *("--config.a=1", "--config.b=2", "--config.c", "--noconfig.d"),
        "--config.e=-1",
    ]
    assert rest == ["--config", "x", "--workdir", "y", "--host", "0"]


def test_commands_are_imported_when_they_run():
    """Worker processes of `prepare` import the front door again."""
    heavy = "jax", "numpy", "ml_collections", "crossearth_jax.commands"
    code = (
        "import sys, crossearth_jax.cli\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT)
    assert shown.stdout == b"[]\n"


def test_configs_are_listed_with_their_first_lines(capsys):
    assert cli.main(["configs"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown] == [
        path.stem for path in config_file.packaged_files()
    ]
    assert "  Your own images: folders of images" in shown[3]


def test_a_configuration_is_copied_and_then_found_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert config_file.find("casid") == config_file.packaged() / "casid.py"
    assert cli.main(["configs", "--copy", "casid"]) == 0
    copy = Path("configs/casid.py")
    assert f"wrote {copy}" in capsys.readouterr().out
    assert copy.read_bytes() == (ROOT / copy).read_bytes()
    assert config_file.find("casid") == copy
    copy.write_text("# mine")
    assert cli.main(["configs", "--copy", "casid.py"]) == 1
    assert "is there already" in capsys.readouterr().err
    assert copy.read_text() == "# mine"
    assert configs.copy("demo", Path("mine.py")) == Path("mine.py")
    assert configs.copy("demo", Path("configs")) == Path("configs/demo.py")
    with pytest.raises(ValueError, match=r"a path ending in \.py"):
        configs.copy("demo", Path("mine"))


def test_the_wheel_has_every_package_and_the_configurations():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in ("crossearth_jax", "weights_convert")
        for path in (ROOT / package).rglob("__init__.py")
    }
    tools = project["tool"]["setuptools"]
    assert set(tools["packages"]) == {*found, "crossearth_jax.configs"}
    assert tools["package-dir"] == {"crossearth_jax.configs": "configs"}
    data = tools["package-data"]["crossearth_jax"]
    carried = [set((ROOT / "crossearth_jax").glob(name)) for name in data]
    assert all(carried)
    others = {".json", ".css", ".js", ".html", ".typed"}
    paths = (ROOT / "crossearth_jax").rglob("*")
    files = {p for p in paths if p.suffix in others or p.name == "py.typed"}
    assert files <= set.union(*carried)


def test_what_is_missing_is_installed_from_the_clone_or_by_name(tmp_path, monkeypatch):
    assert extras.install_command("geo") == f"pip install -e '{ROOT}[geo]'"
    monkeypatch.setattr(extras, "ROOT", tmp_path)
    wanted = ["jax>=0.10", "rasterio>=1.4; extra == 'geo'", 'torch; extra == "convert"']
    monkeypatch.setattr(extras.metadata, "requires", lambda name: wanted)
    assert extras.install_command("geo") == "pip install 'rasterio>=1.4'"
    assert extras.install_command("convert") == "pip install torch"
