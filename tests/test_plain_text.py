"""Names that others gave, in the order in which people count."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from napari_omezarr.plain_text import natural_key

NAMES = st.text(st.sampled_from("a0123\u00b2\u0663 "), max_size=8)


@given(st.integers(0, 10**30), st.integers(0, 10**30), NAMES)
def test_numbers_in_names_are_counted(one, other, around):
    before, after = (natural_key(f"t{number}{around}_") for number in (one, other))
    if one != other and not around[:1].isdecimal():
        assert (before < after) == (one < other)


def test_endless_numbers_and_digits_that_are_no_numbers_sort():
    names = ["t" + "9" * 5000, "t\u00b2", "t10", "t2", "t"]
    assert sorted(names, key=natural_key)[:3] == ["t", "t2", "t10"]
