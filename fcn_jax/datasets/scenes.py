"""Generated scenes: textured discs, squares, triangles, rings and bars, with a label for each pixel.

For the demo and for tests: scenes need no files and no download, and a network learns them within a minute. A
scene depends only on the seed and its index, because NumPy keeps the random numbers of
`np.random.RandomState` fixed. (On another processor the sine may round differently and change a value by
one.)
"""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageFilter

from fcn_jax.datasets.dataset import IGNORE_LABEL, DatasetError, Sample, check_index

COLOURS = {  # mean colours of the background and the things
    "background": (140, 140, 140),
    "disc": (214, 92, 72),
    "square": (96, 176, 92),
    "triangle": (226, 184, 76),
    "ring": (84, 128, 214),
    "bar": (176, 104, 196),
}
SCENE_CATEGORIES = tuple(COLOURS)
THINGS = SCENE_CATEGORIES[1:]
THINGS_PER_SCENE = 4  # each of another kind

# Whether a point (x, y) of a thing's own coordinates is inside it; half_width is for rings and bars.
_INSIDE: dict[str, Callable[..., np.ndarray]] = {
    "disc": lambda x, y, radius, half_width: np.hypot(x, y) < radius,
    "square": lambda x, y, radius, half_width: np.maximum(abs(x), abs(y)) < 0.9 * radius,
    "triangle": lambda x, y, radius, half_width: np.maximum(y, 0.866 * abs(x) - 0.5 * y) < 0.6 * radius,
    "ring": lambda x, y, radius, half_width: abs(np.hypot(x, y) - radius) < half_width,
    "bar": lambda x, y, radius, half_width: (abs(y) < half_width) & (abs(x) < 2 * radius),
}


class Scenes:
    """A dataset of scenes, each with four things of different kinds, which may overlap.

    Args:
      count: the number of scenes.
      size: (H, W); the things grow with the shorter edge.
      seed: in [0, 2**32); another seed gives other scenes.

    Raises:
      DatasetError: count or size is below 1, or the seed is out of its range.
    """

    categories = SCENE_CATEGORIES
    ignore_label = IGNORE_LABEL

    def __init__(self, count: int, size: tuple[int, int] = (128, 128), seed: int = 0):
        if count < 1 or min(size) < 1 or not 0 <= seed < 2**32:
            raise DatasetError(
                expected="at least one scene of at least 1 x 1 and a seed from 0 to 2**32 - 1",
                got=f"count={count}, size={size}, seed={seed}",
            )
        self.count, self.size, self.seed = count, (size[0], size[1]), seed
        self.palette = _palette()

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        """Returns a scene's name: scene_0, scene_1, ..."""
        return f"scene_{check_index(index, len(self))}"

    def __getitem__(self, index: int) -> Sample:
        """Draws a scene.

        Raises:
          IndexError: no scene has this index.
        """
        random = np.random.RandomState([self.seed, check_index(index, len(self))])
        edge = min(self.size)
        return draw_scene(
            random,
            self.size,
            things=random.permutation(THINGS)[:THINGS_PER_SCENE].tolist(),
            radius=(0.19 * edge, 0.28 * edge),
            half_width=(0.075 * edge, 0.1 * edge),
            margin=0.15 * edge,
        )


def draw_scene(
    random: np.random.RandomState | np.random.Generator,
    size: tuple[int, int],
    *,
    things: Sequence[str],
    radius: tuple[float, float],
    half_width: tuple[float, float],
    margin: float,
) -> Sample:
    """Draws things on a textured background, in random order; later things hide earlier ones.

    Args:
      random: the source of all random numbers.
      size: (H, W).
      things: names from `SCENE_CATEGORIES`, one for each thing to draw.
      radius: (shortest, longest) radius of a thing in pixels; a bar is four times as long.
      half_width: (smallest, largest) half width of a ring's or bar's line in pixels.
      margin: the least distance in pixels from a thing's centre to the picture's edge.
    """
    height, width = size
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    image, labels = np.empty((*size, 3), np.float32), np.zeros(size, np.uint8)

    def paint(label: int, inside: np.ndarray) -> None:
        colour = COLOURS[SCENE_CATEGORIES[label]] + random.normal(0, 12, 3) + random.uniform(-30, 30)
        waves = np.sin(random.uniform(-0.4, 0.4) * rows + random.uniform(-0.4, 0.4) * columns)
        texture = 12 * waves + random.normal(0, 6, size)
        image[inside], labels[inside] = colour + texture[inside][:, None], label

    paint(0, np.ones(size, bool))
    for label in random.permutation([SCENE_CATEGORIES.index(thing) for thing in things]):
        angle = random.uniform(0, 2 * np.pi)
        reach, half = random.uniform(*radius), random.uniform(*half_width)
        right = columns - random.uniform(margin, width - margin)
        down = rows - random.uniform(margin, height - margin)
        x, y = right * np.cos(angle) + down * np.sin(angle), down * np.cos(angle) - right * np.sin(angle)
        paint(label, _INSIDE[SCENE_CATEGORIES[label]](x, y, reach, half))
    blurred = Image.fromarray(image.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.7))
    return Sample(np.asarray(blurred), labels)


def _palette() -> np.ndarray:
    """Returns the things' own colours, black for the background, and PASCAL VOC's colour for label 255."""
    colours = np.zeros((256, 3), np.uint8)
    colours[1 : len(COLOURS)] = list(COLOURS.values())[1:]
    colours[IGNORE_LABEL] = (224, 224, 192)
    return colours
