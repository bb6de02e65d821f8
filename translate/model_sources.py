"""Where models come from, and go: folders, what ships with the package, and the hub."""

import re
from pathlib import Path
from typing import Any

from translate.checkpoint import CheckpointError, recover_folder
from translate.model_folder import CONFIG, FILES


def shipped_models() -> list[str]:
    """The models that ship, by name."""
    return sorted(path.name for path in _shipped().iterdir() if (path / CONFIG).is_file())


def find_model(model: str | Path, *, revision: str | None = None, **download: Any) -> Path:
    """The folder of a model: a path, the name of one that ships, or a hub id "owner/name", which is downloaded.

    Args:
        revision: branch, tag or commit of a hub id.
        download: further arguments of `huggingface_hub.snapshot_download`.

    Raises:
        CheckpointError: there is no such model, or it cannot be downloaded.
    """
    recover_folder(Path(model))
    if str(model) in shipped_models() and not (Path(model) / CONFIG).is_file():
        return _shipped() / str(model)  # a folder of that name without a model does not hide it
    if Path(model).is_dir():
        return Path(model)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(model)) or Path(model).parent.is_dir():
        raise CheckpointError(
            f"there is no model {str(model)!r}: give a model folder, a hub id (owner/name), or a model that ships, "
            f"{', '.join(shipped_models())}"
        )
    return _download(str(model), revision, download)


def upload_model(folder: Path, repository: str, *, private: bool | None, token: str | None) -> str:
    """Upload a model folder to the hub as "owner/name" and return the URL of the commit.

    Raises:
        CheckpointError: the hub cannot be reached, or refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    try:
        name = api.create_repo(repository, private=private, exist_ok=True).repo_id
        return str(api.upload_folder(repo_id=name, folder_path=folder, commit_message="upload the model"))
    except Exception as error:  # the errors of its HTTP client, which changes with its version, pass through
        raise CheckpointError(
            f"the hub did not take {repository!r} ({type(error).__name__}): check the name, your connection and your "
            "login (hf auth login)"
        ) from None


def _download(repository: str, revision: str | None, download: dict[str, Any]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(FILES), **download))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"{repository!r} is no folder here, and the hub did not give it ({type(error).__name__}): check the name, "
            "your connection and, for a private model, your login"
        ) from None


def _shipped() -> Path:
    return Path(__file__).parent / "models"
