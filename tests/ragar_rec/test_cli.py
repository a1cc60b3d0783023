import logging
import re
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import ragar_rec
from ragar_rec import cli
from ragar_rec.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pipeline(monkeypatch):
    """The pipeline's functions replaced by one that writes down how it was called, or raises ``pipeline.error``."""
    module = ModuleType("ragar_rec.pipeline")
    calls: list[tuple[object, ...]] = []
    state = SimpleNamespace(calls=calls, error=None)

    def step(name: str):
        def call(run: object, **named: object) -> None:
            calls.append((name, run, *named.items()))
            if state.error is not None:
                raise state.error

        return call

    module.Run = SimpleNamespace(open=lambda *given: given)  # pyright: ignore[reportAttributeAccessIssue]
    for name in cli.STEPS:
        setattr(module, name.replace("-", "_"), step(name))
    monkeypatch.setitem(sys.modules, "ragar_rec.pipeline", module)
    monkeypatch.setattr(cli, "_own_code", lambda error: None)  # What it raises stands for the library's exceptions.
    monkeypatch.setattr(ragar_rec, "pipeline", module, raising=False)
    return state


@pytest.mark.parametrize("step", list(cli.STEPS))
def test_every_command_calls_its_function_with_the_opened_run(pipeline, step):
    code = cli.main([step, "--config", "a.yaml", "--generator.k=3", "--data", "d", "--output=o", "--data_path=x"])
    run = (Path("a.yaml"), ["--generator.k=3", "--data_path=x"], Path("d"), None, Path("o"))
    assert (code, pipeline.calls) == (0, [(step, run)])


def test_augment_alone_takes_requests(pipeline, capsys):
    assert cli.main(["augment", "--requests", "wanted.csv", "--output=o"]) == 0
    run = (None, [], None, None, Path("o"))
    assert pipeline.calls == [("augment", run, ("requests", Path("wanted.csv")))]
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "--requests", "wanted.csv"])
    assert "unrecognised argument '--requests'" in capsys.readouterr().err


def test_defaults(pipeline):
    assert cli.main(["demo"]) == 0
    assert pipeline.calls == [("demo", (None, [], None, None, Path("output")))]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("the ratings file a.csv has no column `userId`"), "the ratings file a.csv has no column `userId`"),
        (KeyError("the catalogue has no item '7'"), "the catalogue has no item '7'"),
        (FileNotFoundError(2, "No such file or directory", "x.csv"), "No such file or directory: x.csv"),
        (PermissionError("cannot write to /o; name another folder"), "cannot write to /o; name another folder"),
        (ConfigError(["one", "two"]), "2 problems in the config:\n  one\n  two"),
        (ImportError("install the extra `gpu`"), "install the extra `gpu`"),
    ],
)
def test_an_exception_becomes_its_sentence_on_stderr(pipeline, capsys, error, words):
    pipeline.error = error
    assert cli.main(["evaluate"]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"ragar-rec: {words}\n"
    assert captured.out == ""


def test_an_exception_out_of_ones_own_module_names_its_file_and_line(tmp_path):
    """`oops` alone, which is all that a KeyError says, would be looked for in the library."""
    file = tmp_path / "shade.py"
    file.write_text("def generate():\n    return {}['oops']\n")
    names: dict = {}
    exec(compile(file.read_text(), str(file), "exec"), names)
    with pytest.raises(KeyError) as caught:
        names["generate"]()
    assert cli.sentence(caught.value) == "shade.py, line 2, raised KeyError: 'oops'; --debug shows the whole trace"


def test_what_our_packages_note_is_shown_once_and_nobody_elses(pipeline, capsys, monkeypatch):
    def evaluate(run: object) -> None:
        logging.getLogger("recsys.graphs.neighbours").info("%d of 100 found", 95)
        logging.getLogger("recsys.graphs.neighbours").info("95 of 100 found")
        logging.getLogger("recsys.graphs.neighbours").debug("a detail")
        logging.getLogger("generation.words.blip").warning("a hole")
        logging.getLogger("theirs").info("chatter")

    monkeypatch.setattr(ragar_rec.pipeline, "evaluate", evaluate)
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    for _ in range(2):  # nothing is left behind for the next command of this process
        assert cli.main(["evaluate"]) == 0
        assert capsys.readouterr().err == "95 of 100 found\na hole\n"
    assert (root.level, root.handlers) == before
    assert [logging.getLogger(name).handlers for name in ("ragar_rec", "recsys", "generation")] == [[], [], []]


def test_debug_adds_the_traceback(pipeline, capsys):
    pipeline.error = ValueError("no column")
    assert cli.main(["evaluate", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_mistake_of_ours_is_not_dressed_up_as_one_of_the_users(pipeline):
    pipeline.error = AttributeError("bug")
    with pytest.raises(AttributeError):
        cli.main(["evaluate"])


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(pipeline, capsys):
    pipeline.error = KeyboardInterrupt()
    assert cli.main(["train-ranker", "--output", "runs/a"]) == 130
    error = capsys.readouterr().err
    assert "stopped; finished stages are kept in runs/a, run the same command to continue" in error


@pytest.mark.parametrize("arguments", [["evaluate", "--epochs", "50"], ["evaluate", "more"], ["evalute"], []])
def test_what_is_no_setting_is_refused(pipeline, capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert not pipeline.calls
    assert "ragar-rec: error:" in capsys.readouterr().err


def test_a_reader_that_has_enough_is_no_error():
    """As `ragar-rec config | head -1` does: nothing on stderr, and the exit code that a shell gives."""
    command = [sys.executable, "-m", "ragar_rec.cli", "config"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_help_names_every_step_in_order_and_does_not_load_torch():
    code = "import sys; from ragar_rec import cli; cli.parser().print_help(); print('torch' in sys.modules)"
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert time.perf_counter() - began < 5  # 0.2 s on an idle machine
    found = [re.search(rf"\n    {step}\s", done.stdout) for step in cli.STEPS]
    places = [match.start() for match in found if match]
    assert len(places) == len(cli.STEPS)
    assert places == sorted(places)
    assert done.stdout.endswith("False\n")


def test_the_sections_and_the_example_in_the_help_are_those_of_the_config():
    from ragar_rec.config.config import sections
    from ragar_rec.config.schema import field_types

    assert all(re.search(rf"\b{name}\b", cli._KEYS) for name in sections())
    for section, key in re.findall(r"--(\w+)\.(\w+)=", cli._KEYS):
        assert key in field_types(sections()[section])
