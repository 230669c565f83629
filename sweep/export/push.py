"""Upload of an exported folder to the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xlt.data.core.errors import InputError
from xlt.data.core.text import first_few

LOGIN = "give a token with write access: `hf auth login`, or the variable HF_TOKEN"
OWN = {".gitattributes"}
"""Files that the hub itself puts into a new repository."""


def prepare_repository(name: str, public: bool) -> None:
    """Create a repository, private unless ``public``; an existing one of that kind is used.

    Raises:
        InputError: The name is none, there is no token, the hub refuses, an existing repository is
            of the other kind, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        name = ""
    if name.count("/") != 1:
        raise InputError("is no name of a repository; write ORG/NAME", "--push")
    if get_token() is None:
        raise InputError(f"the hub asks who you are; {LOGIN}", name)
    with _explaining(name):
        api = HfApi()
        api.create_repo(name, private=not public, exist_ok=True)
        is_private = bool(api.model_info(name).private)
    if is_private == public:
        remedy = "leave out --public" if is_private else "give --public"
        kind = "private" if is_private else "public"
        raise InputError(f"exists and is {kind}; {remedy}, or give another name", name)


def upload(folder: Path, name: str) -> str:
    """Upload a folder in one commit.

    Returns:
        Address of the commit.

    Raises:
        InputError: The repository holds other files, the hub refuses, or it cannot be reached.
    """
    from huggingface_hub import HfApi

    ours = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    with _explaining(name):
        api = HfApi()
        others = sorted({*api.list_repo_files(name)} - ours - OWN)
        if others:
            raise InputError(
                f"holds other files ({first_few(others)}), with which the model may not load; "
                "remove them, or give another name",
                name,
            )
        commit = api.upload_folder(repo_id=name, folder_path=folder, commit_message="xlt export")
        return commit.commit_url


@contextmanager
def _explaining(name: str) -> Iterator[None]:
    """Turn errors of the hub into one sentence, which never holds what was sent."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except InputError:
        raise
    except OfflineModeIsEnabled as error:
        raise InputError(
            "HF_HUB_OFFLINE forbids uploads; unset it, or omit --push", name
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no status"
        why = f"your token has no right to write there (status {status}); {LOGIN}"
        if status not in (401, 403, 404):
            why = f"the hub refuses the upload (status {status}); try again later"
        raise InputError(why, name) from None
    except (HTTPError, OSError) as error:
        raise InputError(
            f"the hub cannot be reached ({type(error).__name__}); connect, or omit --push", name
        ) from None
