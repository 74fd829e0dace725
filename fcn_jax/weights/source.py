"""What may be named as weights: a checkpoint, arrays in memory, or published weights by name or member."""

import os
from collections.abc import Iterable

from fcn_jax.errors import WrongTypeError
from fcn_jax.weights.download.fetching import fetch
from fcn_jax.weights.hub import hub_file
from fcn_jax.weights.published.catalog import MODEL_WEIGHTS
from fcn_jax.weights.published.entry import WeightsEnum
from weights_converter import Source


def published(source: object, model_names: Iterable[str | None]) -> WeightsEnum | None:
    """Returns the published weights that a member of an enum or a name stands for; None for anything else.

    Args:
      source: "DEFAULT", "FCN_ResNet50_Weights.DEFAULT" or the member itself. A file of this name comes first.
      model_names: the models whose weights fit, the first one's name first.

    Raises:
      WrongTypeError: the member belongs to another model.
    """
    enums = [MODEL_WEIGHTS[name] for name in model_names if name in MODEL_WEIGHTS]
    if isinstance(source, WeightsEnum):
        if type(source) not in enums:
            known = " or ".join(enum.__name__ for enum in enums) or "a file"
            raise WrongTypeError(subject="weights", expected=known, got=repr(source))
        return source
    if isinstance(source, str) and not os.path.exists(source):
        family, _, member = source.rpartition(".")
        for enum in enums:
            if family in ("", enum.__name__) and member in enum.__members__:
                return enum[member]
    return None


def as_file(
    source: WeightsEnum | Source, model_names: Iterable[str | None], *, progress: bool = True
) -> tuple[Source, WeightsEnum | None]:
    """Returns the file or the arrays that weights stand for, and which published weights they are, if any.

    Raises:
      WrongTypeError: see `published`.
      WeightsDownloadError: published weights cannot be downloaded.
    """
    found = published(source, model_names)
    if found is not None:
        return fetch(found, progress=progress), found
    return hub_file(source), None  # type: ignore[arg-type]  # members have been dealt with
