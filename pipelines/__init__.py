"""Stage 1 (preprocessing) and stage 3 (inference and evaluation). Imported as `translate.pipelines`."""

if __name__ == "pipelines":
    raise ImportError("the folder pipelines/ is imported as translate.pipelines: write 'import translate.pipelines'")

from translate.pipelines.inference.pipeline import Pipeline

__all__ = ["Pipeline"]
