"""benchmarks/kernels.py runs, small."""

import sys

import torch
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import kernels


def test_the_benchmark_of_kernels_has_a_row_for_each_layer_and_small_errors(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["kernels.py", "--width", "16", "--side", "32", "--rounds", "1"])
    monkeypatch.setattr(kernels, "keep_freed_memory", lambda: None)  # it would stay for the other tests
    torch.manual_seed(0)
    kernels.main()
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines()[3:]]
    assert [row[1].strip() for row in rows][-2:] == ["residual block", "ResNet-9"]
    assert len(rows) == 8
    assert all(float(row[3]) > 0 and float(row[4]) > 0 for row in rows)
    assert all(float(cell) < 1e-5 for row in rows[:-2] for cell in row[5:7])
