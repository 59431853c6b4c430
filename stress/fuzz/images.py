"""Broken photos: `open_image` reads them or raises a documented error."""

import io
import struct
import zlib
from random import Random

import numpy as np
import pillow_heif
import pillow_jxl
import torch  # noqa: F401  `prepare_image` imports it, which takes more memory than a case may
from PIL import Image, PngImagePlugin

from captioner.config import FITS
from captioner.errors import ImageError
from captioner.images.extra_formats import is_extra
from captioner.images.fitting import prepare_image
from captioner.images.photo import open_image
from stress.fuzz.kinds import WrongResult
from stress.fuzz.mutations import mutate_bytes

MAX_PIXELS = 4_000_000
"""A low limit, so that excessive memory stands out."""
_DECODE_SECONDS = 3.0

_PNG = b"\x89PNG\r\n\x1a\n"


class Images:
    """Return files of every format that Pillow reads, with and without the metadata of cameras."""

    expected: tuple[type[Exception], ...] = (ImageError,)

    def __init__(self) -> None:
        self._files = _files()

    def case(self, rng: Random) -> None:
        kind = rng.choice(sorted(self._files))
        data = rng.choice(self._files[kind])
        others = self._files[rng.choice(sorted(self._files))]
        data = mutate_bytes(data, others, rng)
        if data.startswith(_PNG) and rng.random() < 0.7:
            data = with_checksums(data)
        try:
            photo = open_image(data, max_pixels=MAX_PIXELS, seconds=_seconds(data, rng))
        except ImageError as error:
            if isinstance(error.__cause__, MemoryError):
                raise WrongResult("out of memory") from error
            raise
        if photo.mode != "RGB" or not 0 < photo.width * photo.height <= MAX_PIXELS:
            raise WrongResult(f"a photo was read as {photo.mode}, {photo.size}")
        pixels, _ = prepare_image(photo, 32, rng.choice(FITS))
        if pixels.shape != (32, 32, 3):
            raise WrongResult(f"a square is {pixels.shape}")


def _seconds(data: bytes, rng: Random) -> float | None:
    """Return a time limit: a limit for HEIC and JPEG XL starts a process, which only some cases do."""
    return None if is_extra(data) and rng.random() < 0.98 else _DECODE_SECONDS


def with_checksums(data: bytes) -> bytes:
    """Return a PNG with correct checksums, so that decoders read the contents of its chunks."""
    fixed, offset = bytearray(data[:8]), 8
    while offset + 8 <= len(data):
        (size,) = struct.unpack(">I", data[offset : offset + 4])
        chunk = data[offset + 4 : offset + 8 + size]
        fixed += data[offset : offset + 4] + chunk + struct.pack(">I", zlib.crc32(chunk))
        offset += 12 + size
    return bytes(fixed)


def _files() -> dict[str, list[bytes]]:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 4), dtype=np.uint8)
    colour = Image.fromarray(noise[..., :3]).resize((80, 60))
    transparent, grey = Image.fromarray(noise), colour.convert("L")
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x9286] = 6, "maker", b"ASCII\0\0\0comment"
    extras = {"exif": exif.tobytes(), "icc_profile": _profile()}
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "x" * 2000, zip=True)
    texts.add_itxt("Title", "ä" * 200)
    grey16 = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    animation = {"save_all": True, "append_images": [transparent.resize((80, 60)).convert("RGB"), colour]}
    files = {
        "JPEG": [
            _encode(colour, "JPEG", **extras), _encode(colour, "JPEG", progressive=True), _encode(grey, "JPEG"),
            _encode(colour.convert("CMYK"), "JPEG"), _encode(colour, "JPEG", subsampling=2, restart_marker_blocks=2),
        ],
        "PNG": [
            _encode(transparent, "PNG", pnginfo=texts, **extras), _encode(colour.quantize(16), "PNG", transparency=3),
            _encode(grey.convert("1"), "PNG"), _encode(grey16, "PNG"), _encode(colour, "PNG", **animation),
        ],
        "WEBP": [
            _encode(colour, "WEBP", **extras), _encode(transparent, "WEBP", lossless=True),
            _encode(colour, "WEBP", **animation),
        ],
        "GIF": [_encode(colour.quantize(64), "GIF", comment=b"hello"), _encode(colour, "GIF", loop=0, **animation)],
        "TIFF": [
            *(_encode(colour, "TIFF", compression=kind) for kind in ("raw", "tiff_lzw", "jpeg", "tiff_deflate")),
            _encode(grey.convert("1"), "TIFF", compression="group4"), _encode(colour.convert("CMYK"), "TIFF"),
            _encode(grey.convert("F"), "TIFF"), _encode(grey16, "TIFF", compression="packbits"),
            _encode(colour, "TIFF", **animation, **extras),
        ],
        "BMP": [
            _encode(colour, "BMP"), _encode(colour.quantize(16), "BMP"), _encode(transparent, "BMP"),
            _encode(grey, "DIB"),
        ],
        "MPO": [_encode(colour, "MPO", **animation)],
        "JPEG2000": [_encode(colour, "JPEG2000"), _encode(transparent, "JPEG2000", tile_size=(32, 32))],
        "PPM": [_encode(colour, "PPM"), _encode(grey, "PPM"), b"P3 3 2 255 " + b"1 22 255 " * 6],
        "TGA": [_encode(transparent, "TGA", compression="tga_rle"), _encode(grey, "TGA")],
        "ICO": [
            _encode(transparent, "ICO", sizes=[(16, 16), (32, 32)]), _encode(transparent, "ICO", bitmap_format="bmp"),
        ],
    }  # fmt: skip
    pillow_heif.register_heif_opener()
    files["HEIF"] = [
        _encode(colour, "HEIF", **extras), _encode(transparent, "HEIF"), _encode(grey, "HEIF", exif=exif.tobytes()),
        _encode(colour.resize((300, 200)), "HEIF", tile_size=128),
    ]  # fmt: skip
    files["JXL"] = [
        _encode(colour, "JXL", exif=exif.tobytes()), _encode(transparent, "JXL", lossless=True), _encode(grey16, "JXL"),
        _encode(grey.convert("F"), "JXL"), _encode(colour, "JXL", use_container=True), _pack_jpeg(files["JPEG"][0]),
    ]  # fmt: skip
    # Truncated like an interrupted upload.
    for form in ("JPEG", "HEIF", "JXL", "WEBP", "PNG"):
        files[f"{form} cut"] = [data[: len(data) * 3 // 4] for data in files[form]]
    Image.init()
    if "AVIF" in Image.SAVE:
        files["AVIF"] = [_encode(colour, "AVIF", **extras), _encode(transparent, "AVIF")]
    return files


def _pack_jpeg(jpeg: bytes) -> bytes:
    """Return a JPEG XL file from which a JPEG can be restored byte by byte."""
    return pillow_jxl.Encoder(mode="RGB", num_threads=1)(jpeg, 80, 60, jpeg_encode=True)


def _profile() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _encode(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
