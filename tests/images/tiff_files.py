"""Writes uncompressed TIFF files of any layout, such as no library writes on its own."""

import struct

import numpy as np


def write_tiff(path, values, photometric, *, extra=(), by_bands=False, more=()):
    """Writes (H, W, C) as TIFF in the byte order of its dtype, one strip for each plane; `more` are tags."""
    height, width, samples = values.shape
    order = ">" if values.dtype.byteorder == ">" else "<"
    planes = [values[..., band] for band in range(samples)] if by_bands else [values]
    planes = [plane.tobytes() for plane in planes]
    starts = np.cumsum([8] + [len(plane) for plane in planes]).tolist()
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    tags = {
        256: [width],
        257: [height],
        258: [values.dtype.itemsize * 8] * samples,
        259: [1],
        262: [photometric],
        273: starts[:-1],
        277: [samples],
        278: [height],
        279: [len(plane) for plane in planes],
        284: [2 if by_bands else 1],
        338: list(extra),
        339: [kind] * samples,
    } | dict(more)
    tags = {tag: numbers for tag, numbers in sorted(tags.items()) if numbers}
    free = starts[-1] + 2 + 12 * len(tags) + 4
    entries = outside = b""
    for tag, numbers in tags.items():
        data = struct.pack(f"{order}{len(numbers)}I", *numbers)
        field = data
        if len(data) > 4:
            field, outside = struct.pack(f"{order}I", free + len(outside)), outside + data
        entries += struct.pack(f"{order}HHI", tag, 4, len(numbers)) + field
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, starts[-1])
    body = struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", 0) + outside
    path.write_bytes(head + b"".join(planes) + body)
    return path
