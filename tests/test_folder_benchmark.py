"""benchmarks/folder.py: it runs, and its plain loops do what ours does."""

from pathlib import Path

import numpy as np
import pytest
from skimage import data

from translate.data.images import from_array, read_picture, write_picture
from translate.networks.identity import Identity

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def beside_the_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


def test_the_plain_loops_write_what_they_read(tmp_path):
    from plain_folder import opencv, published

    (tmp_path / "in").mkdir()
    photograph = data.coffee()[100:140, 200:250]
    write_picture(from_array(photograph), tmp_path / "in" / "a.png")
    for loop in (published, opencv):
        (tmp_path / loop.__name__).mkdir()
        loop(Identity(), tmp_path / "in", tmp_path / loop.__name__)
        written = read_picture(tmp_path / loop.__name__ / "a.png").pixels.astype(int)
        # The published one rounds down what is not quite the number that it was.
        assert np.abs(written - photograph).max() <= (loop is published)


def test_the_benchmark_prints_a_table_for_each_folder(monkeypatch, capsys):
    import folder

    words = "folder.py --files 2 --sides 24 32 --forward-files 2 --rounds 1 --workers 1"
    monkeypatch.setattr("sys.argv", words.split())
    folder.main()
    printed = capsys.readouterr().out
    for title in ("2 crops of 24 x 24, no network", "2 crops of 32 x 32, no network", "super-resolver"):
        assert title in printed
    assert printed.count("| translate_folder |") == 3
    assert printed.count("times as fast as the naive OpenCV loop") == 2
