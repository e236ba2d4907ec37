"""Where rows come from: arrays, tables, loaders, files larger than memory. Each gives chunks of rows, in order."""

from wellposed.inputs.sources.chunk import Chunk, Source
from wellposed.inputs.sources.select import source_of

__all__ = ["Chunk", "Source", "source_of"]
