"""Make a model that ships of one that was trained: its generators in fp16, and no discriminators.

    python tools/ship_model.py RUN/model translate/models/NAME

A README.md that is there already, the model card, stays.
"""

import sys
from pathlib import Path

from translate.checkpoint import load_tensors, save_tensors, write_folder
from translate.model_folder import CONFIG, read_config


def main(model: Path, target: Path) -> None:
    config = read_config(model).model_copy(update={"discriminators": {}})
    card = target / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else None

    def write(aside: Path) -> None:
        for name in config.generators:
            halved = {key: tensor.half() for key, tensor in load_tensors(model / f"{name}.safetensors").items()}
            save_tensors(halved, aside / f"{name}.safetensors")
        (aside / CONFIG).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
        if text is not None:
            (aside / card.name).write_text(text, encoding="utf-8")

    write_folder(target, write)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
