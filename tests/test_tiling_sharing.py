"""Activation maps on disk, and processes that share an image and its maps."""

import errno
import itertools
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT
from test_tiling_layers import lively, mapped_files, photograph, tiled, whole

from translate.networks import ResNet
from translate.tiling.errors import TilingError
from translate.tiling.maps import DiskMap, MapStore
from translate.tiling.regions import Region, cover
from translate.tiling.runner import Crew
from translate.tiling.tiled import Tiling

SCRIPT = """
import atexit, json, sys, torch
from pathlib import Path
from translate.networks import ResNet
from translate.tiling import maps
from translate.tiling.runner import Crew
from translate.tiling.tiled import Tiling, translate_tiled

folder, runs = Path(sys.argv[1]), json.loads(sys.argv[2])
given = torch.load(folder / "given.pt")
images, network = given.pop("images"), ResNet(width=4, blocks=1).eval()
network.load_state_dict(given)
atexit.register(lambda: (folder / f"{crew.index} joined").write_text(str(torch.distributed.is_initialized())))
crew = Crew.of_launch()

class Held:
    def __init__(self, values, fault=""):
        self.values, self.fault, self.shape = values, fault, tuple(values.shape)
    def read(self, region):
        if self.fault == "read" and region.top > 30:
            raise OSError("a tile of the file is damaged")
        return self.values[(..., *region.slices)].clone()
    def write(self, region, values):
        self.values[(..., *region.slices)] = values

def run(side, fault, progress=lambda share: None):
    output, mapped = torch.full(images.shape, float("nan")), maps.mmap.mmap
    if fault == "map":
        def refuse(*given):
            raise OSError("no such file on this machine")
        maps.mmap.mmap = refuse
    try:
        tiling = Tiling(map_memory=0, scratch=folder)
        translate_tiled(network, Held(images, fault), Held(output), side, tiling=tiling, crew=crew, progress=progress)
        torch.save(output, folder / f"{side} {crew.index}.pt")
        return "done"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        maps.mmap.mmap = mapped

said = [run(side, fault if crew.index == 1 else "") for side, fault in runs]
(folder / f"{crew.index}.json").write_text(json.dumps(said))
while not runs:
    run(16, "", lambda share: print(share, flush=True))
"""
RUNS = [(24, "read"), (24, "map"), (24, ""), (128, "")]  # of tiles of 128 there is one a map: a process has none


def words_of(folder, runs):
    """The arguments of a process that runs them all."""
    network = lively(ResNet(width=4, blocks=1))
    torch.save({"images": photograph(71, 102), **network.state_dict()}, folder / "given.pt")
    (folder / "script.py").write_text(SCRIPT)
    return [str(folder / "script.py"), str(folder), json.dumps(runs)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """What two processes left in a folder, and what each of them says of its runs."""
    folder = tmp_path_factory.mktemp("shared")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    words = [*launch, "--main_process_port", "0", *words_of(folder, RUNS)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return folder, [json.loads((folder / f"{index}.json").read_text()) for index in range(2)]


@pytest.mark.parametrize("side", [24, 128])
def test_two_processes_share_an_image(shared, side):
    parts = [torch.load(shared[0] / f"{side} {index}.pt").numpy() for index in range(2)]
    expected = whole(lively(ResNet(width=4, blocks=1)), photograph(71, 102)).numpy()
    mine = [np.isfinite(part) for part in parts]
    assert (mine[0] ^ mine[1]).all()  # each value from one of them
    assert side == 128 or min(own.mean() for own in mine) > 0.3
    assert np.abs(np.where(mine[0], *parts) - expected).max() <= 1e-5


def test_a_failure_in_one_process_ends_both_and_they_can_go_on(shared):
    failed = "process 1 that shares the image failed: OSError"
    assert shared[1][0] == [
        f"TilingError: {failed}: a tile of the file is damaged",
        f"TilingError: {failed}: no such file on this machine",
        *["done", "done"],
    ]
    assert shared[1][1] == [
        "OSError: a tile of the file is damaged",
        "OSError: no such file on this machine",
        "done",
        "done",
    ]


def test_processes_leave_no_maps(shared):
    assert not list(shared[0].glob(".*"))


def test_processes_leave_their_group_before_they_end(shared):
    assert [(shared[0] / f"{index} joined").read_text() for index in range(2)] == ["False", "False"]


def test_a_share_is_every_second_item():
    assert [Crew(index, 2).mine(range(5)) for index in (0, 1)] == [[0, 2, 4], [1, 3]]
    assert Crew().mine(range(3)) == [0, 1, 2]
    assert Crew().gather("x") == ["x"]
    with pytest.raises(OSError, match="alone"), Crew().together():
        raise OSError("alone")


# maps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_map_on_disk_gives_what_it_was_given(tmp_path, dtype):
    values = torch.randn(2, 3, 20, 30).to(dtype).float()
    made = DiskMap((2, 3, 20, 30), dtype, tmp_path, Crew())
    for region in cover(20, 30, 7):
        made.write(region, values[(..., *region.slices)])
    assert made.read(Region(0, 20, 0, 30)).dtype == torch.float32
    for region in (Region(0, 20, 0, 30), Region(19, 20, 3, 4), Region(5, 9, 6, 30)):
        assert torch.equal(made.read(region), values[(..., *region.slices)])
    assert made.bytes == 2 * 3 * 20 * 30 * dtype.itemsize
    assert not list(tmp_path.iterdir())
    made.release()


def test_pages_of_a_map_are_given_back_and_keep_their_values(tmp_path, monkeypatch):
    monkeypatch.setattr("translate.tiling.maps.RESIDENT", 1000)
    test_a_map_on_disk_gives_what_it_was_given(tmp_path, torch.float32)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="files are not reserved in this way")
def test_a_full_disk_is_noticed_before_anything_is_computed(tmp_path, monkeypatch):
    given = itertools.count()

    def fallocate(file, start, size):
        if next(given) == 2:  # the third map
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    network = lively(ResNet(width=4, blocks=1))
    monkeypatch.setattr(os, "posix_fallocate", lambda *given: (fallocate(*given), os.ftruncate(given[0], given[2])))
    message = f"cannot be made in {tmp_path} .No space left on device.: choose another folder"
    with pytest.raises(TilingError, match=message):
        tiled(network, photograph(71, 102), 32, tiling=Tiling(map_memory=0, scratch=tmp_path))
    assert not list(tmp_path.iterdir())
    assert not mapped_files()


def test_maps_are_in_memory_as_long_as_all_fit(tmp_path):
    store = MapStore(3000, torch.float32, tmp_path, Crew())
    first, second, third = (store.make((1, 1, 10, 30)) for _ in range(3))  # 1200 bytes each
    assert [type(made).__name__ for made in (first, second, third)] == ["MemoryMap", "MemoryMap", "DiskMap"]
    store.release(first)
    store.release(third)
    store.make((1, 1, 20, 30)).write(Region(0, 1, 0, 1), torch.ones(1, 1, 1, 1))  # 2400 bytes, on disk
    assert type(store.make((1, 1, 10, 30))).__name__ == "MemoryMap"
    assert (store.peak_memory, store.peak_disk) == (2400, 2400)
    store.close()
    assert type(store.make((1, 1, 10, 75))).__name__ == "MemoryMap"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nothing is killed like that")
def test_a_kill_leaves_no_maps(tmp_path):
    words = [sys.executable, *words_of(tmp_path, [])]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as running:
        for _ in range(300):
            assert running.stdout.readline(), "it ended by itself"
        running.send_signal(signal.SIGKILL)
        running.stdout.read()
    assert running.returncode == -signal.SIGKILL
    assert not list(tmp_path.glob(".*"))
