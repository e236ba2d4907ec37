"""Files larger than memory, read piece by piece: npy, npz, csv, parquet, zarr, hdf5, folders of images, globs of any of
these.
"""

from __future__ import annotations

import glob
import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import narwhals as nw
import numpy as np

from wellposed.errors import InputError
from wellposed.inputs.sources import tables
from wellposed.inputs.sources.chunk import Chunk, Source, rows_per_chunk, slice_rows
from wellposed.numerics.arrays import Array
from wellposed.reading import demand_regular

_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
_LARGEST = 1 << 62  # bytes that any file can hold
_BATCH = 1 << 16  # rows of a table at a time


def files(paths: Sequence[str | Path], columns: Sequence[str] = (), key: str | None = None) -> Source:
    """The rows of all files, one after the other. Raises `InputError` for what is not there, or of different kinds."""
    found = paths_of(paths)
    kinds = {_kind(path) for path in found}
    if len(kinds) > 1:
        one, two = (next(path for path in found if _kind(path) == kind) for kind in sorted(kinds)[:2])
        raise InputError(f"{one.name} and {two.name} are of different kinds", hint="give files of one kind at a time")
    kind = kinds.pop()
    reader = _READERS[kind]

    def chunks() -> Iterator[Chunk]:
        for path in found:
            yield from _reported(path, reader(path, columns, key))

    what = str(paths[0]) if len(found) == 1 else f"{len(found)} files"
    if kind == "image":

        def images(indices: Array) -> Iterator[Chunk]:
            for index in indices:
                yield from _reported(found[index], reader(found[index], columns, key))

        return Source(what, chunks, len(found), at=images)
    if kind == "npy" and len(found) == 1:
        return Source(what, chunks, *_mapped(found[0]))
    return Source(what, chunks)


def paths_of(paths: Sequence[str | Path]) -> list[Path]:
    """The files that `files` would read. Raises `InputError` for what is not there."""
    return [file for path in paths for file in _expanded(str(path))]


def _mapped(path: Path) -> tuple[int | None, bool, Callable[[Array], Iterator[Chunk]] | None]:
    """The rows of an npy file at will: how many, that they can be had again, and any of them."""
    try:
        array = np.load(path, mmap_mode="r")
    except (
        ArithmeticError,
        ValueError,
        TypeError,
        EOFError,
        OSError,
        MemoryError,
        RecursionError,
        SyntaxError,
        TokenError,
    ):
        # Cut short, of objects, with a header that is none: reading it says so.
        return None, True, None
    if not array.ndim:
        return None, True, None
    return len(array), True, lambda indices: iter([Chunk(np.asarray(array[indices]), path.name)])


def _expanded(path: str) -> list[Path]:
    """The files that a path, a pattern or a folder stands for, sorted."""
    there = Path(path)
    if (
        there.is_dir()
        and there.suffix != ".zarr"
        and not (there / "zarr.json").exists()
        and not (there / ".zarray").exists()
    ):
        found = sorted(
            file for file in there.rglob("*") if file.suffix.lower() in _KINDS and (file.is_file() or file.is_dir())
        )
        if not found:
            raise InputError(
                f"the folder {path} holds no file that can be read", hint=f"known endings: {', '.join(sorted(_KINDS))}"
            )
        return found
    if there.exists():
        demand_regular(there)
        return [there]
    found = sorted(Path(name) for name in glob.glob(path, recursive=True))
    if not found:
        raise InputError(f"there is no file {path}" if not glob.has_magic(path) else f"no file matches {path}")
    return [file for one in found for file in _expanded(str(one))]


def _kind(path: Path) -> str:
    if path.is_dir():
        return "zarr"
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"{path} has an unknown ending {path.suffix!r}", hint=f"known: {', '.join(sorted(_KINDS))}")
    return kind


def _reported(path: Path, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Whatever a library says of a broken file, with the file's name."""
    try:
        yield from chunks
    except InputError as error:
        if str(path) in str(error) or path.name in str(error):
            raise
        raise InputError(f"{path}: {error}") from error
    except (Exception, MemoryError) as error:
        raise InputError(f"{path} cannot be read: {error}", hint="is it whole? what came before it was read") from error


def _npy(path: Path, columns: Sequence[str], key: str | None) -> Iterator[Chunk]:
    with path.open("rb") as file:
        yield from _stream(file, f"{path.name} ", path)


def _npz(path: Path, columns: Sequence[str], key: str | None) -> Iterator[Chunk]:
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        wanted = key or (
            names[0]
            if len(names) == 1
            else next((name for name in ("x", "X", "x_train", "data") if name in names), None)
        )
        if wanted not in names:
            said = f"has no array {wanted!r}" if wanted else "holds several arrays"
            raise InputError(
                f"{path} {said}", hint=f"it has {', '.join(map(repr, names))}: choose with key=..., --key NAME"
            )
        with archive.open(f"{wanted}.npy") as file:
            yield from _stream(file, f"{path.name} ", path)  # type: ignore[arg-type]


def _stream(file: BinaryIO, where: str, path: Path) -> Iterator[Chunk]:
    """An array in NumPy's format, by reading and not by mapping: memory stays with what is being summed."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if any(isinstance(length, bool) or length < 0 for length in shape) or math.prod(shape) * dtype.itemsize > _LARGEST:
        raise InputError(
            f"{path} says that it holds an array of shape {shape}, which cannot be", hint="is it whole? what wrote it?"
        )
    if dtype.hasobject:
        raise InputError(f"{path} holds Python objects", hint="save numbers: array.astype(float)")
    if fortran and len(shape) > 1:
        yield from slice_rows(_by_columns(file, path, shape, dtype), where)
        return
    step = rows_per_chunk(shape, dtype.itemsize) if shape else 1
    row = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
    for start in range(0, shape[0] if shape else 0, step):
        stop = min(start + step, shape[0])
        content = file.read((stop - start) * row)
        if len(content) < (stop - start) * row:
            raise InputError(f"{path} is cut short: it ends in row {start + len(content) // max(row, 1)} of {shape[0]}")
        yield Chunk(
            np.frombuffer(content, dtype=dtype).reshape(stop - start, *shape[1:]), f"{where}rows {start} to {stop - 1}"
        )


def _by_columns(file: BinaryIO, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array that lies in the order of Fortran: mapped, or read whole where it is a member of an archive."""
    if path.suffix.lower() == ".npy":
        mapped: Array = np.load(path, mmap_mode="r")
        return mapped
    content = file.read()
    if len(content) < math.prod(shape) * dtype.itemsize:
        raise InputError(f"{path} is cut short")
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F")


def _csv(path: Path, columns: Sequence[str], key: str | None) -> Iterator[Chunk]:
    csv = _library("pyarrow.csv")
    with csv.open_csv(path) as reader:
        schema = reader.schema
    names, arrow = tables.choose_columns(schema.names, columns, str(path)), _library("pyarrow")
    # What begins with whole numbers, or with nothing, may go on otherwise.
    open_ended = [
        field.name for field in schema if arrow.types.is_integer(field.type) or arrow.types.is_null(field.type)
    ]
    types = csv.ConvertOptions(column_types=dict.fromkeys(open_ended, arrow.float64()), include_columns=names)
    with csv.open_csv(path, convert_options=types) as reader:
        yield from _arrow(iter(reader), names, path)


def _parquet(path: Path, columns: Sequence[str], key: str | None) -> Iterator[Chunk]:
    parquet = _library("pyarrow.parquet")
    with parquet.ParquetFile(path) as file:
        names = tables.choose_columns(file.schema_arrow.names, columns, str(path))
        yield from _arrow(file.iter_batches(_BATCH, columns=names), names, path)


def _arrow(batches: Iterator[Any], names: Sequence[str], path: Path) -> Iterator[Chunk]:
    arrow, start = _library("pyarrow"), 0
    for batch in batches:
        table = arrow.Table.from_batches([batch])
        yield from tables.pieces(nw.from_native(table, eager_only=True), names, f"{path.name} (from row {start})")
        start += len(table)


def _zarr(path: Path, columns: Sequence[str], key: str | None) -> Iterator[Chunk]:
    opened = _library("zarr").open(str(path), mode="r")
    yield from slice_rows(
        _member(opened, list(opened.array_keys()) if hasattr(opened, "array_keys") else None, key, path),
        f"{path.name} ",
    )


def _hdf5(path: Path, columns: Sequence[str], key: str | None) -> Iterator[Chunk]:
    h5py = _library("h5py")
    with h5py.File(path, "r") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        yield from slice_rows(_member(file, names, key, path), f"{path.name} ")


def _member(opened: Any, names: list[str] | None, key: str | None, path: Path) -> Any:
    """The array asked for, or the only one."""
    if names is None:
        return opened
    if key is None and len(names) == 1:
        key = names[0]
    if key not in names:
        said = f"has no array {key!r}" if key else "holds several arrays"
        raise InputError(
            f"{path} {said}", hint=f"it has {', '.join(map(repr, names))}: choose with key=..., --key NAME"
        )
    return opened[key]


def _image(path: Path, columns: Sequence[str], key: str | None) -> Iterator[Chunk]:
    with _library("PIL.Image").open(path) as image:
        shown = image.convert("RGB") if image.mode == "P" else image
        pixels = np.asarray(shown)
    yield Chunk(pixels[None, :, :, None] if pixels.ndim == 2 else pixels[None], path.name)


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(
            f"reading this file needs {name.split('.')[0]}, which is not installed",
            hint="pip install 'wellposed[files]'",
        ) from error


_READERS: dict[str, Callable[[Path, Sequence[str], str | None], Iterator[Chunk]]] = {
    "npy": _npy, "npz": _npz, "csv": _csv, "parquet": _parquet, "zarr": _zarr, "hdf5": _hdf5, "image": _image,
}  # fmt: skip
_KINDS = {
    ".npy": "npy", ".npz": "npz", ".csv": "csv", ".parquet": "parquet", ".pq": "parquet", ".zarr": "zarr",
    ".h5": "hdf5", ".hdf5": "hdf5", **dict.fromkeys(_IMAGES, "image"),
}  # fmt: skip
