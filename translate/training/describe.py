"""What a run would do, for --dry-run."""

from translate.config import write_yaml
from translate.data.sampling import StepSampler
from translate.processes import process_state
from translate.recipe import Recipe
from translate.training.checks import check_recipe_fits
from translate.training.drawings import style_of
from translate.training.pictures import check_pictures
from translate.training.precision import choose_precision
from translate.training.scans import check_scans
from translate.training.setup import (
    Splits,
    build_networks,
    build_objective,
    count_parameters,
    find_files,
)
from translate.training.trackers import check_trackers


def describe(recipe: Recipe) -> str:
    """The resolved recipe, the parameter counts and the data, after all checks that a run makes; writes nothing."""
    check_recipe_fits(recipe)
    check_trackers(recipe.logging.trackers)
    splits = find_files(recipe)
    check_pictures(recipe, splits)
    check_scans(recipe, splits.train)
    style_of(recipe, splits.train)
    networks = build_networks(recipe)
    build_objective(recipe, networks)
    state = process_state()
    precision = choose_precision(recipe.training.precision, state.device)
    counts = [
        f"  {name}: {count_parameters(network) / 1e6:.3f} M parameters" for name, network in networks.all().items()
    ]
    return "\n".join(
        [
            write_yaml(recipe),
            "networks",
            *counts,
            "data",
            *_data(recipe, splits),
            "run",
            f"  {recipe.training.steps} steps on {state.num_processes} process(es), {state.device}, {precision}",
            f"  {_epochs(recipe, splits, state.num_processes)}",
            "",
        ]
    )


def _data(recipe: Recipe, splits: Splits) -> list[str]:
    lines = []
    for name, split in (("train", splits.train), ("val", splits.val)):
        if split is None:
            lines.append(f"  {name}: none, so no figures and no best model")
            continue
        infos = [info for _, info in split.source.examples(split.files())]
        sizes = sorted({(info.width, info.height) for info in infos})
        kinds = sorted({f"{info.dtype} x {info.channels}" for info in infos})
        span = f"{sizes[0][0]} x {sizes[0][1]}" + (f" to {sizes[-1][0]} x {sizes[-1][1]}" if len(sizes) > 1 else "")
        lines.append(f"  {name}: {split}, {span} pixels (W x H), {', '.join(kinds)} channels")
    return lines


def _epochs(recipe: Recipe, splits: Splits, processes: int) -> str:
    lengths = (len(splits.train.pairs),) if splits.train.pairs else (len(splits.train.a), len(splits.train.b))
    batches = recipe.training.steps * recipe.training.accumulation
    sampler = StepSampler(lengths, recipe.training.batch_size, recipe.training.seed, 0, batches, processes=processes)
    return f"{sampler.steps_per_epoch} batches an epoch, {batches / sampler.steps_per_epoch:.1f} epochs"
