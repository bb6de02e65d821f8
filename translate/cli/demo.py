"""translate demo [--output DIR]"""

import argparse
import json
import sys
from importlib import resources
from pathlib import Path
from typing import Any

EPILOG = """
Line drawings become shaded, coloured pictures: Microsoft's Fluent Emoji (MIT), 163 pairs to learn from, 16 held out.
DIR gets data/ (prepared), model/ (the trained model), translated/ (the held-out drawings), sheet.png (input, output and
target of each, and the curves), evaluation.csv, and everything else a run leaves. Given again, it goes on.
"""
SIDE = 96  # pixels of the pictures as they are trained on and translated
COLUMNS = 8  # of the sheet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", metavar="DIR", type=Path, default=Path("demo"), help="folder for the results (demo)"
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON with the summary, and nothing else")
    parser.epilog = EPILOG


def run(parser: argparse.ArgumentParser, given: list[str]) -> int:
    options = parser.parse_args(given)
    summary = demo(options.output, show_progress=not options.json)
    if options.json:
        sys.stdout.write(json.dumps(summary) + "\n")
        return 0
    from translate.cli.evaluate import in_words

    sys.stdout.write(f"\nHeld-out pictures, none of which was trained on:\n{in_words(summary['figures'])}")
    sys.stdout.write(f"Look at it: {summary['sheet']}\nUse it:     translate infer {summary['model']} INPUT OUTPUT\n")
    return 0


def demo(output: Path, *, show_progress: bool = True) -> dict[str, Any]:
    """Prepare, train, translate and measure in `output`.

    Returns:
        {"model", "translated", "sheet", "figures"}.
    """
    from translate.config import read_recipe
    from translate.pipelines.evaluation import evaluate_pairs
    from translate.pipelines.inference.folder import translate_folder
    from translate.pipelines.inference.pipeline import Pipeline
    from translate.training.loop import train

    data, translated, sheet = output / "data", output / "translated", output / "sheet.png"
    prepare(data, show_progress)
    train(read_recipe("demo", {"data.folder": str(data)}), output, show_progress=show_progress)
    pipeline = Pipeline.from_pretrained(output / "model")
    translate_folder(pipeline, data / "val" / "source", translated, show_progress=show_progress)
    figures = evaluate_pairs(
        pipeline,
        data / "val" / "source",
        data / "val" / "target",
        output / "evaluation.csv",
        show_progress=show_progress,
    )
    draw_results(data, translated, output / "log.jsonl", sheet)
    return {"model": str(output / "model"), "translated": str(translated), "sheet": str(sheet), "figures": figures}


def prepare(data: Path, show_progress: bool) -> None:
    """Write the shipped pictures as a data set, the held-out ones as its val/."""
    from translate.data.folders import pair_folders
    from translate.pipelines.preprocessing.dataset import Options, write_dataset
    from translate.pipelines.preprocessing.items import Item

    with resources.as_file(resources.files("translate.pipelines") / "pictures") as pictures:
        held_out = set((pictures / "held_out.txt").read_text().split())
        items = [
            Item(pair.name, f"{'val' if pair.name in held_out else 'train'}/{side}", path)
            for pair in pair_folders(pictures / "sketch", pictures / "render")
            for side, path in (("source", pair.source), ("target", pair.target))
        ]
        write_dataset(items, data, "paired", Options(size=SIDE), "demo", show_progress=show_progress)


def draw_results(data: Path, translated: Path, log: Path, path: Path) -> None:
    """Input, output and target of every held-out picture in three rows below one another, and the curves below all."""
    import numpy as np
    from matplotlib.figure import Figure

    from translate.data.images import read_picture
    from translate.data.intensity import picture_to_tensor
    from translate.sheet import draw_sheet
    from translate.training.records import plot_curves, read_log, save_figure

    folders = (data / "val" / "source", translated, data / "val" / "target")
    names = sorted(file.name for file in folders[0].iterdir())
    blocks = [names[start : start + COLUMNS] for start in range(0, len(names), COLUMNS)]
    rows = [
        [picture_to_tensor(read_picture(folder / name), 3)[0] for name in block]
        for block in blocks
        for folder in folders
    ]
    figure = Figure(figsize=(1.5 * COLUMNS, 4.5 * len(blocks) + 3.5), layout="constrained")
    top, bottom = np.asarray(figure.subfigures(2, 1, height_ratios=[4.5 * len(blocks), 3.5]))
    axes = top.subplots()
    axes.imshow(draw_sheet(rows).pixels)
    axes.set_title("input, output and target below one another", fontsize="small", loc="left")
    axes.axis("off")
    plot_curves(bottom, read_log(log))
    save_figure(figure, path)
