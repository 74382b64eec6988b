"""Which way up a picture is stored: EXIF's orientation, of which nothing else is read.

Training, evaluation and serving turn a picture by it. What else may name an orientation, such as
XMP or text in a PNG, counts in none of them.
"""

from __future__ import annotations

import struct

import numpy as np

from cifar_model.framing import Picture

LOOKED_AT = 64 * 2**10  # bytes, as many as a JPEG has room for; PNG and WebP may hold megabytes
_PREFIX = b"Exif\0\0"


def orientation(exif: bytes) -> int:
    """EXIF's orientation, 1 to 8; 1, upright, where there is none or it can't be read."""
    exif, start = exif[:LOOKED_AT], 0
    while exif.startswith(_PREFIX, start):  # Pillow puts one before a PNG's, also before another
        start += len(_PREFIX)
    exif = exif[start:]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (first,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, first)
        for position in range(first + 2, first + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(f"{order}HHI", exif, position)
            if tag == 0x0112:
                value_format = {3: "H", 4: "I"}.get(kind)
                if value_format is None or values != 1:
                    return 1
                (value,) = struct.unpack_from(order + value_format, exif, position + 8)
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass  # cut short: a picture without an orientation
    return 1


def upright(picture: Picture, turned: int) -> Picture:
    """The picture as it is meant to be seen, from EXIF's number (1 to 8) for how it is stored."""
    if turned == 1:
        return picture
    if turned >= 5:
        picture = picture.swapaxes(0, 1)
    if turned in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    if turned in (3, 4, 7, 8):
        picture = picture[::-1]
    return np.ascontiguousarray(picture)
