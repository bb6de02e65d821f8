"""Transfer syntaxes of DICOM: which can be decoded here, and whether a file holds all the pixels that it promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import uid
from pydicom.filereader import read_file_meta_info
from pydicom.pixels import get_decoder

from translate.data.scans import ScanError

CODECS = 'pip install "translate-images[medical-codecs]"'
PIXEL_DATA, FLOAT_PIXELS = (0x7FE0, 0x0010), ((0x7FE0, 0x0008), (0x7FE0, 0x0009))
ITEM, DELIMITER = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
UNDEFINED = 0xFFFFFFFF  # length


def is_decodable(syntax: str) -> bool:
    """Whether an installed package decodes this transfer syntax."""
    try:
        return bool(get_decoder(uid.UID(syntax)).is_available)
    except NotImplementedError:  # video, or unknown
        return False


def check_decodable(paths: Iterable[Path]) -> None:
    """Raise one ScanError that counts the DICOM files which no installed package can decode. Only headers are read."""
    check_syntaxes({path: _syntax(path) for path in paths})


def _syntax(path: Path) -> str:
    """Empty where the file has no meta information, and is thus not compressed."""
    try:
        return str(read_file_meta_info(path).get("TransferSyntaxUID", ""))
    except Exception:  # no DICOM file, or one without preamble: not for this check to judge
        return ""


def check_syntaxes(syntaxes: Mapping[Path, str]) -> None:
    """Raise ScanError as `check_decodable` does, for transfer syntaxes that are known already."""
    usable = {syntax: not syntax or is_decodable(syntax) for syntax in set(syntaxes.values())}
    files = [path for path, syntax in syntaxes.items() if not usable[syntax]]
    if not files:
        return
    kinds = Counter(syntaxes[path] for path in files)
    listed = ", ".join(f"{count} in {uid.UID(syntax).name}" for syntax, count in kinds.most_common())
    raise ScanError(
        f"{len(files)} of {len(syntaxes)} files cannot be decoded here ({listed}), the first is {files[0]}: "
        f"install decoders with {CODECS}, or decompress them"
    )


def explain_decoder(syntax: str, error: Exception) -> str:
    """What to do about pixels that were not decoded."""
    name = uid.UID(syntax).name
    if not is_decodable(syntax):
        return f"no installed package decodes {name}: {CODECS}, or decompress it"
    return f"its pixels ({name}) cannot be decoded ({type(error).__name__}): the file is damaged or cut off"


def check_complete(path: Path, dataset: Any, pixels_at: int | None) -> None:
    """Raise ScanError if the pixels are missing or cut off. They are neither read nor decoded.

    Args:
        dataset: the header of an image.
        pixels_at: the byte where the element of the pixels begins; None where that is unknown (deflated).
    """
    if pixels_at is None:
        return
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(pixels_at)
        problem = _problem(file, size, dataset)
    if problem:
        raise ScanError(f"{path}: {problem}")


def _problem(file: BinaryIO, size: int, dataset: Any) -> str | None:
    implicit, little = dataset.original_encoding
    order = "little" if little else "big"
    start = file.read(8 if implicit else 12)
    if len(start) < (8 if implicit else 12):
        return "holds no pixels: it is cut off, or only a header"
    tag = _tag(start, order)
    if tag in FLOAT_PIXELS:
        return "holds float pixels, only integers can be read"
    if tag != PIXEL_DATA:
        return "holds no pixels"
    length = int.from_bytes(start[-4:], order)  # type: ignore[arg-type]
    frames = int(dataset.get("NumberOfFrames") or 1)
    if length == UNDEFINED:
        return _encapsulated_problem(file, frames)
    expected = int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) // 8 * frames
    there = min(length, size - file.tell())
    if there < max(expected, length):
        return f"is cut off: {max(expected, length)} bytes of pixels are promised and {there} are there: copy it again"
    return None


def _encapsulated_problem(file: BinaryIO, frames: int) -> str | None:
    """Walk over the fragments, of which the first is a table of offsets."""
    fragments = -1
    while len(start := file.read(8)) == 8 and _tag(start, "little") == ITEM:
        fragments += 1
        file.seek(int.from_bytes(start[4:], "little"), 1)
    if len(start) < 8 or _tag(start, "little") != DELIMITER:
        return "is cut off: its compressed pixels do not end: copy it again"
    if fragments < frames:
        return f"holds {fragments} compressed fragments for {frames} frames: copy it again"
    return None


def _tag(start: bytes, order: Any) -> tuple[int, int]:
    return int.from_bytes(start[:2], order), int.from_bytes(start[2:4], order)
