"""The edge: what is a picture becomes an RGB array; what is not, an error that says why."""

import numpy as np
import pytest
from PIL import Image

from cifar_model.framing import fit_to_square
from cifar_model.listing import picture_decoder
from serve_app.images import MAX_BYTES, MAX_PIXELS, decode_image, encode_png, open_image
from serve_app.problems import Problem
from tests.faults.bad_pictures import SIGNATURE, cases, chunk, encoded, header, scanned_jpeg
from tests.memory import peak_bytes

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (24, 40, 3), np.uint8)
SMOOTH = np.linspace(0, 255, 24 * 40 * 3).reshape(24, 40, 3).astype(np.uint8)


def png_claiming(width, height):
    """A tiny file whose header announces a huge picture."""
    return SIGNATURE + header(width, height) + chunk(b"IDAT") + chunk(b"IEND")


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 95})]
)
def test_the_three_formats_are_decoded(kind, options):
    picture = decode_image(encoded(SMOOTH, kind, **options))
    assert picture.shape == (24, 40, 3) and picture.dtype == np.uint8
    error = np.abs(picture.astype(int) - SMOOTH).max()
    assert error <= (6 if kind == "JPEG" else 0)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "RGBA", "LA"])
def test_every_colour_mode_becomes_rgb(mode):
    image = Image.new("RGB", (9, 7), (255, 255, 255)).convert(mode)
    kind = "JPEG" if mode == "CMYK" else "PNG"
    assert (decode_image(encoded(image, kind)) >= 254).all()


def test_sixteen_bits_are_scaled_and_not_clipped():
    ramp = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    picture = decode_image(encoded(ramp, "PNG"))
    assert (picture[..., 0].ravel() == np.arange(256)).all()


def test_transparency_is_laid_over_white():
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert (decode_image(encoded(image, "PNG")) == 255).all()


BLOCK = RNG.integers(0, 256, (2000, 2000, 2), np.uint8)


@pytest.mark.parametrize(
    "block", [BLOCK, BLOCK.view(np.uint16)[..., 0]], ids=["transparent", "sixteen bits"]
)
def test_a_single_row_is_decoded_as_any_other_shape_is_and_takes_no_more_memory(block):
    def decode(pixels):
        return decode_image(encoded(pixels, "PNG", compress_level=0))

    row = block.reshape(1, -1, *block.shape[2:])
    assert (decode(row)[0] == decode(block).reshape(-1, 3)).all()
    assert peak_bytes(lambda: decode(row)) < 1.1 * peak_bytes(lambda: decode(block))


def test_exif_turns_the_picture_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(NOISE, "PNG", exif=exif)
    assert (decode_image(data) == np.rot90(NOISE, -1)).all()


def test_an_animation_shows_its_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert (decode_image(data)[0, 0] == (255, 0, 0)).all()


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 400, "empty_image"),
        (b"hello, this is text", 415, "unsupported_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported_image"),
        (b"%PDF-1.7", 415, "unsupported_image"),
        (encoded(NOISE, "GIF"), 415, "unsupported_image"),
        (encoded(NOISE, "BMP"), 415, "unsupported_image"),
        (encoded(NOISE, "PNG")[:300], 400, "damaged_image"),
        (encoded(NOISE, "JPEG")[:-200], 400, "damaged_image"),
        (png_claiming(100_000, 100_000), 413, "image_too_large"),
        (png_claiming(8_000, 8_000), 413, "image_too_large"),
        (png_claiming(64, 64), 400, "damaged_image"),
        (bytes(MAX_BYTES + 1), 413, "image_too_large"),
    ],
)  # fmt: skip
def test_what_is_no_picture_gets_a_documented_error(data, status, code):
    with pytest.raises(Problem) as problem:
        decode_image(data)
    assert (problem.value.status, problem.value.code) == (status, code)
    assert problem.value.message


@pytest.mark.parametrize(("scans", "times"), [(1, 1), (10, 1), (15, 1.5), (200, 20)])
def test_more_scans_than_are_usual_count_as_more_pixels(scans, times):
    assert open_image(scanned_jpeg(1000, 1000, scans)).pixels == 1_000_000 * times


@pytest.mark.parametrize(
    ("mode", "lossless", "times"),
    [("RGB", True, 12), ("RGBA", True, 12), ("RGBA", False, 12), ("RGB", False, 1)],
)
def test_a_webp_without_loss_in_colours_or_transparency_counts_as_more_pixels(
    mode, lossless, times
):
    """It may have a table of codes for each 16 of its pixels, 5 KB in memory."""
    picture = Image.new(mode, (100, 80), 9)
    assert open_image(encoded(picture, "WEBP", lossless=lossless)).pixels == 8_000 * times


@pytest.mark.parametrize(
    ("width", "height", "pixels"), [(1600, 1250, MAX_PIXELS // 2), (8000, 5000, MAX_PIXELS)]
)
def test_a_webp_without_loss_is_taken_up_to_the_largest_size(width, height, pixels):
    """And two of them up to half of it: there are 65,536 tables at most."""
    size = (width - 1 | (height - 1) << 14).to_bytes(4, "little")
    data = b"RIFF\x2c\0\0\0WEBPVP8L\x20\0\0\0\x2f" + size + bytes(27)
    assert open_image(data).pixels == pixels


def test_a_progressive_photograph_of_the_largest_size_is_taken():
    assert open_image(scanned_jpeg(8000, 5000, 10)).pixels == MAX_PIXELS


def test_an_encoded_picture_decodes_to_itself():
    assert (decode_image(encode_png(NOISE)) == NOISE).all()


@pytest.mark.parametrize(
    "name",
    [
        "16-bit grey", "1 bit", "palette", "palette, transparent", "wholly transparent",
        "half transparent", "WebP, half transparent", "16-bit colours", "CMYK", "grey JPEG",
        "EXIF orientation 5", "JPEG, EXIF-rotated", "WebP, EXIF-rotated", "PNG, animated",
    ],
)  # fmt: skip
def test_a_picture_is_trained_on_as_it_is_served(name):
    data = cases()[name].data
    served = fit_to_square(decode_image(data), 16)
    np.testing.assert_array_equal(picture_decoder(16)(data), served)


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"xmp": XMP}),
        ("WEBP", {"xmp": XMP, "lossless": True}),
        ("WEBP", {"exif": b"no EXIF at all", "lossless": True}),
    ],
)
def test_what_serving_does_not_turn_by_training_does_not_either(kind, options):
    data = encoded(SMOOTH, kind, **options)
    turned = picture_decoder(16)(data)
    np.testing.assert_array_equal(turned, fit_to_square(decode_image(data), 16))
