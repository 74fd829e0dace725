"""Puts a model on the hub: its weights with their metadata, and a model card."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fcn_jax.models.model import SegmentationModel
from fcn_jax.sharing.card import model_card
from fcn_jax.weights.download.fetching import is_offline
from fcn_jax.weights.hub.client import LOG_IN, HubError, client, explained
from fcn_jax.weights.hub.download import USUAL
from fcn_jax.weights.hub.names import SCHEME, HubName
from fcn_jax.weights.loading import save_weights

CARD = "README.md"


def push_to_hub(
    model: SegmentationModel,
    repo: str,
    *,
    private: bool = False,
    licence: str | None = None,
    data: str | None = None,
    token: str | None = None,
    message: str = "Add weights of fcn_jax",
    facts: Mapping[str, str] | None = None,
) -> HubName:
    """Puts a model's weights on the Hugging Face Hub, as one commit.

    The repository gets `model.safetensors`, with spec, classes, colours and transforms in its metadata, and a
    model card, if it has none yet. It is made if it does not exist.

    Args:
      model: a model from one of the builders.
      repo: "user/repo", or hf://user/repo@branch.
      private: makes a new repository private.
      licence: the hub's key of the weights' licence, such as "apache-2.0", for the card.
      data: what the weights were trained on, in words, for the card.
      token: of an account that may write there; by default the one that `hf auth login` stored, or HF_TOKEN.
      message: of the commit.
      facts: more metadata for the file, {name: text}.

    Returns:
      The name under which these weights can be loaded, with the commit as revision.

    Raises:
      SettingError: `repo` is no name of a repository.
      HubError: no token, no network, or no right to write there; the message says what to do.
      MissingPackageError: huggingface_hub is not installed.
      WrongTypeError: `model` is not a model of this package.
    """
    wanted = HubName.parse(repo if repo.startswith(SCHEME) else SCHEME + repo)._replace(file=None)
    hub = client()
    if is_offline():
        raise HubError("FCN_JAX_OFFLINE forbids the network", str(wanted), hint="unset it")
    token = token or hub.get_token()
    if not token:
        raise HubError("there is no token, so the hub would refuse", str(wanted), hint=LOG_IN)
    with tempfile.TemporaryDirectory() as folder, explained(wanted, writing=True):
        path = Path(folder) / USUAL
        save_weights(model, path, facts=facts)
        api = hub.HfApi(token=token)
        api.create_repo(wanted.repo, private=private, exist_ok=True)
        if wanted.revision is not None:
            api.create_branch(wanted.repo, branch=wanted.revision, exist_ok=True)
        operations = [hub.CommitOperationAdd(USUAL, os.fspath(path))]
        if not api.file_exists(wanted.repo, CARD, revision=wanted.revision):
            card = model_card(model.spec, model.meta, facts or {}, str(wanted), licence=licence, data=data)
            operations.append(hub.CommitOperationAdd(CARD, card.encode()))
        commit = api.create_commit(wanted.repo, operations, commit_message=message, revision=wanted.revision)
    return wanted._replace(revision=commit.oid)
