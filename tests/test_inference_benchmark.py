"""benchmarks/inference.py: it runs, and leaves out what no pipeline would take."""

from pathlib import Path

import pytest

from translate.backends.onnx_runtime import OnnxRuntime

ROOT = Path(__file__).parents[1]


@pytest.fixture
def inference(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    words = "inference.py --models resnet-9 --backends onnxruntime --width 2 --rounds 1"
    monkeypatch.setattr("sys.argv", words.split())
    import inference

    return inference


def test_the_benchmark_prints_a_table_for_each_model(inference, capsys):
    inference.main()
    printed = capsys.readouterr().out
    assert "| resnet-9 | ms an image | times as fast |" in printed
    assert "| eager |" in printed
    assert "| onnxruntime |" in printed
    assert "Not used" not in printed


def test_the_benchmark_names_what_is_too_far_off(inference, capsys, monkeypatch):
    load = OnnxRuntime.load
    monkeypatch.setattr(OnnxRuntime, "load", lambda self, *given: lambda images: load(self, *given)(images) + 5e-4)
    inference.main()
    printed = capsys.readouterr().out
    assert "| onnxruntime |" not in printed
    assert "Not used: onnxruntime: 5." in printed
