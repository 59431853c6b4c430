"""Arrays of a caption as bytes, in both kinds of database."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from sqlalchemy import text

from service.store.arrays import pack, unpack
from service.store.captions import Store
from service.store.tables import CollectionWordsRow
from tests.service.store.test_captions import entry

SHAPES = arrays_of.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5)


def check_same(arrays: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        assert (arrays[name].dtype, arrays[name].shape) == (np.float32, array.shape)
        np.testing.assert_array_equal(arrays[name], array)


@given(arrays_of.arrays(np.float64, SHAPES, elements=st.floats(-199, 199)))
def test_numbers_with_seven_decimals_are_restored_exactly(values):
    rounded = values.round(7).astype(np.float32)
    check_same(unpack(pack({"a": rounded})), {"a": rounded})


@given(arrays_of.arrays(np.float32, SHAPES, elements=st.floats(0, 1, width=32)))
def test_other_numbers_are_restored_to_seven_decimals(values):
    (restored,) = unpack(pack({"a": values})).values()
    np.testing.assert_allclose(restored, values, rtol=0, atol=8e-8)


def test_numbers_that_do_not_fit_are_restored_exactly():
    values = {"large": np.array([1e9, 0.25], np.float32), "odd": np.array([np.nan, -np.inf, np.inf], np.float32)}
    check_same(unpack(pack(values)), values)


def test_arrays_that_are_not_contiguous_are_restored():
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for view in (values.T, values[:, ::2], values[::-1], values * 100):
        check_same(unpack(pack({"a": view})), {"a": view})


def test_peaked_maps_take_less_than_four_bytes_for_each_number():
    maps = np.random.default_rng(0).dirichlet(np.full(400, 0.3), 15).reshape(15, 20, 20).astype(np.float32)
    assert len(pack({"a": maps})) < 2.5 * maps.size


@pytest.fixture
def store(database) -> Store:
    return Store(database)


def test_the_arrays_of_a_caption_are_restored_from_the_database(store, open_database):
    arrays = {"0.alphas": np.full((2, 3, 4), 0.25, np.float32), "1.gates": np.array([0.1234567], np.float32)}
    with_some, without = entry(arrays=arrays), entry()
    store.add(with_some)
    store.add(without)
    reopened = open_database()
    check_same(Store(reopened).get(with_some.id).arrays, arrays)
    check_same(Store(reopened).correct(with_some.id, "a cat").arrays, arrays)
    assert Store(reopened).get(without.id).arrays == {}
    with reopened.reading() as session:
        rows = session.execute(text("SELECT arrays IS NULL FROM captions ORDER BY sequence")).scalars().all()
    assert rows == [False, True]


def test_a_row_takes_other_arrays_of_the_same_shape(database):
    def arrays(value: float) -> dict[str, np.ndarray]:
        return {"alphas": np.full((2, 3), value, np.float32)}

    key = {"collection": "a", "number": 1}
    for value in (0.25, 0.5):
        with database.writing() as session:
            session.merge(CollectionWordsRow(**key, document={}, arrays=arrays(value)))
        with database.reading() as session:
            check_same(session.get(CollectionWordsRow, ("a", 1)).arrays, arrays(value))
