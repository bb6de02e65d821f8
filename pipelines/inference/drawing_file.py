"""Translate one file that holds a drawing: with its cleaned drawing beside the result, or with several results."""

import logging
from pathlib import Path

from translate.data.images import ImageError, Picture, read_picture, write_picture
from translate.data.resize import reduce_picture
from translate.data.strokes import draw_strokes, read_strokes
from translate.pipelines.inference.plan import Options, cleaned_name, final_name, plan_file
from translate.pipelines.inference.sketch_to_photo import SketchToPhoto

logger = logging.getLogger(__name__)


def translate_drawing(
    pipeline: SketchToPhoto,
    source: Path,
    output: Path,
    options: Options | None = None,
    *,
    variations: int | None = None,
    seed: int = 0,
) -> list[Path]:
    """Translate a picture file, or a .json file of strokes. Everything is computed before anything is written.

    Args:
        output: as of `translate_file`. Variations get NAME-1.png, NAME-2.png, ... in its place; the cleaned drawing of
            a pipeline that cleans is beside it, as NAME.cleaned.png.
        variations: how many; None is the one picture without noise.
        seed: of the variations.

    Returns:
        The paths written: the results, then the cleaned drawing.

    Raises:
        ImageError: the drawing cannot be read or cleaned, the model has no variations, or an output cannot be written.
    """
    options = options or Options()
    job, named = plan_file(source, output, options)
    drawing = _read(pipeline, source, options)
    cleaned = pipeline.clean(drawing) if pipeline.cleans else None
    if cleaned:
        logger.info("%s was cleaned: %s", source.name, "; ".join(cleaned.steps) or "nothing to do")
        drawing = cleaned.picture
    pipe = pipeline.with_settings(clean=False)
    if variations is None:
        pictures = [pipe(drawing, output_type="picture")]
    else:
        pictures = pipe.variations(drawing, variations, seed, output_type="picture")
    path = named or output / final_name(job, pictures[0], options)
    paths = [path] if variations is None else [_numbered(path, number) for number in range(1, variations + 1)]
    if cleaned:
        paths.append(path.with_name(cleaned_name(path.name)))
        pictures.append(cleaned.picture)
    if any(one.resolve() == source.resolve() for one in paths):
        raise ImageError(f"an output would take the place of {source}: give another name, inputs are not overwritten")
    path.parent.mkdir(parents=True, exist_ok=True)
    for one, picture in zip(paths, pictures, strict=True):
        write_picture(picture, one, quality=options.quality, compression=options.compression)
    return paths


def _read(pipeline: SketchToPhoto, source: Path, options: Options) -> Picture:
    strokes = source.suffix.lower() == ".json"
    drawn = draw_strokes(read_strokes(source), pipeline.style) if strokes else None
    return reduce_picture(drawn or read_picture(source, max_pixels=options.max_pixels), options.size)


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}-{number}{path.suffix}")
