"""Published weights: an address, a transforms preset, and facts about the weights.

The behaviour is torchvision's (`torchvision.models._api`, 0.28), with three differences: an unknown name is a
SettingError that lists all names (there a bare KeyError); a member knows its file's name and digest; and
`fcn_jax.load_weights` reads the file, so there is no `get_state_dict`.
"""

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from fcn_jax.errors import SettingError, WrongTypeError
from fcn_jax.transforms import Preset


@dataclass(frozen=True)
class Weights:
    """One published file of weights.

    Attributes:
      url: where the file is served.
      transforms: makes the preset for these weights; takes the preset's keyword arguments. None if only
        the address is known.
      meta: the published facts: `categories`, `num_params`, `min_size`, `recipe`, `_metrics`, `_ops`
        (GFLOPs), `_file_size` (MiB).
      sha256: the file's whole SHA-256 (64 hex digits), if known.
      sha1: the file's SHA-1 (40 hex digits), if known; some files from before 2016 have no other digest.
      size: the file's length in bytes, if known.

    Raises:
      SettingError: `sha256` does not begin with the digits in the file's name.
    """

    url: str
    transforms: Callable[..., Preset] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    sha256: str | None = None
    sha1: str | None = None
    size: int | None = None

    def __post_init__(self):
        if self.sha256 and not self.sha256.startswith(self.sha256_prefix or ""):
            raise SettingError(
                subject="sha256",
                expected=f"{self.sha256_prefix}..., as in the name {self.file_name}",
                got=self.sha256,
            )

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return urlsplit(self.url).path.rpartition("/")[2]

    @property
    def digest(self) -> tuple[str, str] | None:
        """The digest that verifies the file: the algorithm's name, and the known hex digits."""
        sha256 = self.sha256 or self.sha256_prefix
        if sha256:
            return "sha256", sha256
        return ("sha1", self.sha1) if self.sha1 else None

    @property
    def sha256_prefix(self) -> str | None:
        """The first digits of the file's SHA-256, which PyTorch writes into the file's name; usually 8."""
        found = re.search(r"-([0-9a-f]{8,64})\.\w+$", self.file_name)
        return found[1] if found else None


class WeightsEnum(enum.Enum):
    """The published weights of one model; each member's value is a `Weights`."""

    @classmethod
    def verify(cls, obj: "Self | str | None") -> Self | None:
        """Returns the member for a name; returns members and None unchanged.

        Args:
          obj: a member, its name ("DEFAULT" or "FCN_ResNet50_Weights.DEFAULT"), or None.

        Raises:
          WrongTypeError: not a member of this enum, a string or None.
          SettingError: no member has this name; the message lists all names.
        """
        if obj is None or isinstance(obj, cls):
            return obj
        if not isinstance(obj, str):
            raise WrongTypeError(
                expected=f"{cls.__name__}, its name or None", got=f"{type(obj).__name__}: {obj!r}"
            )
        name = obj.removeprefix(f"{cls.__name__}.")
        if name not in cls.__members__:
            raise SettingError(f"{cls.__name__} has no member {obj!r}; it has {', '.join(cls.__members__)}")
        return cls[name]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return getattr, (type(self), self.name)  # by name, because equal values are not the same object

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    @property
    def url(self) -> str:
        return self.value.url

    @property
    def transforms(self) -> Callable[..., Preset]:
        return self.value.transforms

    @property
    def meta(self) -> Mapping[str, Any]:
        return self.value.meta

    @property
    def file_name(self) -> str:
        return self.value.file_name

    @property
    def sha256_prefix(self) -> str | None:
        return self.value.sha256_prefix
