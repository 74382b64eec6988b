"""Bad and odd pictures, each with what must become of it: an error, or the picture as it is meant.

Built here byte by byte, or by Pillow and then bent; nothing is read from files.
"""

from __future__ import annotations

import base64
import gzip
import io
import pickle
import struct
import zlib
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serve_app.containers import MAX_SEGMENTS
from serve_app.images import MAX_BYTES

RNG = np.random.default_rng(8)
NOISE = RNG.integers(0, 256, (24, 40, 3), np.uint8)
RED = np.full((8, 8, 3), (255, 0, 0), np.uint8)
WHITE = np.full((8, 8, 3), 255, np.uint8)
SIGNATURE = b"\x89PNG\r\n\x1a\n"
THUMBNAIL = b"JFXX\0\x13" + bytes(65_000)
BOMB = 200 * 2**20  # bytes that a few hundred kilobytes inflate to


@dataclass(frozen=True)
class Refused:
    """The documented error."""

    status: int
    code: str


@dataclass(frozen=True)
class Shown:
    """The picture, and how far each number may be off (JPEG and lossy WebP are not exact)."""

    picture: NDArray[np.uint8]
    tolerance: int = 0


@dataclass(frozen=True)
class Case:
    """A file and what must become of it."""

    name: str
    data: bytes
    expected: Refused | Shown


NOTHING = Refused(400, "empty_image")
NO_PICTURE = Refused(415, "unsupported_image")
DAMAGED = Refused(400, "damaged_image")
TOO_LARGE = Refused(413, "image_too_large")


def encoded(picture: NDArray[np.uint8] | Image.Image, kind: str, **options: object) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes = b"") -> bytes:
    """A PNG chunk with a right checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def header(
    width: int, height: int, depth: int = 8, colour: int = 2, methods: bytes = bytes(3)
) -> bytes:
    """A PNG's; methods: of compression, filtering and interlacing."""
    return chunk(b"IHDR", struct.pack(">IIBB3s", width, height, depth, colour, methods))


def png(head: bytes, rows: bytes, *, before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG of a header, filtered rows to be compressed, and chunks around them."""
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return SIGNATURE + head + before + pixels + after + chunk(b"IEND")


def red_png(*, before: bytes = b"", after: bytes = b"") -> bytes:
    return png(header(8, 8), (b"\0" + b"\xff\0\0" * 8) * 8, before=before, after=after)


def keyed_png(depth: int, colour: int, row: bytes, key: bytes) -> bytes:
    """A PNG of 8 equal rows with a colour that is to be transparent."""
    return png(header(8, 8, depth, colour), (b"\0" + row) * 8, before=chunk(b"tRNS", key))


def jpeg_with(segments: bytes, picture: NDArray[np.uint8] = RED) -> bytes:
    """A JPEG with segments put in at its beginning."""
    plain = encoded(picture, "JPEG", quality=95, subsampling=0)
    return plain[:2] + segments + plain[2:]


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def scanned_jpeg(width: int, height: int, scans: int) -> bytes:
    """A grey JPEG, progressive and with arithmetic coding: so its scans can hold nothing."""

    def scan(first: int, last: int) -> bytes:
        return segment(0xDA, bytes([1, 1, 0, first, last, 0]))

    frame = struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0)
    tables = segment(0xDB, bytes([0, *[1] * 64])) + segment(0xCA, frame)
    return b"\xff\xd8" + tables + scan(0, 0) + scan(1, 63) * (scans - 1) + b"\xff\xd9"


def lossless_jpeg(width: int, height: int) -> bytes:
    """A JPEG of a lossless frame (SOF3) of one grey component, without any pixels."""
    codes = segment(0xC4, b"\0" + bytes(15) + b"\1\0")
    frame = struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0)
    scan = segment(0xDA, bytes([1, 1, 0, 1, 0, 0]))
    return b"\xff\xd8" + codes + segment(0xC3, frame) + scan + b"\0\xff\xd9"


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    start = {"<": b"II*\0", ">": b"MM\0*"}[order]
    value = struct.pack(order + {3: "H2x", 4: "I"}[kind], orientation)
    return start + struct.pack(f"{order}IHHHI", 8, 1, 0x0112, kind, 1) + value + bytes(4)


def exif_bomb(entries: int, each: int, size: int) -> bytes:
    """EXIF whose every entry refers to the same `each` bytes of it."""
    body = b"II*\0" + struct.pack("<IH", 8, entries)
    body += b"".join(struct.pack("<HHII", 1000 + i, 1, each, 0) for i in range(entries))
    return body.ljust(size, b"\0")


@cache
def bomb() -> bytes:
    """A zlib stream of BOMB zeros."""
    squeeze = zlib.compressobj(9)
    return b"".join(squeeze.compress(bytes(2**20)) for _ in range(BOMB >> 20)) + squeeze.flush()


@cache
def hollow_stream() -> bytes:
    """A zlib stream of 9 MB of blocks that hold nothing, and then a row of one pixel."""
    # Two symbols of one bit each: the end, and the distance that a block must name.
    lengths = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1]
    bits = "001" + "00000" + "00000" + f"{len(lengths) - 4:04b}"[::-1]
    bits += "".join(f"{1 if length in (1, 18) else 0:03b}"[::-1] for length in lengths)
    # Codes: 0 for 1, 1 for 18; 138 and 118 lengths of zero, then that of the end and the distance.
    bits += "1" + f"{138 - 11:07b}"[::-1] + "1" + f"{118 - 11:07b}"[::-1] + "0" + "0" + "0"
    eight = bits * 8  # a whole number of bytes
    block = bytes(int(eight[i : i + 8][::-1], 2) for i in range(0, len(eight), 8))
    row = b"\0\xff\0\0"
    stored = struct.pack("<BHH", 1, len(row), len(row) ^ 0xFFFF) + row
    return (
        b"\x78\1"
        + block * (9_000_000 // len(block))
        + stored
        + struct.pack(">I", zlib.adler32(row))
    )


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP of these chunks."""
    parts = [n + struct.pack("<I", len(d)) + d + bytes(len(d) % 2) for n, d in chunks]
    whole = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(whole)) + whole


def extended(flags: int = 0) -> tuple[bytes, bytes]:
    """The first chunk of a WebP of NOISE's size: flags, 3 bytes, width and height less 1."""
    height, width = NOISE.shape[:2]
    return b"VP8X", struct.pack("<IHBHB", flags, width - 1, 0, height - 1, 0)


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def not_pictures() -> list[Case]:
    """Other things than PNG, JPEG and WebP, and some that pretend."""
    noise = encoded(NOISE, "PNG")
    files = {
        "text": b"hello, this is text",
        "text in UTF-16": "hello".encode("utf-16"),
        "JSON": b'{"file": "picture.png"}',
        "HTML": b"<!doctype html><html><script>alert(1)</script></html>",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'/>",
        "SVG with an entity": b"<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY x SYSTEM "
        b"'file:///etc/passwd'>]><svg>&x;</svg>",
        "PDF": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(/etc/passwd) run\n",
        "GIF": encoded(NOISE, "GIF"),
        "BMP": encoded(NOISE, "BMP"),
        "TIFF": encoded(NOISE, "TIFF"),
        "ICO": encoded(NOISE, "ICO"),
        "PPM": encoded(NOISE, "PPM"),
        "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64),
        "AVIF": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(64),
        "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64),
        "ZIP": b"PK\x03\x04" + bytes(64),
        "ELF": b"\x7fELF\x02\x01\x01" + bytes(64),
        "pickle": pickle.dumps(print),
        "PNG, gzipped": gzip.compress(noise),
        "PNG in base64": base64.b64encode(noise),
        "PNG as a data URL": b"data:image/png;base64," + base64.b64encode(noise),
        "URL": b"http://127.0.0.1/picture.png",
        "path": b"/etc/passwd",
        "zeros": bytes(1000),
        "random": RNG.bytes(5000),
        "GIF and then PNG": b"GIF89a" + noise,
        "HTML and then PNG": b"<html>" + noise,
        "newline and then PNG": b"\n" + noise,
        "PNG through a text mode": noise.replace(b"\r\n", b"\n"),
        "RIFF that is WAVE": b"RIFF" + struct.pack("<I", 40) + b"WAVEfmt " + bytes(36),
        "half a PNG signature": SIGNATURE[:4],
        "half a JPEG marker": b"\xff\xd8",
    }
    cases = [Case(name, data, NO_PICTURE) for name, data in files.items()]
    return [
        Case("empty", b"", NOTHING),
        *cases,
        Case("one byte too many", bytes(MAX_BYTES + 1), TOO_LARGE),
    ]


def damaged_pngs() -> list[Case]:
    """PNGs that are cut, bent, or announce what they do not hold."""
    noise = encoded(NOISE, "PNG")
    rows = (b"\0" + bytes(24)) * 8
    pixels = noise.index(b"IDAT")
    end = chunk(b"IEND")
    files = {
        "signature alone": SIGNATURE,
        "header alone": noise[:33],
        "cut in its header": noise[:20],
        "cut in its pixels": noise[:300],
        "checksum of the header wrong": patched(noise, 29, b"\0\0\0\0"),
        "checksum of the pixels wrong": noise[:-16] + b"\0\0\0\0" + noise[-12:],
        "pixels corrupted": patched(noise, pixels + 60, b"\xff" * 16),
        "pixels not compressed": SIGNATURE + header(8, 8) + chunk(b"IDAT", rows) + end,
        "pixels missing": SIGNATURE + header(8, 8) + end,
        "pixels empty": SIGNATURE + header(64, 64) + chunk(b"IDAT") + end,
        "filter 9": png(header(8, 8), (b"\x09" + bytes(24)) * 8),
        "no header": SIGNATURE + chunk(b"IDAT", zlib.compress(rows)) + end,
        "two headers": png(header(8, 8), rows, before=header(4000, 4000)),
        "a second header after the pixels": png(header(8, 8), rows, after=header(9000, 9000)),
        "header too short": SIGNATURE + chunk(b"IHDR", bytes(5)) + end,
        "width 0": png(header(0, 8), rows),
        "height 0": png(header(8, 0), rows),
        "colour type 5": png(header(8, 8, colour=5), rows),
        "2 bits deep, megabytes of a colour": keyed_png(2, 0, b"\x55" * 2, bytes(9_000_000)),
        "16-bit colours, half a colour": keyed_png(16, 2, bytes(48), b"\0\1\0"),
        "palette missing": png(header(8, 8, 8, 3), rows[: 8 * 9]),
        "palette missing, transparent": png(header(8, 8, 1, 3), rows[:16], before=chunk(b"tRNS")),
        "palette too long": png(header(8, 8, 8, 3), rows[:72], before=chunk(b"PLTE", bytes(999))),
        "palette of no colours": png(header(8, 8, 8, 3), rows[:72], before=chunk(b"PLTE")),
        "palette of a colour and a third": png(
            header(8, 8, 8, 3), rows[:72], before=chunk(b"PLTE", bytes(4))
        ),
        "two palettes": png(header(8, 8, 8, 3), rows[:72], before=chunk(b"PLTE", bytes(6)) * 2),
        "header of 14 bytes": png(chunk(b"IHDR", header(8, 8)[8:21] + b"\0"), rows),
        "megabytes that hold nothing": SIGNATURE
        + header(1, 1)
        + chunk(b"IDAT", hollow_stream())
        + end,
        "3 bits deep": png(header(8, 8, depth=3), rows),
        "chunk of 2 GB": patched(noise, pixels - 4, b"\x7f\xff\xff\xff"),
        "chunk of 4 GB": patched(noise, pixels - 4, b"\xff\xff\xff\xff"),
        "unknown critical chunk": red_png(before=chunk(b"CgBI", bytes(4))),
        "2,000 empty chunks": red_png(before=chunk(b"tEXt") * 2000),
        "pixels in 2,000 empty chunks": red_png(after=chunk(b"IDAT") * 2000),
        "unknown compression": png(header(8, 8, methods=b"\1\0\0"), rows),
        "unknown filters": png(header(8, 8, methods=b"\0\1\0"), rows),
        "unknown interlacing": png(header(1, 1, methods=b"\0\0\2"), rows[:4]),
    }
    sizes = ((100_000, 100_000), (8_000, 8_000), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1))
    announced = [
        Case(f"PNG announcing {w}x{h}", png(header(w, h), rows), TOO_LARGE) for w, h in sizes
    ]
    return [*(Case(f"PNG: {name}", data, DAMAGED) for name, data in files.items()), *announced]


def damaged_jpegs() -> list[Case]:
    """JPEGs that are cut, bent, or made to be slow."""
    noise = encoded(NOISE, "JPEG")
    frame = noise.index(b"\xff\xc0")
    scan = noise.index(b"\xff\xda")
    pixels = scan + 14
    progressive = encoded(Image.new("RGB", (3000, 2000)), "JPEG", progressive=True)
    last = progressive[progressive.rindex(b"\xff\xda") : -2]
    files = {
        "marker alone": b"\xff\xd8\xff",
        "ends at once": b"\xff\xd8\xff\xd9",
        "cut before its pixels": noise[:scan],
        "cut in its pixels": noise[:-200],
        "without pixels": noise[:scan] + b"\xff\xd9",
        "cut at its pixels, with an end": noise[:pixels] + b"\xff\xd9",
        "cut after its first pixels, with an end": noise[: pixels + 5] + b"\xff\xd9",
        "progressive, cut at its pixels, with an end": (
            progressive[: progressive.index(b"\xff\xda") + 14] + b"\xff\xd9"
        ),
        # As one that is cut in its last rows, and nothing tells the two apart.
        "without its end": noise[:-2],
        "height 0": patched(noise, frame + 5, b"\0\0"),
        "width 0": patched(noise, frame + 7, b"\0\0"),
        "12 bits": patched(noise, frame + 4, b"\x0c"),
        "5 colours": patched(noise, frame + 9, b"\x05"),
        "no frame": noise[:frame] + noise[scan:],
        "no tables": noise[:2] + noise[frame:],
        "segment of 65,535 bytes": patched(noise, 4, b"\xff\xff"),
        "segment of 0 bytes": patched(noise, 4, b"\0\0"),
        "junk before its pixels": noise[:20] + b"junk" + noise[20:],
        "millions of comments": jpeg_with(segment(0xFE, b"") * 2_400_000),
        "one segment too many": jpeg_with(segment(0xE5, b"") * MAX_SEGMENTS),
        "megabytes of tables": jpeg_with(segment(0xDB, bytes(65 * 900)) * 160),
        "a comment cut short": noise[:2] + b"\xff\xfe\xff\xff" + noise[-60_000:],
        "another in it": noise[:-200] + noise,
        "millions of comments among its pixels": (
            progressive[:-2] + segment(0xFE, b"") * 2_400_000 + last + b"\xff\xd9"
        ),
        "lossless, without pixels": lossless_jpeg(2000, 2000),
        "1,000 scans": progressive[:-2] + last * 1000 + b"\xff\xd9",
    }
    huge = patched(noise, frame + 5, b"\xff\xff\xff\xff")
    cases = [Case(f"JPEG: {name}", data, DAMAGED) for name, data in files.items()]
    return [
        *cases,
        Case("JPEG announcing 65535x65535", huge, TOO_LARGE),
        Case("JPEG: 150 scans of 4 megapixels", scanned_jpeg(2000, 2000, 150), TOO_LARGE),
    ]


def damaged_webps() -> list[Case]:
    """WebPs that are cut, bent, or announce what they do not hold."""
    noise = encoded(NOISE, "WEBP", lossless=True)
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    animation = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    vp8x, pixels = extended(), (b"VP8L", noise[20:])
    files = {
        "container alone": b"RIFF\x04\0\0\0WEBP",
        "cut": noise[:200],
        "cut in its header": noise[:18],
        "EXIF alone": riff((b"EXIF", b"")),
        "lossy, of zeros": b"RIFF\x2c\0\0\0WEBPVP8 \x20\0\0\0" + bytes(32),
        "lossless, of zeros": b"RIFF\x2c\0\0\0WEBPVP8L\x20\0\0\0" + bytes(32),
        "length 0": patched(noise, 4, bytes(4)),
        "unknown kind of pixels": patched(noise, 12, b"VP9 "),
        "pixels corrupted": patched(noise, 25, b"\xff" * 60),
        "a million empty chunks": riff(vp8x, pixels, *[(b"abcd", b"")] * 1_200_000),
        "two pictures": riff(vp8x, pixels, pixels),
        "no picture": riff(vp8x, (b"EXIF", exif(6))),
    }
    cases = [Case(f"WebP: {name}", data, DAMAGED) for name, data in files.items()]
    canvas = patched(animation, 24, b"\xff" * 6)
    return [*cases, Case("WebP with a canvas of 16777216x16777216", canvas, TOO_LARGE)]


def odd_pictures() -> list[Case]:
    """Legal, if unusual: each has a right answer."""
    tall = RNG.integers(0, 256, (10_000, 1, 3), np.uint8)
    dot = NOISE[:1, :1]
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    grey = np.repeat((np.arange(8, dtype=np.uint8) * 36)[None].repeat(8, 0)[..., None], 3, 2)
    shades = np.repeat(np.round(ramp / 257).astype(np.uint8)[..., None], 3, 2)
    two = Image.fromarray(np.array([[0, 255] * 4] * 8, np.uint8)).convert("1")
    stripes = np.repeat(np.array([[0, 255] * 4] * 8, np.uint8)[..., None], 3, 2)
    palette = Image.fromarray(RED).convert("P", palette=Image.Palette.ADAPTIVE)
    # One colour, half transparent over white.
    veil = np.full((8, 8, 3), (255, 127, 127), np.uint8)
    half = Image.new("RGBA", (8, 8), (255, 0, 0, 128))
    deep = b"".join(b"\0" + row.astype(">u2").tobytes() for row in ramp)
    deep_rgb = b"".join(b"\0" + row.repeat(3).astype(">u2").tobytes() for row in ramp)
    clear = chunk(b"tRNS", struct.pack(">H", 65535))
    with_white = shades.copy()
    plain = Image.new("RGB", (1001, 150), (128, 128, 128))
    islands = [Image.new("RGBA", (24, 24)) for _ in range(2)]
    for island, colour in zip(islands, ("red", "blue"), strict=True):
        island.paste(colour, (8, 8, 16, 16))
    rows = zlib.compress(bytes(800 * 2401), 0)
    exact = {
        "1x1": (encoded(dot, "PNG"), dot),
        "10000x1": (encoded(tall.swapaxes(0, 1), "PNG"), tall.swapaxes(0, 1)),
        "1x10000": (encoded(tall, "PNG"), tall),
        "16-bit grey": (png(header(8, 8, 16, 0), deep), shades),
        "16-bit grey, white transparent": (
            png(header(8, 8, 16, 0), deep, before=clear),
            with_white,
        ),
        "grey of 8 bits": (encoded(grey[..., 0], "PNG"), grey),
        "1 bit": (encoded(two, "PNG"), stripes),
        "palette": (encoded(palette, "PNG"), RED),
        "palette, transparent": (encoded(palette, "PNG", transparency=0), WHITE),
        "wholly transparent": (encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 0)), "PNG"), WHITE),
        "interlaced": (png(header(1, 1, methods=b"\0\0\1"), b"\0" + dot.tobytes()), dot),
        "PNG in chunks of 1 KiB": (
            SIGNATURE
            + header(800, 800)
            + b"".join(chunk(b"IDAT", rows[i : i + 1024]) for i in range(0, len(rows), 1024))
            + chunk(b"IEND"),
            np.zeros((800, 800, 3), np.uint8),
        ),
        "PNG with 900 empty chunks": (red_png(after=chunk(b"IDAT") * 900), RED),
        "PNG without its end": (red_png()[:-12], RED),
        # As browsers do it: what isn't there is black.
        "PNG without its last rows": (
            png(header(8, 8), (b"\0" + b"\xff\0\0" * 8) * 4),
            RED * (np.arange(8) < 4).astype(np.uint8)[:, None, None],
        ),
        "PNG and then HTML": (red_png() + b"<html><script>alert(1)</script>", RED),
        "PNG and then ZIP": (red_png() + b"PK\x03\x04" + bytes(50), RED),
        "PNG with a script as its comment": (
            red_png(before=chunk(b"tEXt", b"Comment\0<script>alert(1)</script>")),
            RED,
        ),
        "PNG, animated": (
            encoded(RED, "PNG", save_all=True, append_images=[Image.new("RGB", (8, 8), "blue")]),
            RED,
        ),
        "PNG with animation of 4 billion frames": (
            red_png(before=chunk(b"acTL", b"\xff\xff\xff\xff\0\0\0\0")),
            RED,
        ),
        "more zeros than pixels": (
            SIGNATURE + header(1, 1) + chunk(b"IDAT", bomb()) + chunk(b"IEND"),
            np.zeros((1, 1, 3), np.uint8),
        ),
        "profile bomb": (red_png(before=chunk(b"iCCP", b"a\0\0" + bomb())), RED),
        "5,000 profiles": (
            red_png(before=chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**20 - 1), 9)) * 5000),
            RED,
        ),
        "text bomb": (red_png(before=chunk(b"zTXt", b"a\0\0" + bomb())), RED),
        "text bomb after the pixels": (red_png(after=chunk(b"zTXt", b"a\0\0" + bomb())), RED),
        "international text bomb": (
            red_png(before=chunk(b"iTXt", b"a\0\x01\0\0\0" + bomb())),
            RED,
        ),
        "EXIF bomb": (red_png(before=chunk(b"eXIf", exif_bomb(60_000, 4_000_000, 4_100_000))), RED),
        "EXIF of prefixes": (red_png(before=chunk(b"eXIf", b"Exif\0\0" * 1_600_000)), RED),
        "EXIF of random bytes": (red_png(before=chunk(b"eXIf", RNG.bytes(300))), RED),
        "EXIF cut short": (red_png(before=chunk(b"eXIf", exif(6)[:15])), RED),
        "EXIF pointing outside": (
            red_png(before=chunk(b"eXIf", b"II*\0" + b"\xff" * 4)),
            RED,
        ),
        "EXIF with orientation 99": (red_png(before=chunk(b"eXIf", exif(99))), RED),
        "2 bits deep, its colour transparent": (keyed_png(2, 0, b"\x55" * 2, b"\0\1"), WHITE),
        "2 bits deep, another transparent": (
            keyed_png(2, 0, b"\xaa" * 2, b"\0\1"),
            np.full_like(RED, 170),
        ),
        "4 bits deep, its colour transparent": (keyed_png(4, 0, b"\x77" * 4, b"\0\7"), WHITE),
        "16-bit colours, theirs transparent": (
            keyed_png(16, 2, b"\x12\x34\x56\x78\x9a\xbc" * 8, b"\x12\x34\x56\x78\x9a\xbc"),
            WHITE,
        ),
        "16-bit colours, the lower bits differ from the transparent": (
            keyed_png(16, 2, b"\x12\x34\x56\x78\x9a\xbc" * 8, b"\x12\0\x56\0\x9a\xff"),
            WHITE,
        ),
        "WebP, animated": (
            encoded(
                RED,
                "WEBP",
                save_all=True,
                append_images=[Image.new("RGB", (8, 8), "blue")],
                lossless=True,
            ),
            RED,
        ),
        "WebP, animated, nothing around its first frame": (
            encoded(islands[0], "WEBP", save_all=True, append_images=islands[1:], lossless=True),
            np.pad(RED, ((8, 8), (8, 8), (0, 0)), constant_values=255),
        ),
        "WebP among 900 chunks that mean nothing": (
            riff(
                extended(),
                *[(b"abcd", b"odd")] * 450,
                (b"VP8L", encoded(NOISE, "WEBP", lossless=True)[20:]),
                *[(b"XMP ", bytes(1000))] * 450,
            ),
            NOISE,
        ),
        "WebP, animated, 200,000 frames": (
            riff(
                extended(flags=2),
                (b"ANIM", bytes(6)),
                *[(b"ANMF", bytes(16) + encoded(dot, "WEBP", lossless=True)[12:])] * 200_000,
            ),
            np.pad(
                dot, ((0, NOISE.shape[0] - 1), (0, NOISE.shape[1] - 1), (0, 0)), constant_values=255
            ),
        ),
        "WebP and then HTML": (encoded(NOISE, "WEBP", lossless=True) + b"<html>", NOISE),
        "WebP without loss": (encoded(NOISE, "WEBP", lossless=True), NOISE),
        "WebP, EXIF-rotated": (
            encoded(NOISE, "WEBP", lossless=True, exif=b"Exif\0\0" + exif(6)),
            np.rot90(NOISE, -1),
        ),
    }
    upright = np.rot90(NOISE, -1), np.rot90(NOISE, 1)
    turned = [
        NOISE,
        NOISE[:, ::-1],
        NOISE[::-1, ::-1],
        NOISE[::-1],
        NOISE.swapaxes(0, 1),
        upright[0],
        np.rot90(NOISE.swapaxes(0, 1), 2),
        upright[1],
    ]
    for number, expected in enumerate(turned, start=1):
        order = "<>"[number % 2]
        data = encoded(NOISE, "PNG")
        data = data[:33] + chunk(b"eXIf", exif(number, order, kind=3 + number // 7)) + data[33:]
        exact[f"EXIF orientation {number}"] = (data, expected)
    noisy = encoded(NOISE, "JPEG", quality=100)
    before, zero, after = noisy.rpartition(b"\xff\0")
    lossy = {
        # Pillow writes CMYK inverted, as Adobe does.
        "CMYK": (encoded(Image.fromarray(RED).convert("CMYK"), "JPEG", quality=95), RED),
        "grey JPEG": (encoded(grey[..., 0], "JPEG", quality=95), grey),
        "progressive JPEG": (encoded(RED, "JPEG", quality=95, progressive=True), RED),
        "JPEG of one colour, in the fewest bits": (
            encoded(plain, "JPEG", quality=95, optimize=True),
            np.asarray(plain),
        ),
        "JPEG of one colour, in the fewest bits and many scans": (
            encoded(plain, "JPEG", quality=95, progressive=True),
            np.asarray(plain),
        ),
        "JPEG of one grey, in the fewest bits": (
            encoded(plain.convert("L"), "JPEG", optimize=True),
            np.full((150, 1001, 3), 128, np.uint8),
        ),
        "JPEG, EXIF-rotated": (
            jpeg_with(segment(0xE1, b"Exif\0\0" + exif(6)), np.repeat(RED, 2, axis=1)),
            np.repeat(RED, 2, axis=0),
        ),
        "JPEG with an EXIF bomb": (
            jpeg_with(segment(0xE1, b"Exif\0\0" + exif_bomb(5000, 60_000, 65_000))),
            RED,
        ),
        "JPEG with a script as its comment": (
            jpeg_with(segment(0xFE, b"<script>alert(1)</script>")),
            RED,
        ),
        "JPEG with fill bytes": (jpeg_with(b"\xff" * 5), RED),
        "JPEG with megabytes of fill bytes": (jpeg_with(b"\xff" * 9_000_000), RED),
        "JPEG with megabytes of fill bytes among its pixels": (
            before + b"\xff" * 9_000_000 + zero + after,
            np.asarray(Image.open(io.BytesIO(noisy))),
        ),
        "JPEG with thumbnails in its header": (jpeg_with(segment(0xE0, THUMBNAIL) * 3), RED),
        "JPEG and then a film": (encoded(RED, "JPEG", quality=95) + b"\xff\xda" * 4_000_000, RED),
        "JPEG that is a photograph's pair": (
            encoded(RED, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8), "blue")]),
            RED,
        ),
        "JPEG and then HTML": (encoded(RED, "JPEG", quality=95) + b"<html>", RED),
        "WebP with loss": (encoded(RED, "WEBP", quality=95), RED),
        "half transparent": (encoded(half, "PNG"), veil),
        "WebP, half transparent": (encoded(half, "WEBP", lossless=True), veil),
        "16-bit colours": (png(header(8, 8, 16, 2), deep_rgb), shades),
    }
    return [
        *(Case(name, data, Shown(picture)) for name, (data, picture) in exact.items()),
        *(Case(name, data, Shown(picture, 4)) for name, (data, picture) in lossy.items()),
    ]


@cache
def cases() -> dict[str, Case]:
    """All of them by name."""
    every = [*not_pictures(), *damaged_pngs(), *damaged_jpegs(), *damaged_webps(), *odd_pictures()]
    assert len({case.name for case in every}) == len(every)
    return {case.name: case for case in every}
