"""Make a model that ships of one that was trained: its generators in fp16, and no discriminators.

    python tools/ship_model.py RUN/model translate/models/NAME
    python tools/ship_model.py RUN/model translate/models/NAME --average RUN/best 0.15

With --average the weights are a mean with those of another checkpoint of the run, which has the share that is given
(Izmailov et al. 2018, arXiv:1803.05407). A README.md that is there already, the model card, stays.
"""

import argparse
from pathlib import Path

from torch import Tensor

from translate.checkpoint import load_tensors, save_tensors, write_folder
from translate.model_folder import CONFIG, read_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--average", nargs=2, metavar=("MODEL", "SHARE"))
    options = parser.parse_args()
    config = read_config(options.model).model_copy(update={"discriminators": {}})
    card = options.target / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else None

    def write(aside: Path) -> None:
        for name in config.generators:
            weights = load_tensors(options.model / f"{name}.safetensors")
            if options.average:
                other, share = Path(options.average[0]), float(options.average[1])
                weights = mean(load_tensors(other / f"{name}.safetensors"), weights, share)
            save_tensors({key: tensor.half() for key, tensor in weights.items()}, aside / f"{name}.safetensors")
        (aside / CONFIG).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
        if text is not None:
            (aside / card.name).write_text(text, encoding="utf-8")

    write_folder(options.target, write)


def mean(one: dict[str, Tensor], other: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """`share` of one set of weights and the rest of the other."""
    return {key: one[key] * share + other[key] * (1 - share) for key in one}


if __name__ == "__main__":
    main()
