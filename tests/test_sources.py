"""Every source of rows gives the statistics of the rows it holds; a broken one says where."""

import sqlite3

import duckdb
import h5py
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
import zarr
from PIL import Image

import wellposed as wp
from wellposed.inputs.sources import chunk

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((500, 4)) * [1, 10, 1e-6, 1e6] + [0, 5, 0, 1e7]
NAMES = list("abcd")
FRAME = pd.DataFrame(X, columns=NAMES)
IMAGES = RANDOM.integers(0, 256, (30, 8, 9, 3), dtype=np.uint8)
TRUTH = wp.Standardizer().fit(X)


class Batches(torch.utils.data.Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return X[index], 0


def write(path, kind):
    """X at a path of that kind; what to fit on, and further arguments."""
    match kind:
        case "npy":
            np.save(path / "x.npy", X)
        case "Fortran order":
            np.save(path / "x.npy", np.asfortranarray(X))
        case "npz":
            np.savez_compressed(path / "x.npz", x=X, y=np.zeros(500))
            return path / "x.npz", {}
        case "npz, named":
            np.savez(path / "x.npz", inputs=X, targets=np.zeros(500))
            return path / "x.npz", {"key": "inputs"}
        case "csv":
            FRAME.assign(name="text").to_csv(path / "x.csv", index=False)
            return path / "x.csv", {"columns": NAMES}
        case "parquet":
            FRAME.to_parquet(path / "x.parquet")
            return str(path / "x.parquet"), {}
        case "hdf5":
            with h5py.File(path / "x.h5", "w") as file:
                file["group/x"], file["y"] = X, np.zeros(500)
            return path / "x.h5", {"key": "group/x"}
        case "zarr":
            zarr.save(str(path / "x.zarr"), X)
            return path / "x.zarr", {}
        case "pattern":
            for k, part in enumerate(np.array_split(X, 5)):
                np.save(path / f"part{k}.npy", part)
            return str(path / "part*.npy"), {}
        case "list":
            for k, part in enumerate(np.array_split(X, 3)):
                np.save(path / f"part{k}.npy", part)
            return [path / f"part{k}.npy" for k in range(3)], {}
    return path / "x.npy", {}


@pytest.mark.parametrize(
    "kind", ["npy", "Fortran order", "npz", "npz, named", "csv", "parquet", "hdf5", "zarr", "pattern", "list"]
)
def test_files_are_read_piece_by_piece(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(chunk, "BYTES", 2000)
    data, options = write(tmp_path, kind)
    found = wp.Standardizer().fit(data, **options)
    np.testing.assert_allclose(found.mean_, TRUTH.mean_, rtol=1e-12)
    np.testing.assert_allclose(found.scale_, TRUTH.scale_, rtol=1e-13)
    assert found.n_samples_seen_ == 500
    assert found.state_.fingerprint.to_dict() == TRUTH.state_.fingerprint.to_dict()


TABLES = {
    "pandas": lambda: FRAME,
    "polars": lambda: pl.DataFrame(FRAME),
    "polars, lazy": lambda: pl.DataFrame(FRAME).lazy(),
    "pyarrow": lambda: pa.Table.from_pandas(FRAME),
    "duckdb": lambda: duckdb.sql("select * from FRAME"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_keep_their_names(kind):
    found = wp.Standardizer().fit(TABLES[kind]())
    np.testing.assert_allclose(found.scale_, TRUTH.scale_, rtol=1e-13)
    assert list(found.feature_names_in_) == NAMES
    assert list(wp.Standardizer().fit(TABLES[kind](), columns=["d", "a"]).feature_names_in_) == ["d", "a"]


def test_missing_values_of_tables_are_nan():
    whole = pl.DataFrame({"n": [1, None, 3], "b": [True, False, None], "x": [None, 1.5, 2.5]})
    for frame in (whole, whole.to_pandas(), whole.to_arrow()):
        found = wp.Standardizer().fit(frame)
        np.testing.assert_allclose(found.mean_, [2, 0.5, 2])
        assert found.state_.moments.nan_count.tolist() == [1, 1, 1]


BATCHES = {
    "a generator": lambda: (part for part in np.array_split(X, 6)),
    "a DataLoader of tuples": lambda: torch.utils.data.DataLoader(Batches(), batch_size=64),
    "a generator of tables": lambda: iter([FRAME[:100], FRAME[100:]]),
    "tensors": lambda: iter([torch.tensor(X[:100]), torch.tensor(X[100:])]),
}


@pytest.mark.parametrize("kind", BATCHES)
def test_batches(kind):
    found = wp.Standardizer().fit(BATCHES[kind]())
    np.testing.assert_allclose(found.scale_, TRUTH.scale_, rtol=1e-13)
    assert found.n_samples_seen_ == 500


def test_a_folder_of_images_by_channel_exactly(tmp_path):
    for k, image in enumerate(IMAGES):
        Image.fromarray(image).save(tmp_path / f"{k:02}.png")
    found = wp.Standardizer().fit(tmp_path)
    assert found.state_.moments == wp.Moments.of(IMAGES)
    assert found.n_samples_seen_ == 30
    assert wp.Standardizer(early_stop=0.5).fit(tmp_path).n_samples_seen_ == 30  # too few to stop early
    Image.fromarray(IMAGES[0, :, :, 0]).save(tmp_path / "99.png")
    with pytest.raises(wp.InputError, match=r"99\.png has 1 features, but what came before it has 3"):
        wp.Standardizer().fit(tmp_path)


def test_images_of_any_size_and_palettes(tmp_path):
    Image.fromarray(IMAGES[0]).save(tmp_path / "a.png")
    Image.fromarray(np.repeat(IMAGES[1], 2, axis=0)).save(tmp_path / "b.png")
    Image.fromarray(IMAGES[2]).convert("P").save(tmp_path / "c.png")
    assert wp.Standardizer().fit(tmp_path).state_.moments.count[0] == 8 * 9 * 4


def broken(path, kind):
    match kind:
        case "no file":
            return path / "x.npy"
        case "no match":
            return str(path / "*.npy")
        case "empty folder":
            return path
        case "unknown ending":
            (path / "x.doc").write_text("a")
            return path / "x.doc"
        case "mixed":
            np.save(path / "x.npy", X)
            FRAME.to_csv(path / "y.csv")
            return [path / "x.npy", path / "y.csv"]
        case "cut short":
            np.save(path / "x.npy", X)
            content = (path / "x.npy").read_bytes()
            (path / "x.npy").write_bytes(content[: len(content) // 2])
            return path / "x.npy"
        case "cut parquet":
            FRAME.to_parquet(path / "x.parquet")
            content = (path / "x.parquet").read_bytes()
            (path / "x.parquet").write_bytes(content[: len(content) // 2])
            return path / "x.parquet"
        case "cut image":
            Image.fromarray(IMAGES[0]).save(path / "x.png")
            (path / "x.png").write_bytes((path / "x.png").read_bytes()[:150])
            return path / "x.png"
        case "ragged csv":
            (path / "x.csv").write_text("a,b\n1,2\n3\n")
            return path / "x.csv"
        case "text":
            FRAME.assign(name="text").to_csv(path / "x.csv", index=False)
            return path / "x.csv"
        case "objects":
            np.save(path / "x.npy", np.array([{}, None]), allow_pickle=True)
            return path / "x.npy"
        case "several":
            np.savez(path / "x.npz", a=X, b=X)
            return path / "x.npz"
        case "columns differ":
            FRAME.to_parquet(path / "a.parquet")
            FRAME.rename(columns={"a": "z"}).to_parquet(path / "b.parquet")
            return str(path / "*.parquet")
        case "features differ":
            np.save(path / "a.npy", X)
            np.save(path / "b.npy", X[:, :3])
            return str(path / "*.npy")
        case "empty":
            np.save(path / "x.npy", X[:0])
            return path / "x.npy"
    raise AssertionError(kind)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("no file", r"there is no file .*x\.npy"),
        ("no match", r"no file matches .*\*\.npy"),
        ("empty folder", "holds no file that can be read"),
        ("unknown ending", r"x\.doc has an unknown ending '\.doc'"),
        ("mixed", r"y\.csv and x\.npy are of different kinds"),
        ("cut short", r"x\.npy is cut short: it ends in row \d+ of 500"),
        ("cut parquet", r"x\.parquet cannot be read: "),
        ("cut image", r"x\.png cannot be read: "),
        ("ragged csv", r"x\.csv cannot be read: .*Expected 2 columns, got 1"),
        ("text", r"column 'name' of x\.csv.* holds text, not numbers"),
        ("objects", r"x\.npy holds Python objects"),
        ("several", r"x\.npz holds several arrays\n\nHint: it has 'a', 'b': choose"),
        ("columns differ", r"b\.parquet.* has the columns 'z', 'b', 'c', 'd', but a\.parquet.* has 'a', 'b', 'c', 'd'"),
        ("features differ", r"b\.npy rows 0 to 499 has 3 features, but what came before it has 4"),
        ("empty", "the data is empty"),
    ],
)
def test_what_cannot_be_read_is_named_and_what_was_fitted_stays(tmp_path, kind, words):
    standardizer = wp.Standardizer().fit(X)
    with pytest.raises(wp.InputError, match=words):
        standardizer.fit(broken(tmp_path, kind))
    np.testing.assert_array_equal(standardizer.mean_, TRUTH.mean_)


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (FRAME, {"columns": ["q"]}, "the table has no column 'q'\n\nHint: it has 'a', 'b', 'c', 'd'"),
        (FRAME.assign(when=pd.Timestamp("2020-01-01")), {}, "column 'when' holds datetime64"),
        (FRAME.assign(what=pd.Categorical(["x"] * 500)), {}, "column 'what' holds text, not numbers"),
        (sqlite3, {}, "the data holds object values, not numbers"),
        (None, {}, "the data is None"),
    ],
)
def test_what_is_no_data(data, options, words):
    with pytest.raises(wp.InputError, match=words):
        wp.Standardizer().fit(data, **options)
