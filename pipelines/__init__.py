"""Stage 1 (preprocessing) and stage 3 (inference and evaluation). Imported as `translate.pipelines`."""

if __name__ == "pipelines":
    raise ImportError("the folder pipelines/ is imported as translate.pipelines: write 'import translate.pipelines'")

from translate.data.strokes import Strokes
from translate.pipelines.inference.load import load_pipeline
from translate.pipelines.inference.pipeline import Pipeline
from translate.pipelines.inference.scan_denoising import ScanDenoising
from translate.pipelines.inference.sketch_to_photo import SketchToPhoto
from translate.pipelines.inference.super_resolution import OutputSize, SuperResolution

__all__ = [
    "OutputSize",
    "Pipeline",
    "ScanDenoising",
    "SketchToPhoto",
    "Strokes",
    "SuperResolution",
    "load_pipeline",
]
