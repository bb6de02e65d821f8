"""Does the diagnosis name what is wrong, and does `health.action adjust` help? Trainings with planted failures.

    python tools/build_sketch_pairs.py --output emoji        # the pairs that the recipes are made for
    python benchmarks/seeded_failures.py --data emoji --output runs [--seeds 10 11 12] [--jobs 2]

Every recipe of benchmarks/health is trained with every seed as it is, and the failing ones again with `adjust`. A
failure counts as named where the first verdict that is not "balanced" is the planted one and comes before half of the
steps; a healthy run as right where no verdict behind the warm-up is another than "balanced". Then the validation
figure of the last steps with adjust is compared with that without. Trainings that have ended are not run again.
Pictures are decoded once, into a folder cache/ beside those of --data.
"""

import argparse
import math
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from translate.config import read_recipe
from translate.health.diagnosis import verdicts
from translate.health.verdict import (
    BALANCED,
    COLLAPSE,
    DIVERGED,
    OSCILLATING,
    OVERFITTING,
    SICK,
    WARMING_UP,
    WINNING,
)
from translate.training.records import read_log

RECIPES = Path(__file__).parent / "health"
PLANTED = {
    "discriminator_winning": WINNING,
    "mode_collapse": COLLAPSE,
    "oscillating": OSCILLATING,
    "diverged": DIVERGED,
    "discriminator_overfitting": OVERFITTING,
    "healthy_pix2pix": BALANCED,
    "healthy_cyclegan": BALANCED,
    "healthy_hinge": BALANCED,
}
FEW = 20  # images that a discriminator can learn by heart


class Trial(NamedTuple):
    recipe: str
    seed: int
    action: str

    def folder(self, root: Path) -> Path:
        return root / f"{self.recipe}_{self.seed}_{self.action}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and val/ of sketch/ and render/")
    parser.add_argument("--output", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    parser.add_argument("--recipes", nargs="+", default=list(PLANTED), choices=list(PLANTED))
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    trials = [Trial(recipe, seed, "warn") for recipe in options.recipes for seed in options.seeds]
    trials += [trial._replace(action="adjust") for trial in trials if PLANTED[trial.recipe] != BALANCED]
    folders = {"all": options.data.resolve(), "few": few(options.data.resolve(), options.output / "few")}
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda trial: train(trial, folders, options.output), trials))
    print_verdicts([trial for trial in trials if trial.action == "warn"], options.output)
    print_rescues([trial for trial in trials if trial.action == "adjust"], options.output)


def few(data: Path, folder: Path) -> Path:
    """The first images of the training set, and the whole validation set."""
    if not folder.is_dir():
        for split, count in (("val", None), ("train", FEW)):
            for side in ("sketch", "render"):
                (folder / split / side).mkdir(parents=True)
                for picture in sorted((data / split / side).iterdir())[:count]:
                    shutil.copy(picture, folder / split / side)
    return folder


def train(trial: Trial, folders: dict[str, Path], root: Path) -> None:
    ended = trial.folder(root) / "ended.txt"
    if ended.is_file():
        return  # a run that ended with an error would otherwise go on
    data = folders["few" if trial.recipe == "discriminator_overfitting" else "all"]
    given = ["--training.seed", str(trial.seed), "--health.action", trial.action]
    words = [sys.executable, "-m", "translate", "train", str(RECIPES / f"{trial.recipe}.yaml"), "--json"]
    words += ["--data", str(data), "--output", str(trial.folder(root)), *given]
    done = subprocess.run(
        words, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    how = "complete" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no message"])[-1]
    print(f"{trial.recipe} {trial.seed} {trial.action}: {how}", file=sys.stderr, flush=True)
    ended.write_text(how + "\n")


def print_verdicts(trials: list[Trial], root: Path) -> None:
    print(
        "| recipe | seed | steps | first verdict that is not balanced | right | share of records behind the warm-up |"
    )
    print("|---|---|---|---|---|---|")
    right: dict[bool, list[bool]] = {True: [], False: []}
    for trial in trials:
        folder, planted = trial.folder(root), PLANTED[trial.recipe]
        recipe = read_recipe(folder / "recipe.yaml")
        found = [item for item in verdicts(read_log(folder / "log.jsonl"), recipe) if item[1] != WARMING_UP]
        step, first = next((item for item in found if item[1] in SICK), (0, BALANCED))
        named = first == planted and step <= recipe.training.steps / 2
        share = sum(verdict == planted for _, verdict in found) / max(1, len(found))
        at = f" at {step}" if step else ""
        answer = "yes" if named else "NO"
        print(f"| {trial.recipe} | {trial.seed} | {recipe.training.steps} | {first}{at} | {answer} | {share:.0%} |")
        right[planted != BALANCED].append(named)
    for failing, results in right.items():
        print(f"\n{'failing' if failing else 'healthy'} runs: {sum(results)} of {len(results)} right")


def print_rescues(trials: list[Trial], root: Path) -> None:
    print("\n| recipe | seed | as it is | adjust | better | actions |")
    print("|---|---|---|---|---|---|")
    rescued = []
    for trial in trials:
        plain, adjusted = (figure(t.folder(root)) for t in (trial._replace(action="warn"), trial))
        better = adjusted > plain
        actions = sum(len(record.get("actions", [])) for record in read_log(trial.folder(root) / "log.jsonl"))
        answer = "yes" if better else "no"
        print(f"| {trial.recipe} | {trial.seed} | {plain:.2f} dB | {adjusted:.2f} dB | {answer} | {actions} |")
        rescued.append(better)
    print(f"\nrescued: {sum(rescued)} of {len(rescued)}")


def figure(folder: Path) -> float:
    """The mean PSNR of the last two validations."""
    records = [record for record in read_log(folder / "log.jsonl") if "val/psnr" in record]
    last = [record["val/psnr"] for record in records[-2:]]
    return sum(last) / len(last) if last else math.nan


if __name__ == "__main__":
    main()
