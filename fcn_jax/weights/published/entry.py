"""What a set of published weights is: an address, a preprocessing preset and the facts about it.

The behaviour is torchvision's (`torchvision.models._api`, 0.28), with two departures: an unknown name is a
ValueError that lists the names that exist (there a bare KeyError), and a member knows its file's name and
digest. Reading the file is the business of `fcn_jax.load_weights`, so there is no `get_state_dict`.
"""

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Weights:
    """One published file of weights.

    Attributes:
      url: where the file is served.
      transforms: makes the preprocessing that the weights were trained with; takes its keyword arguments.
      meta: the published facts: `categories`, `num_params`, `min_size`, `recipe`, `_metrics`, `_ops`
        (GFLOPs), `_file_size` (MiB).
      sha256: the file's whole digest (64 hex digits), where it is known.
      sha1: likewise (40 hex digits): all that is known of some files from before 2016.
      size: the file's length in bytes, where it is known.

    Raises:
      ValueError: `sha256` does not begin with the digits in the file's name.
    """

    url: str
    transforms: Callable[..., Callable[[Any], Any]]
    meta: Mapping[str, Any]
    sha256: str | None = None
    sha1: str | None = None
    size: int | None = None

    def __post_init__(self):
        if self.sha256 and not self.sha256.startswith(self.sha256_prefix or ""):
            raise ValueError(f"{self.file_name} names another digest than {self.sha256}")

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return urlsplit(self.url).path.rpartition("/")[2]

    @property
    def digest(self) -> tuple[str, str] | None:
        """What the file is verified by: the algorithm's name, and all that is known of the hex digest."""
        if self.sha256 or self.sha256_prefix:
            return "sha256", self.sha256 or self.sha256_prefix
        return ("sha1", self.sha1) if self.sha1 else None

    @property
    def sha256_prefix(self) -> str | None:
        """The head of the file's SHA-256, 8 hex digits, as PyTorch writes it into the file's name."""
        found = re.search(r"-([0-9a-f]{8,64})\.\w+$", self.file_name)
        return found and found[1]


class WeightsEnum(enum.Enum):
    """The published weights of one model; each member's value is a `Weights`."""

    @classmethod
    def verify(cls, obj: "Self | str | None") -> Self | None:
        """Gives the member that `obj` means.

        Args:
          obj: a member, its name with or without the class ("DEFAULT", "FCN_ResNet50_Weights.DEFAULT"), or
            None, which passes through.

        Raises:
          TypeError: neither a member of this enum nor a string nor None.
          ValueError: no member has this name; the message lists those that exist.
        """
        if obj is None or isinstance(obj, cls):
            return obj
        if not isinstance(obj, str):
            raise TypeError(f"expected {cls.__name__}, its name or None, got {type(obj).__name__}: {obj!r}")
        name = obj.removeprefix(f"{cls.__name__}.")
        if name not in cls.__members__:
            raise ValueError(f"{cls.__name__} has no member {obj!r}; it has {', '.join(cls.__members__)}")
        return cls[name]

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    @property
    def url(self) -> str:
        return self.value.url

    @property
    def transforms(self) -> Callable[..., Callable[[Any], Any]]:
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
