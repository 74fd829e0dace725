"""The 59 classes of PASCAL Context and the background, in mmsegmentation's order.

Source: `mmseg.datasets.PascalContextDataset`; `PascalContextDataset59` is the same without the background.
"""

PASCAL_CONTEXT_CATEGORIES: tuple[str, ...] = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("table", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
    *("bag", "bed", "bench", "book", "building", "cabinet", "ceiling", "cloth", "computer", "cup", "door"),
    *("fence", "floor", "flower", "food", "grass", "ground", "keyboard", "light", "mountain", "mouse"),
    *("curtain", "platform", "sign", "plate", "road", "rock", "shelves", "sidewalk", "sky", "snow"),
    *("bedclothes", "track", "tree", "truck", "wall", "water", "window", "wood"),
)
