"""The command line as a whole: verbs, flags, exit codes, streams, and a start without torch."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import bench.cli
from bench.api.errors import PrerequisiteError, StoreError, UsageError
from bench.cli import main
from bench.cli._parser import kebab
from bench.cli._verbs import VERBS

ROOT = Path(__file__).parents[2]
FOLDER = Path(bench.cli.__file__).parent


def in_fresh_process(*argv: str) -> tuple[int, set[str]]:
    """Run `main(argv)` in a new interpreter; return its exit code and the heavy modules loaded."""
    code = (
        "import sys; from bench.cli import main; code = main(sys.argv[1:]); "
        "heavy = {'torch', 'diffusers', 'transformers', 'scipy'} & set(sys.modules); "
        "print(code, *heavy, sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *argv], cwd=ROOT, capture_output=True, text=True, check=True
    )
    first, *heavy = done.stderr.strip().splitlines()
    return int(first), set(heavy)


@pytest.mark.parametrize(
    "argv",
    [
        ("--help",),
        ("--version",),
        *((verb, "--help") for verb in VERBS),
        *(("list", what) for what in ("methods", "evaluators", "backends", "tables")),
    ],
    ids=" ".join,
)
def test_starts_without_torch(argv: tuple[str, ...]) -> None:
    assert in_fresh_process(*argv) == (0, set())


def test_the_list_of_verbs_is_the_files() -> None:
    files = {file.stem for file in FOLDER.glob("*.py") if not file.stem.startswith("_")}
    assert set(VERBS) == files


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"    {verb} " in shown for verb in VERBS)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "required: VERB"),
        (["lisst"], "unknown verb 'lisst'. Did you mean 'list'"),
        (["list", "method"], "unknown value 'method'. Did you mean 'methods'?"),
        (["list", "methods", "--jsn"], "unknown option '--jsn'. Did you mean '--json'?"),
        (["list", "methods", "more"], "unknown argument 'more'"),
        (["list"], "required: WHAT"),
        (["show", "method", "ddpso"], "unknown method 'ddpso'. Did you mean 'ddspo'"),
        (["validate", "ddpso"], "unknown plug-in 'ddpso'. Did you mean 'ddspo'"),
        (["list", "methods", "-v", "-q"], "not allowed with argument"),
    ],
)
def test_wrong_usage_ends_with_2(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("bench: error: ")
    assert message in err


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (UsageError("wrong"), 2, "bench: error: wrong"),
        (StoreError("full"), 1, "bench: error: full"),
        (PrerequisiteError("no weights", fix="get them"), 3, "to mend it: get them"),
        (KeyboardInterrupt(), 1, "raised KeyboardInterrupt, which nobody sent"),
        (SystemExit(0), 1, "a plug-in of `bench list` called sys.exit(0)"),
        (SystemExit(), 1, "called sys.exit()"),
    ],
)
def test_each_failure_has_its_exit_code(
    raised: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import bench.cli.list

    def fail(args: object) -> int:
        raise raised

    monkeypatch.setattr(bench.cli.list, "run", fail)
    assert main(["list", "methods"]) == code
    assert message in capsys.readouterr().err


def test_the_users_interrupt_is_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import bench.cli.list

    monkeypatch.setattr(bench.cli.list, "run", lambda args: signal.raise_signal(signal.SIGINT))
    assert main(["list", "methods"]) == 130
    assert "bench: interrupted" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_reader_that_goes_away_does_not_hide_a_failure(tmp_path: Path) -> None:
    """The verb goes on after its first lines met a closed pipe, and its code counts."""
    code = (
        "import sys, bench.cli.list as verb\n"
        "from bench.cli import main\n"
        "def run(args):\n"
        "    for _ in range(3):\n"
        "        print('x' * 100000, flush=True)\n"
        "    print('went on', file=sys.stderr)\n"
        "    return 1\n"
        "verb.run = run\n"
        "sys.exit(main(['list', 'methods']))\n"
    )
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "went on\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_a_failure() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bench", "list", "methods"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert "standard output cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_standard_output_that_is_closed_is_no_file_of_ours(tmp_path: Path) -> None:
    words = f"exec {sys.executable} -m bench list methods >&-"
    done = subprocess.run(["sh", "-c", words], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.cli.list

    monkeypatch.setattr(bench.cli.list, "run", lambda args: [][0])
    with pytest.raises(IndexError):
        main(["list", "methods"])


def test_a_closed_pipe_is_no_failure() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "bench", "list", "methods"],
        cwd=ROOT,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_snake_case_flags_are_kebab_case_flags() -> None:
    given = ["run", "--dry_run", "--out_dir=a_b", "my_file", "--", "--keep_this"]
    assert kebab(given) == ["run", "--dry-run", "--out-dir=a_b", "my_file", "--", "--keep_this"]


def test_abbreviated_flags_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "methods", "--js"]) == 2
    assert "unknown option '--js'" in capsys.readouterr().err


def test_json_goes_to_stdout_and_logs_to_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import logging

    import bench.cli.list

    original: Callable[..., int] = bench.cli.list.run

    def noisy(args: object) -> int:
        logging.getLogger("bench.anything").info("a remark")
        return original(args)

    monkeypatch.setattr(bench.cli.list, "run", noisy)
    assert main(["list", "methods", "--json"]) == 0
    out, err = capsys.readouterr()
    assert {row["name"] for row in json.loads(out)} >= {"sft", "diffusion-dpo", "ddspo"}
    assert err == "a remark\n"
    assert main(["list", "methods", "--json", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "lisst"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
