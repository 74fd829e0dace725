"""The description of a network that models and files carry."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal

from weights_converter.errors import SettingError

LearnUpsampling = Literal["none", "intermediate"]
Stem = Literal["torchvision", "deep"]
TRUNKS = {"vgg16": "vgg16_trunk"}
"""{classifier: the name of its convolutions alone, without fc6 and fc7}."""
CLASSIFIERS = ("resnet50", "resnet101", "vgg16", "caffenet", *TRUNKS.values())
"""The ImageNet classifiers, or trunks of them, that serve as backbones."""
PUBLISHED_WIDTHS = {
    "vgg16": ((64, 128, 256, 512, 512), 4096),
    "caffenet": ((96, 256, 384, 384, 256), 4096),
}
"""{backbone of the paper's networks: (features, fc_features)}."""
RESNET_WIDTHS = (64, 64, 128, 256, 512)
"""`features` of mmsegmentation's networks as published."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """All that is needed to build a network, without its weights. Models and files carry it.

    Attributes:
      name: the builder's name, as `fcn_jax.get_model` takes it; or one of `CLASSIFIERS`.
      num_classes: classes of the segmentation; 1 for one logit, which tells foreground from background; 0 for
        a classifier, whose last layer is not used.
      aux_loss: whether there is an auxiliary head.
      features: for the paper's networks: widths of the backbone's five blocks; for mmsegmentation's: of the
        stem and the four stages. None for torchvision's.
      fc_features: for the paper's networks: width of fc6 and fc7. None for all others, and for a trunk.
      learn_upsampling: for the paper's networks: which upsamplings are parameters rather than constants.
        Files from other programs do not say; they are read as "none".
      in_channels: channels of the images.
      stem: "deep" for mmsegmentation's networks whose ResNet begins with three 3x3 convolutions.
      align_corners: how logits are upsampled: whether the corners of both maps coincide. Only some of
        mmsegmentation's networks do so.

    Raises:
      SettingError: a value has another type, or is out of range.
    """

    name: str
    num_classes: int = 0
    aux_loss: bool = False
    features: tuple[int, ...] | None = None
    fc_features: int | None = None
    learn_upsampling: LearnUpsampling = "none"
    in_channels: int = 3
    stem: Stem = "torchvision"
    align_corners: bool = False

    def __post_init__(self):
        if self.is_classifier and self.num_classes != 0:
            raise SettingError(
                subject="num_classes",
                expected=f"none for the classifier {self.name}",
                got=repr(self.num_classes),
            )
        counts = [("in_channels", self.in_channels)]
        if not self.is_classifier:
            counts.append(("num_classes", self.num_classes))
        if self.fc_features is not None:
            counts.append(("fc_features", self.fc_features))
        counts += [("features", width) for width in self.features or ()]
        for field, value in counts:
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise SettingError(subject=field, expected="a number of at least 1", got=repr(value))
        if self.features is not None and len(self.features) != 5:
            raise SettingError(subject="features", expected="widths of 5 blocks", got=repr(self.features))
        if self.learn_upsampling not in ("none", "intermediate"):
            raise SettingError(
                subject="learn_upsampling",
                expected="'none' or 'intermediate'",
                got=repr(self.learn_upsampling),
            )
        if self.stem not in ("torchvision", "deep"):
            raise SettingError(subject="stem", expected="'torchvision' or 'deep'", got=repr(self.stem))
        for field in ("aux_loss", "align_corners"):
            if not isinstance(getattr(self, field), bool):
                raise SettingError(subject=field, expected="True or False", got=repr(getattr(self, field)))

    @property
    def is_classifier(self) -> bool:
        """Whether this is an ImageNet classifier rather than a segmentation network."""
        return self.name in CLASSIFIERS

    @property
    def num_labels(self) -> int:
        """How many labels the network can give: its classes; 2 for one logit."""
        return 2 if self.num_classes == 1 else self.num_classes

    @property
    def trunk(self) -> "ModelSpec | None":
        """The spec of a file with the convolutions of this classifier alone; None if there is none."""
        if self.name not in TRUNKS:
            return None
        return dataclasses.replace(self, name=TRUNKS[self.name], fc_features=None)

    def __str__(self) -> str:
        """Describes the network in words: "fcn_resnet50 (21 classes, with aux_classifier)"."""
        if self.is_classifier:
            trunk = self.name in TRUNKS.values()
            facts = ["convolutions without fc6 and fc7" if trunk else "an ImageNet classifier"]
        else:
            facts = ["one logit" if self.num_classes == 1 else f"{self.num_classes} classes"]
        if self.fc_features is None and not self.is_classifier:
            facts.append(f"{'with' if self.aux_loss else 'without'} aux_classifier")
        published = (*PUBLISHED_WIDTHS.values(), (RESNET_WIDTHS, None))
        if self.name in TRUNKS.values():
            published = tuple((features, None) for features, _ in PUBLISHED_WIDTHS.values())
        if self.features is not None and (self.features, self.fc_features) not in published:
            widths = (*self.features, *filter(None, [self.fc_features]))
            facts.append(f"widths {', '.join(map(str, widths))}")
        if self.stem == "deep":
            facts.append("deep stem")
        if self.align_corners:
            facts.append("aligned corners")
        if self.in_channels != 3:
            facts.append(f"{self.in_channels} input channels")
        return f"{self.name} ({', '.join(facts)})"

    def to_json(self) -> str:
        """Returns the spec as one line of JSON, without fields that have their default."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return json.dumps({name: value for name, value in fields.items() if value != defaults[name]})

    @staticmethod
    def from_json(text: str) -> "ModelSpec":
        """Reads what `to_json` wrote.

        Raises:
          SettingError: the text is not such JSON, or has a field that this version does not know.
        """
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SettingError(subject="spec", expected="JSON", got=repr(text[:80])) from error
        return ModelSpec(**_checked(fields))


_KINDS = {
    "name": str,
    "num_classes": int,
    "aux_loss": bool,
    "features": list,
    "fc_features": int,
    "learn_upsampling": str,
    "in_channels": int,
    "stem": str,
    "align_corners": bool,
}


def _checked(fields: Any) -> Mapping[str, Any]:
    if not isinstance(fields, dict) or "name" not in fields:
        raise SettingError(subject="spec", expected='an object with a "name"', got=repr(fields)[:80])
    unknown = [name for name in fields if name not in _KINDS]
    if unknown:
        raise SettingError(
            subject="spec",
            expected=f"the fields {', '.join(_KINDS)}",
            got=", ".join(map(repr, unknown[:8])),
            hint="read the file with the version of fcn_jax that wrote it",
        )
    for name, value in fields.items():
        if not isinstance(value, _KINDS[name]):
            raise SettingError(subject=f"spec: {name}", expected=_KINDS[name].__name__, got=repr(value)[:80])
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
