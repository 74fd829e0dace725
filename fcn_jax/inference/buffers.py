"""Chooses the buffer in which a picture is computed, so that few programs serve pictures of all sizes.

A program is compiled for one size of buffer and computes every picture that fits, with the result of a
program of its own size (see `fcn_jax.models.extent`). The rule weighs extra work against compiling, both in
pixels:

- A picture goes into the smallest buffer that holds it, among those that have a program.
- If none holds it, it gets a new one: the first buffer of all is as tight as possible, since many users have
  one size of pictures; later ones have their sides rounded up to `SIDES`, some 15 % apart. A border is work
  that every size has, so small pictures of the paper's networks have fewer sides, also some 15 % apart.
- The extra work of pictures of about the same size is added up. Once it exceeds the price of compiling, they
  get a tight buffer. So extra work of one size never costs much more than compiling for it would have.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

ALIGN = 8
"""Sides of buffers are multiples of this: no work is lost at the strides of the networks."""
SIDES = (520, 600, 696, 784, 928)
"""Sides between 520 and 1040; others are these times a power of two. 520 is the shorter edge of torchvision's
preset; the others are its longer edges for 8:7, 4:3, 3:2 and 16:9."""
NEEDLESS = 1.15
"""A side whose neighbours are no further apart than this, with their borders, needs no buffers of its own."""
PRICE = {"cpu": 10**6}
"""Pixels whose extra work costs as much as compiling: some two pictures through fcn_resnet50."""
PRICE_ELSEWHERE = 10**9
"""On an accelerator compiling takes ten seconds and more, and a picture a millisecond."""

Size = tuple[int, int]


class _Account(NamedTuple):
    """What pictures of about one size have cost: extra pixels, and the size that holds all of them."""

    extra: int = 0
    size: Size = (1, 1)


class Buffers:
    """Chooses buffers, and remembers what extra work they have cost.

    Args:
      platform: "cpu", "gpu" or "tpu".
      border: rows and columns that the network adds on every side of an image; they are work too.
    """

    def __init__(self, platform: str, border: int = 0):
        self._price = PRICE.get(platform, PRICE_ELSEWHERE)
        self._border = border
        self._sides = ladder(border)
        self._accounts: dict[Size, _Account] = {}

    def choose(self, size: Size, existing: Sequence[Size]) -> Size:
        """Chooses a buffer (H, W) for a picture of (h, w).

        Args:
          size: of the picture.
          existing: buffers that have a program; another one has to be compiled.
        """
        holding = [buffer for buffer in existing if holds(buffer, size)]
        tight, rounded = (align(size[0]), align(size[1])), self.round_up(size)
        if not holding:
            return rounded if existing else tight
        best = min(holding, key=self.work)
        extra, largest = self._accounts.pop(rounded, _Account())
        extra += self.work(best) - self.work(tight)
        largest = max(tight[0], largest[0]), max(tight[1], largest[1])
        if extra > self._price:
            return largest
        self._accounts[rounded] = _Account(extra, largest)
        return best

    def round_up(self, size: Size) -> Size:
        """Rounds both sides up to those of `ladder`; beyond its end to a multiple of `ALIGN`."""
        height, width = (next((side for side in self._sides if side >= edge), align(edge)) for edge in size)
        return height, width

    def work(self, size: Size) -> int:
        """Returns the pixels of a buffer with its border."""
        height, width = (edge + 2 * self._border for edge in size)
        return height * width


def holds(buffer: Size, size: Size) -> bool:
    """Tells whether a picture of `size` fits into a buffer."""
    return buffer[0] >= size[0] and buffer[1] >= size[1]


def align(length: int) -> int:
    """Rounds up to a multiple of `ALIGN`."""
    return -(-length // ALIGN) * ALIGN


@functools.cache
def ladder(border: int = 0) -> tuple[int, ...]:
    """Returns sides in rising order: `SIDES` times powers of two, without those that a border makes needless.

    A side is left out if, with the border on both ends, the next larger one is at most `NEEDLESS` times the
    next smaller one.
    """
    sides = sorted({align(math.ceil(side * 2.0**octave)) for side in SIDES for octave in range(-7, 8)})
    kept = [sides.pop()]
    while len(sides) > 1:
        side, smaller = sides.pop(), sides[-1]
        if kept[-1] + 2 * border > NEEDLESS * (smaller + 2 * border):
            kept.append(side)
    return (*sides, *reversed(kept))
