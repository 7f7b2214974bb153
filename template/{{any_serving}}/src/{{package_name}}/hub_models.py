"""Models of the hub, for serving: their files on this machine, and weights as safetensors only."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils.tqdm import disable_progress_bars

from . import hub
from .checkpoints import MANIFEST
from .errors import ConfigError

# no *.bin or *.pt, which can run code when they are loaded, and no *.py
FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")
# it would also list files that are not fetched, and the hub has hashes of its own
OTHER_FILES = (MANIFEST,)


def download(hub_id: str) -> Path:
    """The folder with the files of `owner/name` or `owner/name@revision`. Raises ConfigError.

    What is in the cache is not fetched again; without a network the cache has to have it all.
    """
    name, _, revision = hub_id.partition("@")
    hub.refuse_placeholder_token()
    disable_progress_bars()  # they would stand between the lines of the log
    reachable = hub.is_reachable()
    try:
        folder = Path(
            snapshot_download(
                name,
                revision=revision or None,
                allow_patterns=list(FILES),
                ignore_patterns=list(OTHER_FILES),
                local_files_only=not reachable,
            )
        )
    except (OSError, ValueError, HfHubHTTPError):
        raise ConfigError(
            f"--model {hub_id} is no local folder and "
            + (
                "the hub did not give it; check the spelling, or HF_TOKEN if it is gated"
                if reachable
                else "the hub cannot be reached and the cache does not have it; check the network, "
                "or name a local folder"
            )
        ) from None
    if not any(folder.glob("*.safetensors")):
        raise ConfigError(
            f"--model {hub_id} has no weights in safetensors, the only format that is loaded; "
            "name another revision or model"
        )
    return folder
