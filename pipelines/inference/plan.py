"""Which file goes where: the name of every output, decided before anything is translated."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from translate.data.folders import list_images
from translate.data.images import FORMATS, MAX_PIXELS, ImageError, Picture, holds, lossless_suffix
from translate.data.large import is_large, large_output_name
from translate.data.packing import COMPRESSIONS, TAKES, Compression
from translate.data.windowed import MANY_PIXELS
from translate.data.windowed_write import WRITTEN_SUFFIXES


@dataclass(frozen=True)
class Options:
    """How files are translated.

    format: a suffix such as ".png" for all outputs; None keeps each file's kind where it is lossless (JPEG becomes
        PNG, WebP is written lossless).
    quality: 1 to 100, of JPEG and lossy WebP.
    compression: of PNG, TIFF and WebP: "small" makes smaller files in 15 times the time; "none" is of TIFF only. Other
        files are written as they are without it.
    batch_size: images of one size that run together.
    workers: threads that decode, and as many that encode.
    max_pixels: an image with more is reported, not decoded.
    size: larger images are first reduced to this shorter side in pixels, so that they have the scale that the model
        was trained at; None leaves them as they are.
    windows_from: pixels from which a TIFF is read and written by windows.
    """

    format: str | None = None
    quality: int | None = None
    compression: Compression = "fast"
    batch_size: int = 1
    workers: int = 2
    max_pixels: int = MAX_PIXELS
    size: int | None = None
    windows_from: int = MANY_PIXELS

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in FORMATS:
            raise ImageError(f"the output format must be one of {', '.join(FORMATS)}, got {self.format!r}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise ImageError(f"quality must be from 1 to 100, got {self.quality}")
        if self.quality is not None and self.format is not None and FORMATS[self.format] not in ("jpeg", "webp"):
            raise ImageError(f"quality is of .jpg and .webp, and the format is {self.format}: leave one of them out")
        self._check_compression()
        for name in ("batch_size", "workers", "max_pixels", "size"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ImageError(f"{name} must be at least 1, got {getattr(self, name)}")

    def _check_compression(self) -> None:
        if self.compression not in COMPRESSIONS:
            raise ImageError(f"compression must be one of {', '.join(COMPRESSIONS)}, got {self.compression!r}")
        allowed = COMPRESSIONS if self.format is None else TAKES[FORMATS[self.format]]
        if self.compression not in allowed:
            raise ImageError(
                f"the compression of {self.format} must be one of {', '.join(allowed)}, got {self.compression!r}: "
                "leave it out, or choose another format"
            )


@dataclass(frozen=True)
class Job:
    """One file and where its translation goes, both below their folders.

    large: whether it is read and written by windows.
    """

    file: str
    source: Path
    output: str
    large: bool = False


def plan(root: Path, files: list[Path], options: Options) -> list[Job]:
    """Name every output: same place and name, another suffix where the kind changes; never two of one name."""
    named = {file: file.relative_to(root) for file in files}
    large = {file for file in files if is_large(file, options.windows_from)}
    wanted = {
        file: name.with_name(large_output_name(file))
        if file in large
        else name.with_suffix(options.format or _kept_suffix(name))
        for file, name in named.items()
    }
    # Compared without case, for file systems that know none.
    alike = Counter(_folded(name) for name in wanted.values())
    taken = {_folded(name) for file, name in named.items() if wanted[file] == name}  # these keep their names
    jobs = []
    for file, name in named.items():
        output = wanted[file]
        if output != name and alike[_folded(output)] > 1:
            output = next(longer for longer in _longer(name, output.suffix) if _folded(longer) not in taken)
        taken.add(_folded(output))
        jobs.append(Job(name.as_posix(), file, output.as_posix(), file in large))
    return jobs


def plan_folder(source: Path, output: Path, options: Options) -> list[Job]:
    """The jobs of every image below `source`, but not of those in an output folder within.

    Raises:
        ImageError: `source` is no folder or holds no images, or an output would take the place of an input.
    """
    if source.resolve() == output.resolve():
        raise ImageError(
            f"the output folder {output} is the input folder: give another one, inputs are not overwritten"
        )
    jobs = plan(source, list_images(source, without=output, windowed=True), options)
    inputs = set(resolved([job.source for job in jobs]))
    places = resolved([output / job.output for job in jobs])
    lost = [job.file for job, place in zip(jobs, places, strict=True) if place in inputs]
    if lost:
        raise ImageError(
            f"the output of {lost[0]} in {output} would take the place of an input: give another output folder, inputs "
            "are not overwritten"
        )
    return jobs


def resolved(files: list[Path]) -> list[str]:
    """The paths without symbolic links; each folder is looked up once, which is most of the work."""
    folders = {folder: os.path.realpath(folder) for folder in {file.parent for file in files}}
    return [
        os.path.realpath(file) if file.is_symlink() else os.path.join(folders[file.parent], file.name) for file in files
    ]


def plan_file(source: Path, output: Path, options: Options) -> tuple[Job, Path | None]:
    """The job of one file, and the path of its output where `output` is no folder.

    Raises:
        ImageError: the output is the input, or its suffix is unknown or contradicts the format asked for.
    """
    job = plan(source.parent, [source], options)[0]
    zarr = output.suffix.lower() == ".zarr"
    named = None if not output.suffix or (output.is_dir() and not zarr) else output
    if named and named.suffix.lower() not in (*FORMATS, ".zarr"):
        raise ImageError(
            f"the output {output} is of no known kind: give a name that ends in {', '.join(FORMATS)} or .zarr, or a "
            "folder that exists"
        )
    if named and options.format and FORMATS[options.format] != FORMATS.get(named.suffix.lower()):
        raise ImageError(
            f"the output {output} is not of the format {options.format} that was asked for: give one of both"
        )
    if (named or output / job.output).resolve() == source.resolve():
        raise ImageError(f"the output {output} is the input: give another name, inputs are not overwritten")
    return job, named


def final_name(job: Job, picture: Picture, options: Options) -> str:
    """The planned name, or a name of another kind where that one cannot hold the picture and none was asked for."""
    format = FORMATS[Path(job.output).suffix.lower()]
    alpha = picture.alpha is not None
    if options.format or holds(format, picture.pixels.dtype, alpha):
        return job.output
    return job.output + lossless_suffix(format, picture.pixels.dtype, alpha)


def is_written_by_windows(path: Path) -> bool:
    """Whether a picture of this name is a Zarr or an OME-TIFF."""
    return path.name.lower().endswith(tuple(suffix for suffix in WRITTEN_SUFFIXES if suffix not in FORMATS))


def cleaned_name(output: str) -> str:
    """Where the cleaned drawing of an output goes, of the same kind: sub/a.png has sub/a.cleaned.png."""
    return Path(output).with_suffix(f".cleaned{Path(output).suffix}").as_posix()


def is_planned(job: Job, output: str) -> bool:
    """Whether this is what `final_name` can give: outputs get other names when files come or go beside them."""
    return output == job.output or Path(output).with_suffix("").as_posix() == job.output


def _kept_suffix(name: Path) -> str:
    return ".png" if FORMATS.get(name.suffix.lower(), "jpeg") == "jpeg" else name.suffix


def _longer(name: Path, suffix: str) -> Iterator[Path]:
    """a.jpg.png, a.jpg.2.png, a.jpg.3.png, ..."""
    yield name.with_name(name.name + suffix)
    for number in count(2):
        yield name.with_name(f"{name.name}.{number}{suffix}")


def _folded(name: Path) -> str:
    return str(name).casefold()
