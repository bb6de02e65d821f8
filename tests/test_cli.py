"""The command line: help, exit codes, one line of JSON, and no traceback for what a user did wrong."""

import json
import logging
import subprocess
import sys

import numpy as np
import pytest

import translate
from translate.cli import COMMANDS, CommandError, main
from translate.cli.infer import check_device
from translate.data.images import from_array, read_picture, write_picture
from translate.processes import process_state


@pytest.fixture
def folder(tmp_path, photographs):
    (tmp_path / "in").mkdir()
    for index in range(3):
        write_picture(from_array(photographs[index]), tmp_path / "in" / f"{index}.png")
    return tmp_path / "in"


def call(*words):
    """The exit code, whether it is returned or raised by argparse."""
    try:
        return main([str(word) for word in words])
    except SystemExit as stopped:
        return stopped.code


def test_help_lists_every_command_with_its_purpose(capsys):
    for words in ([], ["--help"], ["-h"]):
        assert call(*words) == 0
        shown = capsys.readouterr().out
        for name, purpose in COMMANDS.items():
            assert f"  {name:<12}{purpose}" in shown


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["preprocess"], ["pairs", "side-by-side", "unpaired", "stage 1"]),
        (["preprocess", "pairs"], ["SOURCE TARGET OUT", "--source-suffix", "_LR", "--val", "--size"]),
        (["preprocess", "side-by-side"], ["FOLDER OUT", "--source-on"]),
        (["preprocess", "unpaired"], ["A B OUT", "--seed"]),
        (["train"], ["RECIPE --data DIR --output RUN", "--any.key VALUE", "--dry-run", "accelerate launch", "a kill"]),
        (["infer"], ["MODEL INPUT OUTPUT", "hub id", "identity", "--direction", "--json", "report.jsonl", "Exit code"]),
        (["evaluate"], ["pairs"]),
        (["evaluate", "pairs"], ["MODEL SOURCE TARGET", "PSNR", "SSIM", "Wasserstein", "--csv"]),
        (["demo"], ["--output DIR", "sheet.png"]),
    ],
)
def test_the_help_of_each_command_says_what_it_takes(capsys, words, named):
    assert call(*words, "--help") == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: translate {' '.join(words)} ")
    for word in [*named, "--json" if words[-1] not in ("preprocess", "evaluate") else "--help"]:
        assert word in " ".join(shown.split()), word


def test_the_version_is_printed(capsys):
    assert call("--version") == 0
    assert capsys.readouterr().out == f"translate {translate.__version__}\n"


@pytest.mark.parametrize("words", [["infre", "a"], ["--nonsense"], ["infer"], ["infer", "identity", "a"], ["evaluate"]])
def test_a_command_line_that_is_not_understood_ends_with_2_and_the_usage(capsys, words):
    assert call(*words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("usage: translate ")
    assert captured.out == ""


def test_help_and_import_do_not_load_torch():
    code = (
        "import sys, translate, translate.cli\n"
        "for words in (['--help'], *([name, '--help'] for name in translate.cli.COMMANDS)):\n"
        "    try: translate.cli.main(words)\n"
        "    except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'cv2', 'accelerate', 'matplotlib', 'pydantic'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_python_m_translate_is_the_command(command, folder, tmp_path):
    done = command("infer", "identity", folder, tmp_path / "out", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    line, rest = done.stdout.split("\n", 1)
    assert rest == ""
    assert json.loads(line)["done"] == 3
    assert "Traceback" not in done.stderr


def test_json_is_one_line_and_nothing_else(capsys, folder, tmp_path):
    assert call("infer", "identity", folder, tmp_path / "out", "--json") == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    summary = json.loads(captured.out)
    seconds = summary.pop("seconds")
    assert 0 <= seconds < 60
    out = tmp_path / "out"
    counts = {"files": 3, "done": 3, "skipped": 0, "failed": 0}
    assert summary == {**counts, "output": str(out), "report": str(out / "report.jsonl")}


def test_without_json_the_summary_is_a_sentence_and_the_progress_is_on_the_other_stream(capsys, folder, tmp_path):
    assert call("infer", "identity", folder, tmp_path / "out") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("3 files in ")
    assert captured.out.endswith(f"3 done, 0 skipped, 0 failed. Report: {tmp_path / 'out' / 'report.jsonl'}\n")
    assert "3/3" in captured.err
    assert call("infer", "identity", folder / "0.png", tmp_path / "one.png") == 0
    assert capsys.readouterr().out == f"written: {tmp_path / 'one.png'}\n"


def test_a_failed_file_ends_with_1_and_is_named(capsys, caplog, folder, tmp_path):
    (folder / "bad.png").write_text("text")
    with caplog.at_level(logging.WARNING):
        assert call("infer", "identity", folder, tmp_path / "out", "--json") == 1
    assert json.loads(capsys.readouterr().out)["failed"] == 1
    assert any("bad.png: cannot read" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "idendity"}, "there is no model 'idendity': give a model folder, a hub id (owner/name), or"),
        ({"model": "somebody/nothing"}, "is no folder here, and the hub did not give it"),
        ({"model": "."}, "is no model folder, it has no config.json"),
        ({"input": "nowhere"}, "nowhere does not exist: give an image or a folder of images"),
        ({"input": "in/bad.jpg"}, "its content is not a picture"),
        (
            {"--format": "gif"},
            "the output format must be one of .png, .jpg, .jpeg, .tif, .tiff, .webp, .bmp, got '.gif'",
        ),
        ({"--quality": "101"}, "quality must be from 1 to 100, got 101"),
        ({"--quality": "50", "--format": "png"}, "quality is of .jpg and .webp, and the format is .png"),
        ({"--compression": "best"}, "compression must be one of fast, small, none, got 'best'"),
        (
            {"--compression": "none", "--format": "webp"},
            "the compression of .webp must be one of fast, small, got 'none'",
        ),
        ({"--batch-size": "0"}, "batch_size must be at least 1, got 0"),
        ({"--workers": "-1"}, "workers must be at least 1, got -1"),
        ({"--max-pixels": "0"}, "max_pixels must be at least 1, got 0"),
        ({"--direction": "b_to_a"}, "has no generator 'b_to_a': it has generator"),
        ({"--device": "gpu"}, "--device 'gpu' cannot be used (Expected one of cpu, cuda"),
        ({"--device": "cuda:99"}, "--device 'cuda:99' cannot be used ("),
        ({"--device": "meta"}, "--device 'meta' cannot be used ("),
        ({"--device": "hpu"}, "--device 'hpu' cannot be used ("),
        ({"output": "in/0.png"}, "is a file, but in is a folder: give an output folder"),
        ({"output": "in/0.png/x"}, "in/0.png"),
    ],
)
def test_what_a_user_can_do_wrong_ends_with_2_and_one_sentence(capsys, folder, monkeypatch, change, message):
    monkeypatch.chdir(folder.parent)
    (folder / "bad.jpg").write_text("text")
    given = {"model": "identity", "input": "in", "output": "out"} | change
    places = [given.pop(name) for name in ("model", "input", "output")]
    assert call("infer", *places, *(word for pair in given.items() for word in pair), "--json") == 2
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].startswith("translate: ")
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert not (folder.parent / "out").exists()


@pytest.mark.parametrize(
    "words", [["--precision", "fp8"], ["--quality", "high"], ["--recursive"], ["one", "more"], ["--batch-size"]]
)
def test_options_that_do_not_exist_end_with_2_and_the_usage(capsys, folder, words):
    assert call("infer", "identity", folder, folder / "out", *words) == 2
    assert "usage: translate infer" in capsys.readouterr().err


def test_options_may_be_written_as_a_user_writes_them(folder, tmp_path, capsys):
    for format in ("tif", ".tif", "TIF"):
        assert call("infer", "identity", folder / "0.png", tmp_path / format.strip("."), "--format", format) == 0
        assert (tmp_path / format.strip(".") / "0.tif").is_file()
    assert call("infer", "identity", folder, tmp_path / "jpg", "--format", "jpg", "--quality", "30") == 0
    assert call("infer", "identity", folder, tmp_path / "fine", "--format", "jpg") == 0
    assert (tmp_path / "jpg" / "0.jpg").stat().st_size < (tmp_path / "fine" / "0.jpg").stat().st_size


def test_the_compression_of_the_command_is_that_of_the_files(folder, tmp_path, capsys):
    sizes = {}
    for words in ([], ["--compression", "small"], ["--format", "tif", "--compression", "none"]):
        out = tmp_path / f"out {len(sizes)}"
        assert call("infer", "identity", folder, out, *words) == 0
        sizes[words[-1] if words else "fast"] = next(out.glob("0.*")).stat().st_size
    assert sizes["small"] < sizes["fast"] < sizes["none"]


def test_a_model_of_ones_own_translates_in_both_directions_and_precisions(folder, tmp_path, small_model, capsys):
    results = []
    for number, words in enumerate(([], ["--direction", "b_to_a"], ["--precision", "bf16", "--device", "cpu"])):
        out = tmp_path / str(number)
        assert call("infer", small_model, folder, out, "--batch-size", "2", *words, "--json") == 0
        results.append(read_picture(out / "1.png").pixels.astype(int))
    assert np.abs(results[0] - results[1]).mean() > 1
    assert 0 < np.abs(results[0] - results[2]).mean() < 4


def test_evaluate_prints_json_and_refuses_what_does_not_fit(folder, tmp_path, capsys):
    words = ["evaluate", "pairs", "identity", folder, folder, "--csv", tmp_path / "figures.csv"]
    assert call(*words, "--json") == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    assert json.loads(captured.out)["images"] == 3
    assert (tmp_path / "figures.csv").is_file()
    assert call("evaluate", "pairs", "identity", folder, tmp_path / "none") == 2
    assert "does not exist: give a folder of images" in capsys.readouterr().err


def test_a_device_that_is_there_is_taken():
    check_device("cpu")
    check_device(None)
    with pytest.raises(CommandError, match=r"--device 'nothing' cannot be used .*: leave it out"):
        check_device("nothing")


def test_processes_that_do_not_find_each_other_do_not_each_do_all_of_the_work(folder, tmp_path, capsys, monkeypatch):
    process_state()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert call("infer", "identity", folder, tmp_path / "out") == 1
    assert "2 processes were started, but this one runs alone: start them with accelerate" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


class OurFailure(RuntimeError):
    """As of a loss that is not finite."""


OurFailure.__module__ = "translate.training"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "translate: interrupted\n"),
        (BrokenPipeError(), 1, ""),
        (PermissionError(13, "Permission denied", "out"), 2, "translate: [Errno 13] Permission denied: 'out'\n"),
        (CommandError("say this"), 2, "translate: say this\n"),
        (
            CommandError("Caught CommandError in worker 0.\nTraceback\nCommandError: say this"),
            2,
            "translate: say this\n",
        ),
        (OurFailure("it went wrong"), 1, "translate: it went wrong\n"),
    ],
)
def test_errors_with_words_for_the_user_end_without_a_traceback(monkeypatch, capsys, error, code, message):
    def fail(_parser, _given):
        raise error

    monkeypatch.setattr("translate.cli.infer.run", fail)
    assert call("infer", "a", "b", "c") == code
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("error", [ValueError("a bug"), RuntimeError("a bug"), KeyError("bug")])
def test_bugs_of_ours_keep_their_traceback(monkeypatch, error):
    def fail(_parser, _given):
        raise error

    monkeypatch.setattr("translate.cli.infer.run", fail)
    with pytest.raises(type(error), match="bug"):
        main(["infer", "a", "b", "c"])
