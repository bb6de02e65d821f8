"""The wheel, in an environment of its own, and every way of starting that docs promise."""

import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path
from shutil import copytree, ignore_patterns

import numpy as np
import pytest
from conftest import ROOT

from translate.data.images import from_array, read_picture, write_picture

FOLDERS = ("translate", "data", "pipelines", "configs")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def run(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program without what would lead Python to the checkout."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | environment
    texts = [str(word) for word in words]
    return subprocess.run(texts, cwd=cwd, env=clean, capture_output=True, text=True, check=False, timeout=120)


def copy_checkout(target: Path) -> Path:
    """The sources alone: building in the checkout would leave build/ and an egg-info there."""
    target.mkdir()
    for folder in FOLDERS:
        copytree(ROOT / folder, target / folder, ignore=ignore_patterns("__pycache__", ".*"))
    for name in ("pyproject.toml", "README.md"):
        (target / name).write_bytes((ROOT / name).read_bytes())
    return target


def site_packages(environment: Path) -> Path:
    return Path(sysconfig.get_path("purelib", "venv", vars={"base": str(environment), "platbase": str(environment)}))


def make_environment(folder: Path) -> Path:
    """A fresh environment that finds our dependencies where this process does, but not this project; its Python."""
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    ours = {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    # A line of a .pth is only a path: the .pth files in there, and so the editable install, are not looked at.
    (site_packages(folder) / "dependencies.pth").write_text("\n".join(sorted(ours)) + "\n")
    return Path(sysconfig.get_path("scripts", "venv", vars={"base": str(folder)})) / "python"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = copy_checkout(folder / "source")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    done = run(*pip, "--no-build-isolation", "--wheel-dir", folder, source, cwd=folder)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment into which the wheel is installed."""
    python = make_environment(tmp_path_factory.mktemp("fresh") / "venv")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, "install", "--quiet"]
    done = run(*pip, "--no-deps", "--no-index", wheel, cwd=wheel.parent)
    assert done.returncode == 0, done.stderr
    return python


@pytest.fixture
def picture(tmp_path: Path, photographs) -> Path:
    write_picture(from_array(photographs[0]), tmp_path / "in.png")
    return tmp_path / "in.png"


def test_the_list_of_packages_is_complete():
    mapped = {"translate": "translate", "data": "translate.data"}
    mapped |= {"pipelines": "translate.pipelines", "configs": "translate.configs"}
    found = set()
    for folder, name in mapped.items():
        for path in (ROOT / folder).rglob("__init__.py"):
            found.add(".".join([name, *path.parent.relative_to(ROOT / folder).parts]))
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == found
    assert PROJECT["tool"]["setuptools"]["package-dir"] == {name: folder for folder, name in mapped.items()}


def test_every_folder_with_python_is_a_package():
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), path


def test_the_wheel_holds_every_file_of_the_folders_and_one_top_level_package(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    places = {"translate": "translate", **{folder: f"translate/{folder}" for folder in FOLDERS[1:]}}
    expected = {
        f"{place}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, place in places.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in path.relative_to(ROOT).parts)
    }
    assert names == expected
    assert {"translate/models/identity/config.json", "translate/configs/pix2pix.yaml", "translate/py.typed"} <= names
    assert {"translate/pipelines/pictures/held_out.txt", "translate/data/images.py"} <= names
    assert wheel.stat().st_size < 18_000_000


def test_the_wheel_is_found_from_another_directory_and_says_its_version(installed, tmp_path):
    version = PROJECT["project"]["version"]
    script = installed.parent / "translate"
    assert run(script, "--version", cwd=tmp_path).stdout == f"translate {version}\n"
    started = run(installed, "-m", "translate.train", "--help", cwd=tmp_path).stdout  # what accelerate launch does
    assert started.startswith("usage: translate train RECIPE")
    where = "import translate, translate.data, translate.configs; print(translate.__file__, translate.data.__file__)"
    for folder in run(installed, "-c", where, cwd=tmp_path).stdout.split():
        assert Path(folder).is_relative_to(site_packages(installed.parent.parent)), folder


def test_the_wheels_console_script_translates_from_the_checkouts_own_root(installed, picture, tmp_path):
    done = run(installed.parent / "translate", "infer", "identity", picture, tmp_path / "out.png", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert (read_picture(tmp_path / "out.png").pixels == read_picture(picture).pixels).all()


def test_the_wheel_works_beside_a_users_own_packages_of_the_same_names(installed, picture, tmp_path):
    for name in ("data", "pipelines", "configs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("mine = True\n")
    done = run(installed, "-m", "translate", "infer", "identity", picture, tmp_path / "out.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.png").is_file()
    both = "import data, pipelines, translate.data.images; print(data.mine and pipelines.mine)"
    assert run(installed, "-c", both, cwd=tmp_path).stdout == "True\n"


def test_a_recipe_is_found_by_its_name_in_the_wheel(installed, tmp_path):
    code = "from translate.config import read_recipe; print(read_recipe('pix2pix').objective.name)"
    done = run(installed, "-c", code, cwd=tmp_path)
    assert done.stdout == "pix2pix\n", done.stderr


SPAWNED = """
import multiprocessing
from pathlib import Path

from translate.data.images import read_picture


def size(path):
    return read_picture(path).pixels.shape


if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(size, [Path("in.png")])[0])
"""


LOADED = """
from torch.utils.data import DataLoader

from translate.pipelines.inference.pipeline import Pipeline


if __name__ == "__main__":
    pipe = Pipeline.from_pretrained("identity")
    loader = DataLoader(["in.png"], collate_fn=pipe.prepare, batch_size=None, num_workers=1,
                        multiprocessing_context="spawn")
    print(next(iter(loader)).images.shape)
"""


def test_workers_of_a_loader_that_are_spawned_find_the_wheel(installed, picture, tmp_path):
    (tmp_path / "script.py").write_text(LOADED)
    done = run(installed, "script.py", cwd=tmp_path)
    assert done.stdout == "torch.Size([1, 3, 48, 40])\n", done.stderr


def test_a_checkout_works_uninstalled_from_its_root_also_in_spawned_workers(picture, tmp_path):
    checkout = copy_checkout(tmp_path / "checkout")
    python = make_environment(tmp_path / "venv")
    out = tmp_path / "out.png"
    done = run(python, "-m", "translate", "infer", "identity", picture, out, "--json", cwd=checkout)
    assert done.returncode == 0, done.stderr
    assert (read_picture(out).pixels == read_picture(picture).pixels).all()
    where = run(python, "-c", "import translate.data; print(translate.data.__file__)", cwd=checkout).stdout
    assert where.strip() == str(checkout / "data" / "__init__.py")
    (checkout / "script.py").write_text(SPAWNED.replace('"in.png"', repr(str(picture))))
    assert run(python, "script.py", cwd=checkout).stdout == "(48, 40, 3)\n"


@pytest.mark.parametrize("name", ["data", "pipelines"])
def test_a_folder_imported_by_its_bare_name_says_its_right_one(name):
    done = run(sys.executable, "-c", f"import {name}", cwd=ROOT)
    assert done.returncode == 1
    assert f"the folder {name}/ is imported as translate.{name}: write 'import translate.{name}'" in done.stderr


def test_pictures_need_none_of_the_extras_and_scans_say_which(tmp_path):
    from pydicom.data import get_testdata_file

    program = (
        "import sys\n"
        "absent = 'pydicom highdicom nibabel skimage gdcm tensorboard wandb gradio zarr imagecodecs openslide'\n"
        "for name in absent.split():\n"
        "    sys.modules[name] = None\n"
        "from translate.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    write_picture(from_array(np.zeros((20, 20, 3), np.uint8)), tmp_path / "a.png")

    def start(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, *(str(word) for word in words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    assert start("infer", "identity", tmp_path / "a.png", tmp_path / "b.png").returncode == 0
    refused = start("evaluate", "scans", "identity", get_testdata_file("CT_small.dcm"), "--dose", "0.5")
    assert refused.returncode == 2
    assert 'pip install "translate-images[medical]"' in refused.stderr
