"""What a set of published weights is: an address, a preprocessing preset and the facts about it.

The behaviour is torchvision's (`torchvision.models._api`, 0.28), with two departures: an unknown name is a
SettingError that lists the names that exist (there a bare KeyError), and a member knows its file's name and
digest. Reading the file is the business of `fcn_jax.load_weights`, so there is no `get_state_dict`.
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
      transforms: makes the preset that the weights were trained with; takes its keyword arguments. None if
        only the address is known.
      meta: the published facts: `categories`, `num_params`, `min_size`, `recipe`, `_metrics`, `_ops`
        (GFLOPs), `_file_size` (MiB).
      sha256: the file's whole digest (64 hex digits), where it is known.
      sha1: likewise (40 hex digits): all that is known of some files from before 2016.
      size: the file's length in bytes, where it is known.

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
        """Gives the last part of the address."""
        return urlsplit(self.url).path.rpartition("/")[2]

    @property
    def digest(self) -> tuple[str, str] | None:
        """Gives what the file is verified by: an algorithm's name, and the hex digits that are known."""
        sha256 = self.sha256 or self.sha256_prefix
        if sha256:
            return "sha256", sha256
        return ("sha1", self.sha1) if self.sha1 else None

    @property
    def sha256_prefix(self) -> str | None:
        """Gives the head of the file's SHA-256, 8 hex digits, which PyTorch writes into the file's name."""
        found = re.search(r"-([0-9a-f]{8,64})\.\w+$", self.file_name)
        return found[1] if found else None


class WeightsEnum(enum.Enum):
    """The published weights of one model; each member's value is a `Weights`."""

    @classmethod
    def verify(cls, obj: "Self | str | None") -> Self | None:
        """Gives the member that `obj` means.

        Args:
          obj: a member, its name with or without the class ("DEFAULT", "FCN_ResNet50_Weights.DEFAULT"), or
            None, which passes through.

        Raises:
          WrongTypeError: neither a member of this enum nor a string nor None.
          SettingError: no member has this name; the message lists those that exist.
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
        return getattr, (type(self), self.name)  # by name: values are not found by being equal

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
