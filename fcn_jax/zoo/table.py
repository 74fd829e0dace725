"""The models as data: one row for each."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from fcn_jax.models import fcn, mmseg, skip_fcn
from fcn_jax.models.model import SegmentationModel
from fcn_jax.weights import WeightsEnum, get_model_weights
from weights_converter import ModelSpec
from weights_converter.spec import PUBLISHED_WIDTHS, RESNET_WIDTHS


class Entry(NamedTuple):
    """A row of the table.

    Attributes:
      name: the builder's name.
      network: the model's class.
      create: makes the model from a spec, with random weights.
      random: the default spec of a model with random weights.
      published: the spec of the published weights, known before the download; a member whose spec differs
        has the fields in its `meta["spec"]`.
      weights, weights_backbone: the published weights of the model and of its backbone.
      coarser: the model whose weights start the training of this one.
    """

    name: str
    network: type[SegmentationModel]
    create: Callable[..., SegmentationModel]
    random: ModelSpec
    published: ModelSpec
    weights: type[WeightsEnum]
    weights_backbone: type[WeightsEnum]
    coarser: str | None = None


def _torchvision(name: str, backbone: str) -> Entry:
    return Entry(
        name=name,
        network=fcn.FCN,
        create=fcn.create,
        random=ModelSpec(name=name, num_classes=21),
        published=ModelSpec(name=name, num_classes=21, aux_loss=True),
        weights=get_model_weights(name),
        weights_backbone=get_model_weights(backbone),
    )


def _mmsegmentation(name: str, backbone: str) -> Entry:
    spec = ModelSpec(name=name, num_classes=19, features=RESNET_WIDTHS, stem="deep")
    return Entry(
        name=name,
        network=mmseg.MMSegFCN,
        create=mmseg.create,
        random=spec,
        published=dataclasses.replace(spec, aux_loss=True),
        weights=get_model_weights(name),
        weights_backbone=get_model_weights(backbone),
    )


def _paper(name: str, backbone: str) -> Entry:
    features, fc_features = PUBLISHED_WIDTHS[backbone]
    spec = ModelSpec(name=name, num_classes=21, features=features, fc_features=fc_features)
    return Entry(
        name=name,
        network=skip_fcn.SkipFCN,
        create=skip_fcn.create,
        random=spec,
        published=spec,
        weights=get_model_weights(name),
        weights_backbone=get_model_weights(backbone),
        coarser=skip_fcn.VARIANTS[name].coarser,
    )


MODELS = {
    entry.name: entry
    for entry in (
        _torchvision("fcn_resnet50", "resnet50"),
        _torchvision("fcn_resnet101", "resnet101"),
        _paper("fcn32s_vgg16", "vgg16"),
        _paper("fcn16s_vgg16", "vgg16"),
        _paper("fcn8s_vgg16", "vgg16"),
        _paper("fcn8s_atonce_vgg16", "vgg16"),
        _paper("fcn32s_alexnet", "caffenet"),
        _mmsegmentation("fcn_r50_d8", "resnet50"),
        _mmsegmentation("fcn_r101_d8", "resnet101"),
        _mmsegmentation("fcn_r50_d6", "resnet50"),
        _mmsegmentation("fcn_r101_d6", "resnet101"),
        _mmsegmentation("fcn_r18_d8", "resnet50"),
    )
}
