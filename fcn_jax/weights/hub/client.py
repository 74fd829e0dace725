"""The hub's client library, and its errors in our words."""

import contextlib
from collections.abc import Iterator
from types import ModuleType
from typing import ClassVar

from fcn_jax.errors import FCNError, MissingPackageError
from fcn_jax.weights.hub.names import HubName


class HubError(FCNError, OSError):
    """The hub does not give a file, or does not take one."""

    before_hint: ClassVar[str] = "\n  what to do: "


def client() -> ModuleType:
    """Imports `huggingface_hub`.

    Raises:
      MissingPackageError: it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingPackageError(
            f"names as hf://user/repo need huggingface_hub ({error})", hint="pip install 'fcn_jax[hub]'"
        ) from error
    return huggingface_hub


LOG_IN = "log in with `hf auth login`, or set HF_TOKEN to a token from the hub's settings"
LOOK_AT_NAME = f"check the name; if the repository is private, {LOG_IN}"


@contextlib.contextmanager
def explained(wanted: HubName, *, writing: bool = False) -> Iterator[None]:
    """Turns errors of the client, of HTTP and of the network into HubError.

    Args:
      wanted: the file concerned.
      writing: whether the repository is written to.
    """
    from huggingface_hub import errors

    try:
        yield
    except FCNError:
        raise
    except errors.HFValidationError as error:
        raise HubError(f"the hub knows no such name: {error}", str(wanted), hint="check the name") from error
    except errors.GatedRepoError as error:
        raise HubError(
            "the repository's owner grants access one by one, and this account has none",
            str(wanted),
            hint=f"ask for access on the repository's page, and {LOG_IN}",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise HubError(
            f"the repository has no revision {wanted.revision!r}",
            str(wanted),
            hint="name a branch, a tag or a commit after @, or leave it out",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(
            "there is no such repository on the hub, or no access to it", str(wanted), hint=LOOK_AT_NAME
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise not_here(wanted, _reason(error)) from error
    except errors.EntryNotFoundError as error:
        raise HubError(
            "the repository has no such file",
            str(wanted),
            hint=f"leave the file out, as hf://{wanted.repo}, or name one that its page lists",
        ) from error
    except errors.HfHubHTTPError as error:
        raise _http_error(wanted, error, writing) from error
    except (OSError, errors.OfflineModeIsEnabled) as error:
        raise not_here(wanted, _reason(error)) from error
    except RuntimeError as error:  # an upload that failed, wrapped by the client
        if not writing or error.__cause__ is None:
            raise
        raise HubError(
            f"the upload failed ({_reason(error.__cause__)})",
            str(wanted),
            hint="try again: nothing was changed",
        ) from error
    except Exception as error:
        if not type(error).__module__.startswith(("httpx", "httpcore")):
            raise
        raise not_here(wanted, _reason(error)) from error


def not_here(wanted: HubName, reason: str) -> HubError:
    """Returns the error for a hub that cannot be reached, and a file that is not in its cache."""
    name = wanted.repo if wanted.file is None else f"{wanted.repo} {wanted.file}"
    return HubError(
        f"the hub cannot be asked ({reason})",
        str(wanted),
        hint=f"with a network: hf download {name}; that fills the cache which is used here too. "
        "Or copy the file here, and name its path",
    )


def _http_error(wanted: HubName, error: Exception, writing: bool) -> HubError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        what = f"write to {wanted.repo}" if writing else "read it"
        return HubError(
            f"the hub does not let this account {what} (HTTP {status})",
            str(wanted),
            hint=LOG_IN + (", one that may write there" if writing else ""),
        )
    return HubError(
        f"the hub answered: {_reason(error)}", str(wanted), hint="try again later, or check the name"
    )


def _reason(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
