"""Takes a picture file apart far enough to hand the decoder only what draws.

Comments, profiles, thumbnails, animations and EXIF are where small files grow large: a PNG of
10 MiB can hold ten gigabytes of compressed text, 64 KiB of EXIF can refer 5,000 times to the same
60 KiB, and a JPEG can consist of millions of empty comments. None of it changes a pixel, so none of
it gets to the decoder; only EXIF's orientation is read, and nothing else in it.

Not covered: what is wrong inside the compressed pixels. That is the decoder's to find, unless the
damage looks like a segment of a JPEG or leaves less than any pixels take.
"""

from __future__ import annotations

import operator
import re
import struct
import zlib
from dataclasses import dataclass
from typing import Literal

from serve_app.problems import Problem

Kind = Literal["PNG", "JPEG", "WEBP"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Of any PNG or WebP, and one more for each KiB (libpng puts 8 into a chunk): a request's smallest
# pictures take as long as its largest.
MAX_CHUNKS = 1_000
_PNG_DRAWS = {b"PLTE", b"tRNS", b"IDAT"}
_GREY, _RGB, _BY_PALETTE = 0, 2, 3  # PNG's colour type, the 10th byte of its header's data
_NUMBERS = {_GREY: 1, _RGB: 3, _BY_PALETTE: 1, 4: 2, 6: 4}  # of a pixel, by colour type
# Packed pixels may take more than the pixels themselves, but not without end: deflate's blocks that
# hold nothing take 0.1 s a MB.
_PACKED_TIMES, _PACKED_MORE = 2, 2**20  # bytes

_FRAME = b"ANMF"
_WEBP_DRAWS = {b"VP8X", b"ANIM", _FRAME, b"ALPH", b"VP8 ", b"VP8L"}
_ANIMATED, _HAS_EXIF, _TRANSPARENT = 0x02, 0x08, 0x10  # flags in an extended WebP's header

MAX_SEGMENTS = 1_000  # a colour profile of 10 MiB has 160
MAX_TABLES = 64 * 2**10  # bytes of a JPEG's tables; a progressive one has about 1 KiB
# Those that end pixels; a zero or a restart's number after 0xFF doesn't, nor do bytes that fill up.
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xef\xfe]")
_SOI, _EOI, _SOS, _EXIF = 0xD8, 0xD9, 0xDA, 0xE1
# Frames, Huffman and arithmetic tables, quantisation, restart interval.
_JPEG_TABLES = {*range(0xC0, 0xD0), 0xDB, 0xDD}
# JFIF and Adobe say what the colours mean.
_JPEG_DRAWS = {*_JPEG_TABLES, 0xE0, 0xEE, _SOS}
MAX_SCANS = 200  # 10 are usual
# The fewest bits that a block of a Huffman-coded frame takes: one for its mean, and in a sequential
# frame one for its end; in a lossless one one for each number. Arithmetic coding needs less.
_BLOCK_BITS = {0xC0: 2, 0xC1: 2, 0xC2: 1, 0xC3: 64}


@dataclass(frozen=True)
class Drawing:
    """What a decoder needs of a file: its kind, the bytes that draw, and its EXIF if any."""

    kind: Kind
    data: bytes
    exif: bytes = b""
    scans: int = 1
    lossless_webp: bool = False  # or transparency that is packed in the same way
    cut: bool = False  # fewer bytes of pixels than any picture of its size has


def take_apart(data: bytes) -> Drawing:
    """The drawing part of a PNG, JPEG or WebP file.

    `Problem` 415 if it is none of them, 400 if its structure is damaged.
    """
    if data.startswith(PNG_SIGNATURE):
        return _png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    raise Problem(415, "unsupported_image", "the bytes are not a PNG, JPEG or WebP image")


def damaged(words: object) -> Problem:
    """The problem with a picture that can't be decoded."""
    return Problem(400, "damaged_image", f"the image is damaged or truncated: {words}")


def webp_canvas(data: bytes) -> int:
    """Pixels that a WebP file announces, or 0; its decoder allocates them on opening."""
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[i : i + 3], "little") for i in (24, 27))
    elif kind == b"VP8L":
        sides = int.from_bytes(data[21:25], "little")
        width, height = 1 + sides % 2**14, 1 + (sides >> 14) % 2**14
    elif kind == b"VP8 ":
        width, height = (int.from_bytes(data[i : i + 2], "little") % 2**14 for i in (26, 28))
    else:
        return 0
    return width * height


def _webp(data: bytes) -> Drawing:
    """The one chunk of a simple file; of an extended one what draws its first picture."""
    extended = data[12:16] == b"VP8X"
    if extended and data[20:21] and data[20] & _ANIMATED:
        # Around a frame that is smaller than the picture it is so, though encoders don't say it.
        data = data[:20] + bytes([data[20] | _TRANSPARENT]) + data[21:]
    parts: dict[tuple[bytes, int], bytes] = {}
    exif, position, most = b"", 12, MAX_CHUNKS + len(data) // 1024
    ends = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    for number in range(most):
        if position + 8 > ends or (number and not extended):
            break
        name, start = data[position : position + 4], position + 8
        end = start + int.from_bytes(data[position + 4 : start], "little")
        if end > ends:
            raise damaged(f"its chunk {name!r} is cut short")
        if name in _WEBP_DRAWS:
            # Of an animation the first frame; what else comes twice the decoder refuses.
            key = (name, 0 if name == _FRAME else number)
            parts.setdefault(key, data[position:end] + bytes((end - start) % 2))
        elif extended and name == b"EXIF" and not exif and data[20] & _HAS_EXIF:
            exif = data[start:end]
        position = end + (end - start) % 2
    else:
        if (_FRAME, 0) not in parts:  # of a long animation the first frame is there
            raise damaged(f"it has more than {most:,} chunks")
    drawn = b"WEBP" + b"".join(parts.values())
    lossless = b"VP8L" in drawn or b"ALPH" in drawn
    whole = b"RIFF" + struct.pack("<I", len(drawn)) + drawn
    return Drawing("WEBP", whole, exif, lossless_webp=lossless)


def _png(data: bytes) -> Drawing:
    parts, exif, position = [PNG_SIGNATURE], b"", len(PNG_SIGNATURE)
    palette, most = False, MAX_CHUNKS + len(data) // 1024
    packed = 0  # bytes of pixels
    for number in range(most):
        if position + 12 > len(data):
            break  # without an IEND; whether all pixels are there, the decoder sees
        length = int.from_bytes(data[position : position + 4], "big")
        name = data[position + 4 : position + 8]
        end = position + 12 + length
        if end > len(data):
            raise damaged(f"its chunk {name!r} is cut short")
        if (name == b"IHDR") != (number == 0):
            raise damaged("it does not begin with its one header")
        if name in _PNG_DRAWS or name in (b"IHDR", b"IEND"):
            part = data[position:end]
            if zlib.crc32(part[4:-4]).to_bytes(4, "big") != part[-4:]:  # Pillow skips some
                raise damaged(f"the checksum of its chunk {name!r} is wrong")
            if name == b"IHDR":
                _check_header(part)
            if data[25] == _BY_PALETTE:
                if name == b"IDAT" and not palette:
                    raise damaged("its palette is missing")
                if name == b"PLTE" and (palette or not length or length % 3):
                    raise damaged("its palette is none, or there are two")
            palette = palette or name == b"PLTE"
            if name == b"IDAT":
                packed += length
                if packed > _PACKED_TIMES * _unpacked(data[16:26]) + _PACKED_MORE:
                    raise damaged("its pixels take more bytes than any of its size do")
            parts.append(_key_of_eight_bits(part, *data[24:26]) if name == b"tRNS" else part)
        elif name == b"eXIf":
            exif = data[position + 8 : end - 4]
        elif not name[0] & 0x20:  # a capital: not to be left out
            raise damaged(f"its chunk {name!r} is unknown")
        position = end
        if name == b"IEND":
            break
    else:
        raise damaged(f"it has more than {most:,} chunks")
    return Drawing("PNG", b"".join(parts), exif)


def _check_header(chunk: bytes) -> None:
    if len(chunk) != 12 + 13:
        raise damaged("its header is not of 13 bytes")
    if chunk[18:20] != b"\0\0" or chunk[20] > 1:
        raise damaged("its compression, filter or interlace method is unknown")


def _unpacked(header: bytes) -> int:
    """Bytes of pixels, with those of the filters: at least those of a PNG with this header."""
    width, height, depth, colours = struct.unpack(">IIBB", header)
    # Interlaced, a picture has up to twice as many rows, each filled up to whole bytes.
    row = width * depth * _NUMBERS.get(colours, 0) // 8 + 1
    return height * (row + 3)


def _key_of_eight_bits(part: bytes, depth: int, colours: int) -> bytes:
    """The chunk that names the transparent colour, which Pillow compares with 8-bit pixels.

    PNG 1.2, 4.2.1.1: the file has it in the depth of its pixels. Of 16 bits the upper 8 count, as
    they do for the pixels: what differs only below them is transparent too.
    """
    if colours == _GREY and depth in (2, 4):
        shape, scale = ">H", 255 / (2**depth - 1)
    elif colours == _RGB and depth == 16:
        shape, scale = ">3H", 1 / 256
    else:
        return part
    try:
        numbers = struct.unpack(shape, part[8:-4])
    except struct.error as error:
        raise damaged("its transparent colour is none") from error
    named = part[4:8] + b"".join(struct.pack(">H", int(n % 2**depth * scale)) for n in numbers)
    return struct.pack(">I", len(named) - 4) + named + struct.pack(">I", zlib.crc32(named))


def _jpeg(data: bytes) -> Drawing:
    """From marker to marker up to the end of the first picture; what follows is not its own."""
    parts, exif, position, tables, scans = [data[:2]], b"", 2, 0, 0
    packed, fewest = 0, 0.0  # bytes of pixels
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(data, position)
        if not scans and (found is None or data[position : found.start()].strip(b"\xff")):
            raise damaged("a marker is missing before its pixels")
        start = len(data) if found is None else found.start()
        if scans:
            # Without what fills up: before what comes next, it could make another marker of it.
            pixels = data[position:start]
            while b"\xff\xff" in pixels:  # means the same, and libjpeg takes long over many of them
                pixels = pixels.replace(b"\xff\xff", b"\xff")
            parts.append(pixels.rstrip(b"\xff"))
            packed += len(parts[-1])
        if found is None:
            break  # the decoder refuses it: nothing says that these are all pixels
        marker = data[start + 1]
        position = start + 2
        if marker == _SOI:
            raise damaged("another begins in it")
        if marker == _EOI:
            parts.append(data[start:position])
            break
        length = int.from_bytes(data[position : position + 2], "big")
        position += length
        if length < 2 or position > len(data):
            raise damaged("one of its segments is cut short")
        if marker == _SOS:
            scans += 1
            if scans > MAX_SCANS:
                raise damaged(f"it has more than {MAX_SCANS} scans")
        elif marker in _JPEG_TABLES:
            tables += length
            if tables > MAX_TABLES:
                raise damaged(f"its tables have more than {MAX_TABLES:,} bytes")
            if marker in _BLOCK_BITS:
                fewest = _BLOCK_BITS[marker] * _blocks(data[start + 4 : position]) / 8
        elif marker == _EXIF and not exif and data[start + 4 : start + 10] == b"Exif\0\0":
            exif = data[start + 4 : position]
        if marker in _JPEG_DRAWS:
            parts.append(data[start:position])
    else:
        raise damaged(f"it has more than {MAX_SEGMENTS:,} segments")
    if not scans:
        raise damaged("it ends before its pixels")
    return Drawing("JPEG", b"".join(parts), exif, scans, cut=packed < fewest)


def _blocks(frame: bytes) -> float:
    """How many blocks of 8x8 numbers a JPEG has, from its frame's header: at least so many."""
    height, width = (int.from_bytes(frame[i : i + 2], "big") for i in (1, 3))
    across, down = ([(both >> shift) & 15 for both in frame[7::3]] for shift in (4, 0))
    if not across or not (largest := max(across) * max(down)):
        return 0  # the decoder refuses it
    return height * width / 64 * sum(map(operator.mul, across, down)) / largest
