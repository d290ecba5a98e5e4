"""`mmpr publish --with-viewer`: the static viewer of a dataset as a static Space of the Hub, beside the data set."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

from mmpr_pipeline.core.errors import HubError
from mmpr_pipeline.core.masking import masked
from mmpr_pipeline.core.progress import Progress, no_progress
from mmpr_pipeline.dataset.publish.hub_errors import MESSAGE_CHARS, error_text
from mmpr_pipeline.report.viewer.bundle import write_bundle


def publish_viewer(out: str | Path, name: str, *, private: bool = True, progress: Progress = no_progress) -> str:
    """Write the bundle and make it the Space `name`; returns the address. `private` decides about a new Space only.

    The same call again sends what changed. Raises HubError where the Hub refuses, DatasetError where no shard is
    finished.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=os.environ.get("HF_TOKEN"))
    with TemporaryDirectory(prefix="mmpr-viewer-") as folder:
        write_bundle(out, Path(folder) / "viewer", progress)
        try:
            api.create_repo(name, repo_type="space", space_sdk="static", private=private, exist_ok=True)
            with warnings.catch_warnings():  # the page reads Parquet: it is meant to be in the Space
                warnings.filterwarnings("ignore", "It seems that you are about to commit a data file", UserWarning)
                api.upload_folder(
                    folder_path=Path(folder) / "viewer",
                    repo_id=name,
                    repo_type="space",
                    commit_message="The viewer of the data set",
                )
        except (OSError, ValueError, RuntimeError) as error:  # what the client raises is one of these
            message = masked(error_text(error), api.token if isinstance(api.token, str) else None)
            raise HubError(
                f"The Hub did not take the Space {name}: {message[:MESSAGE_CHARS]}",
                remedy="Use a token that may write Spaces; or `mmpr view OUT --bundle DIR` and upload the folder.",
            ) from None
    return f"{os.environ.get('HF_ENDPOINT', 'https://huggingface.co')}/spaces/{name}"
