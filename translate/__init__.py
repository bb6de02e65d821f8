"""Image-to-image translation: prepare data, train pix2pix and CycleGAN models, translate images.

The folders `data/`, `pipelines/` and `configs/` of the checkout are imported as `translate.data`, `translate.pipelines`
and `translate.configs`.
"""

from pathlib import Path

__version__ = "0.1.0"

_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "pyproject.toml").is_file() and (_checkout / "pipelines").is_dir():
    __path__.append(
        str(_checkout)
    )  # run from a checkout: translate.data is ../data; an installed wheel has no such folder
