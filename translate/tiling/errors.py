"""What tiles cannot do."""


class TilingError(ValueError):
    """An image cannot be translated in tiles, or not with these settings."""


class Untraceable(ValueError):
    """A network that does something which tiles do not know: it needs another method than layer streaming."""
