"""Pixels: reading, writing, value ranges, data sets and augmentation. Imported as `translate.data`."""

if __name__ == "data":
    raise ImportError("the folder data/ is imported as translate.data: write 'import translate.data'")
