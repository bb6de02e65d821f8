"""Exact tiles: any image on a device that holds one tile, and the same picture as the whole image would give."""
