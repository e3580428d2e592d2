"""Where a checkpoint lies: the bundled one, a folder, or a hub id that is downloaded or taken from the hub's cache."""

from __future__ import annotations

import re
from pathlib import Path

from espalier.engine.errors import CheckpointError
from espalier.engine.options import BUNDLED_MODEL

BUNDLED_FOLDER = Path(__file__).parent / "bundled"
# Neither pickles nor the second copies of weights that some repositories hold.
PATTERNS = ["*.json", "*.jinja", "model*.safetensors"]
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


def locate(model: str, revision: str | None = None) -> Path:
    """The folder of a checkpoint: 'bundled', a folder, or a hub id. A folder goes before a hub id of the same name.

    Raises CheckpointError with what to do when there is no such folder or the hub can't give it.
    """
    if model == BUNDLED_MODEL:
        return BUNDLED_FOLDER
    folder = _folder(model)
    if model and folder.is_dir():
        return folder
    if model and folder.exists():
        raise CheckpointError(f"{model!r} is a file; give the folder that holds config.json and model.safetensors")
    if not _HUB_ID.fullmatch(model):
        raise CheckpointError(f"there is no folder {model!r}, and it is no hub id of the form 'owner/name'")
    return _download(model, revision)


def _folder(model: str) -> Path:
    try:
        return Path(model).expanduser()
    except RuntimeError:  # no user of that name
        return Path(model)


def _download(model: str, revision: str | None) -> Path:
    import huggingface_hub as hub
    from huggingface_hub import errors

    try:
        return Path(hub.snapshot_download(model, revision=revision, allow_patterns=PATTERNS))
    except errors.GatedRepoError as error:
        raise CheckpointError(f"{model!r} is gated: accept its terms on the hub and set HF_TOKEN") from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"{model!r} has no revision {revision!r}") from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(f"the hub has no model {model!r}; if it is private, set HF_TOKEN") from error
    except Exception as error:  # the hub client lets errors of several network libraries through
        raise CheckpointError(
            f"{model!r} is not in the local cache and can't be downloaded ({type(error).__name__}): "
            "go online, or give the folder of a checkpoint"
        ) from error
