"""TensorBoard and Weights & Biases, through Accelerate."""

import importlib.util
import json
from collections.abc import Sequence

from translate.recipe import ConfigError, Recipe
from translate.training.run_folder import flatten


def check_trackers(names: Sequence[str]) -> None:
    """Refuse a tracker that is not installed: Accelerate would leave it out without a word.

    Raises:
        ConfigError: naming the extra to install.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"logging.trackers names {name!r}, which is not installed: pip install 'translate-images[{name}]', "
                "or leave it out"
            )


def tracker_config(recipe: Recipe) -> dict[str, str | int | float | bool]:
    """The recipe as flat values, which is all that TensorBoard takes."""
    flat = flatten(recipe.to_json())
    return {
        key: value if isinstance(value, str | int | float | bool) else json.dumps(value) for key, value in flat.items()
    }
