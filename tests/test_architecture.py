"""The directions of imports, and what no file may contain. Sources are read, not run."""

import ast
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT

from translate.config import read_recipe
from translate.recipe import ConfigError

FOLDERS = {"translate": "translate", "data": "translate.data", "pipelines": "translate.pipelines"}
STAGE_2 = ("translate.data", "translate.networks", "translate.losses", "translate.metrics", "translate.objectives")
TRUNK = (
    *STAGE_2,
    "translate.backends",
    "translate.checkpoint",
    "translate.config",
    "translate.contract",
    "translate.health",
    "translate.history",
    "translate.kernels",
    "translate.memory",
    "translate.model_folder",
    "translate.model_sources",
    "translate.noise_statistics",
    "translate.perceptual",
    "translate.phantoms",
    "translate.processes",
    "translate.recipe",
    "translate.residual_structure",
    "translate.scan_evidence",
    "translate.scan_metrics",
    "translate.sheet",
    "translate.sizes",
    "translate.super_resolution_metrics",
    "translate.threads",
    "translate.tiling",
    "translate.tissue",
    "translate.views",
)
MAY_IMPORT = {  # the longest name that fits a module decides
    "translate.data": (),
    "translate.kernels": (),
    "translate.networks": ("translate.data.imresize", "translate.kernels"),  # one bicubic kernel for files and networks
    "translate.losses": (),
    "translate.metrics": (),
    "translate.objectives": ("translate.networks", "translate.losses", "translate.data.batches", "translate.kernels"),
    "translate.tiling": ("translate.networks", "translate.processes", "translate.sizes"),
    "translate.views": ("translate.networks.blocks",),
    "translate": TRUNK,
    "translate.training": (*TRUNK, "translate.training"),
    "translate.pipelines": TRUNK,
    "translate.cli": (*TRUNK, "translate.training", "translate.pipelines"),
    "translate.train": ("translate.cli",),
    "translate.__main__": ("translate.cli",),
}


@cache
def sources() -> dict[str, ast.Module]:
    """Every module that is installed, by its import name."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join([package, *parts]).removesuffix(".__init__")
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(tree: ast.Module) -> set[str]:
    """Everything that is imported anywhere in a module, with the names taken from it: `a.b.c`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def rule_of(module: str) -> str:
    return max((rule for rule in MAY_IMPORT if within(module, rule)), key=len)


def test_the_sources_are_found():
    assert {"translate.data.images", "translate.pipelines.inference.folder", "translate.cli"} <= sources().keys()
    assert len(sources()) > 40


@pytest.mark.parametrize("module", sorted(sources()))
def test_imports_go_downwards_only(module):
    rule = rule_of(module)
    allowed = (*MAY_IMPORT[rule], *([] if rule == "translate" else [rule]))
    ours = {name for name in imports(sources()[module]) if within(name, "translate")}
    # `import translate` is its version.
    wrong = {name for name in ours if name != "translate" and not any(within(name, package) for package in allowed)}
    assert not wrong, f"{module} imports {sorted(wrong)}, allowed are {sorted(allowed)}"


def test_nothing_imports_the_command_line():
    starters = {"translate.train", "translate.__main__"}
    users = {module for module, tree in sources().items() if any(within(n, "translate.cli") for n in imports(tree))}
    assert {module for module in users if not within(module, "translate.cli")} == starters


def test_importing_has_no_cycles():
    graph = {
        module: {
            max((m for m in sources() if within(name, m)), key=len)
            for name in imports(tree)
            if within(name, "translate") and name != "translate"
        }
        - {module}
        for module, tree in sources().items()
    }
    # Peel off what imports nothing that is left.
    left = dict(graph)
    while leaves := [module for module, needs in left.items() if not needs & left.keys()]:
        for module in leaves:
            del left[module]
    assert not left


def test_the_folders_are_imported_by_their_full_name_only():
    for module, tree in sources().items():
        bare = {name for name in imports(tree) if name.split(".")[0] in ("data", "pipelines", "configs")}
        assert not bare, (module, bare)


def test_albumentations_is_behind_one_module():
    users = {m for m, tree in sources().items() if any(within(n, "albumentations") for n in imports(tree))}
    assert users == {"translate.data.augment"}


def test_gradio_is_for_the_page_alone_and_only_its_command_starts_it():
    users = {m for m, tree in sources().items() if any(within(n, "gradio") for n in imports(tree))}
    assert users
    assert all(within(module, "translate.pipelines.app") for module in users)
    page = {m for m, tree in sources().items() if any(within(n, "translate.pipelines.app") for n in imports(tree))}
    assert {module for module in page if not within(module, "translate.pipelines.app")} == {"translate.cli.app"}


def test_recipes_hold_no_python():
    code = [path.name for path in (ROOT / "configs").rglob("*.py")]
    assert code == ["__init__.py"]
    tree = ast.parse((ROOT / "configs" / "__init__.py").read_text())
    assert [type(node) for node in tree.body] == [ast.Expr]  # its docstring


@pytest.mark.parametrize("module", sorted(sources()))
def test_nothing_prints_and_nothing_is_pickled(module):
    tree = sources()[module]
    names = imports(tree)
    assert not {name for name in names if name.split(".")[0] in ("pickle", "dill", "cloudpickle", "joblib", "shelve")}
    assert not {name for name in names if name in ("torch.load", "torch.save")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called == "torch.load" and "weights_only=True" in ast.unparse(node):
                continue  # published classifiers come in no other format; this reads tensors and nothing else
            assert called not in ("print", "torch.load", "torch.save", "eval", "exec"), (module, node.lineno)
            pickles = any(word.arg == "allow_pickle" and ast.unparse(word.value) != "False" for word in node.keywords)
            assert not pickles, (module, node.lineno)


def test_a_recipe_cannot_make_python_run_anything(tmp_path):
    (tmp_path / "recipe.yaml").write_text("objective: !!python/object/apply:os.mkdir [made]\n")
    with pytest.raises(ConfigError, match="could not determine a constructor"):
        read_recipe(str(tmp_path / "recipe.yaml"))
    assert not Path("made").exists()
