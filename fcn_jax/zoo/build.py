"""What all builders share: building a model and filling it from published weights, a file or arrays.

The spec of the weights decides the number of classes, the widths and the auxiliary head. If the caller asked
for something else, the error names both.
"""

import dataclasses
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from flax import nnx

from fcn_jax.errors import SettingError
from fcn_jax.models.arrays import named_variables
from fcn_jax.models.model import SegmentationModel
from fcn_jax.weights import WeightsEnum, fetch
from fcn_jax.weights.adaptation import Adapt
from fcn_jax.weights.hub import hub_file, is_hub_name
from fcn_jax.weights.loading import default_transforms, fill, load_backbone
from fcn_jax.zoo.table import MODELS, Entry
from weights_converter import Account, Conversion, ModelSpec, Source, read_weights

MOST_SHOWN = 8  # names in one line
_logger = logging.getLogger(__name__)

# How to get what was asked for in another way, by argument.
ADVICE = {
    "num_classes": 'build without weights and use load_weights(model, path, head="replace")',
    "aux_loss": 'build without weights and use load_weights(model, path, aux="drop") or (..., aux="keep")',
}


def build(
    entry: Entry,
    asked: dict[str, Any],
    *,
    weights: WeightsEnum | Source | None,
    weights_backbone: WeightsEnum | Source | None,
    adapt: Adapt = "mean",
    progress: bool,
    rngs: nnx.Rngs | None,
    dtype: Any,
    param_dtype: Any,
    strict: bool = True,
    key: str | None = None,
) -> SegmentationModel:
    """Builds a model in evaluation mode, with the `meta` of its weights.

    Args:
      entry: the model's row in the table.
      asked: fields of the spec; None for those that the caller left out.

    Other arguments and errors are those of the builders.
    """
    asked = {name: value for name, value in asked.items() if value is not None}
    settings = {"rngs": rngs, "dtype": dtype, "param_dtype": param_dtype}
    source = weights_source("weights", weights, entry.weights)
    if source is not None:
        if isinstance(source, WeightsEnum):  # before the download: the published spec is known
            published = dataclasses.replace(entry.published, **source.meta.get("spec", {}))
            _check_asked(_without_channels(asked, published, adapt), published, repr(source))
            asked["align_corners"] = published.align_corners  # should the file not say it
        conversion = read_weights(_fetched(source, progress), strict=strict, key=key)
        model = build_filled(entry, conversion, asked, strict=strict, adapt=adapt, **settings)
        if isinstance(source, WeightsEnum) and model.categories is None:
            model.update_meta(categories=source.meta["categories"])
        return model
    spec = dataclasses.replace(entry.random, **asked)
    model = entry.create(spec, **settings | {"rngs": rngs or nnx.Rngs(0)})
    model.update_meta(transforms=default_transforms(model, None))
    if weights_backbone is not None:
        start_backbone(model, weights_backbone, adapt=adapt, progress=progress)
    model.eval()
    return model


def start_backbone(
    model: SegmentationModel,
    weights_backbone: WeightsEnum | Source,
    *,
    adapt: Adapt = "require",
    progress: bool = True,
) -> Account:
    """Fills a model's backbone from published weights or a classifier's checkpoint.

    A log message names the layers of the backbone that the file lacks: fc6 and fc7 of a VGG16 without them.

    Raises:
      SettingError, WrongTypeError, CheckpointError, WeightsDownloadError: see the builders.
    """
    published = MODELS[model.spec.name].weights_backbone
    source = weights_source("weights_backbone", weights_backbone, published)
    assert source is not None, "only None gives None"
    account = load_backbone(model, _fetched(source, progress), adapt=adapt)
    fresh = [name.rpartition(".")[0] for name in account.fresh if name.startswith("backbone.")]
    if fresh:
        what = "the backbone's weights" if isinstance(source, Mapping) else source
        _logger.warning("%s: not in it, so at random: %s", what, ", ".join(dict.fromkeys(fresh)))
    return account


def build_filled(
    entry: Entry,
    conversion: Conversion,
    asked: Mapping[str, Any] | None = None,
    *,
    strict: bool = True,
    adapt: Adapt = "require",
    rngs: nnx.Rngs | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> SegmentationModel:
    """Builds a model filled from a conversion, in evaluation mode; see `build`."""
    if conversion.spec.name != entry.coarser:
        hint = f"its training can start from {entry.coarser}" if entry.coarser else None
        conversion = conversion.for_model(entry.name, hint)
    conversion = conversion.settled((asked or {}).get("align_corners"))
    own = {
        name: value
        for name, value in (asked or {}).items()
        if name == "learn_upsampling" or (name == "in_channels" and adapt != "require")
    }
    _check_asked(
        _without_channels(asked or {}, conversion.spec, adapt), conversion.spec, str(conversion.spec)
    )
    spec = dataclasses.replace(conversion.spec, name=entry.name, **own)
    # Shapes only: random weights that are overwritten at once would take many times as long.
    model = nnx.eval_shape(lambda: entry.create(spec, rngs=_same_key(), dtype=dtype, param_dtype=param_dtype))
    if not strict and any(name not in conversion.params for name in named_variables(model)):
        model = entry.create(spec, rngs=rngs or nnx.Rngs(0), dtype=dtype, param_dtype=param_dtype)
    account = fill(model, conversion, strict=strict, adapt=adapt)
    _tell(conversion, account)
    if model.transforms is None:
        model.update_meta(transforms=default_transforms(model, None))
    for _, module in nnx.iter_graph(model):
        if isinstance(module, nnx.Dropout):
            module.rngs = nnx.Dropout(module.rate, rngs=rngs or nnx.Rngs(0)).rngs
    model.eval()
    return model


def _tell(conversion: Conversion, account: Account) -> None:
    """Logs what a file had beside the network, and what strict=False let pass."""
    remark = conversion.remark()
    if remark is not None:
        _logger.info("%s: %s", conversion.path or "weights", remark)
    for names, what in (
        (account.fresh, "not in the file, so with initial values"),
        (account.dropped, "left out"),
    ):
        let_pass = [name for name, why in names.items() if why.startswith("strict=False")]
        if let_pass:
            more = f" and {len(let_pass) - MOST_SHOWN} more" if len(let_pass) > MOST_SHOWN else ""
            some = ", ".join(let_pass[:MOST_SHOWN])
            _logger.warning("%s: %s: %s%s", conversion.path or "weights", what, some, more)


class _SameKey(nnx.RngStream):
    """Always the same key, for shapes. Counting keys while tracing is quadratic in the layers: 1.4 s more."""

    def __call__(self):
        return self.key[...]


def _same_key() -> nnx.Rngs:
    rngs: Any = nnx.Rngs()  # its streams are attributes of any name
    rngs.default = _SameKey(0, tag="default")
    return rngs


def _without_channels(asked: Mapping[str, Any], has: ModelSpec, adapt: Adapt) -> Mapping[str, Any]:
    """Leaves out the channels that were asked for, if weights for three are adapted to them."""
    adapts = adapt != "require" and has.in_channels == 3
    return {name: value for name, value in asked.items() if name != "in_channels" or not adapts}


def _check_asked(asked: Mapping[str, Any], has: ModelSpec, what: str) -> None:
    for name, value in asked.items():
        found = getattr(has, name)
        if name != "learn_upsampling" and found != value:  # learn_upsampling changes no tensor
            raise SettingError(
                f"{name}={value} was asked for, but {what} has {name}={found}",
                hint=f"leave {name} out, or {ADVICE.get(name, 'build without weights')}",
            )


def weights_source(argument: str, weights, published: type[WeightsEnum]) -> WeightsEnum | Source | None:
    """Returns the member of the enum that `weights` names, or the caller's own file or arrays.

    Raises:
      SettingError: a string that is neither a file nor a member.
      WrongTypeError: another type, or a member of another enum.
    """
    if isinstance(weights, Mapping | os.PathLike) or is_hub_name(weights):
        return weights
    if (
        isinstance(weights, str)
        and weights.removeprefix(f"{published.__name__}.") not in published.__members__
    ):
        if not Path(weights).exists():
            names = ", ".join(published.__members__)
            raise SettingError(
                f"there is no file {weights!r}; expected a checkpoint file, or the name of published "
                f"weights ({names})",
                subject=argument,
            )
        return weights
    return published.verify(weights)


def _fetched(weights: WeightsEnum | Source, progress: bool) -> Source:
    return fetch(weights, progress=progress) if isinstance(weights, WeightsEnum) else hub_file(weights)
