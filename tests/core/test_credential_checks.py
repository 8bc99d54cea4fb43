"""Several configured credentials of one kind."""

from __future__ import annotations

import pytest

from swaig_wsgi.core.auth import check_api_key, check_basic_pairs, check_one_or_several


def test_two_strings_are_one_pair():
    assert check_basic_pairs(["ann", "secret"], "basic_auth") == (("ann", "secret"),)


def test_several_pairs_keep_their_order():
    pairs = [("ann", "new"), ["ann", "old"]]
    assert check_basic_pairs(pairs, "basic_auth") == (("ann", "new"), ("ann", "old"))


@pytest.mark.parametrize("values", [[], ["same", "same"], [b"same", "same"]])
def test_no_value_and_equal_values_are_rejected_without_showing_them(values):
    with pytest.raises(ValueError, match="^api_key ") as caught:
        check_one_or_several(values, check_api_key, "api_key")
    assert "same" not in str(caught.value).replace("the same value twice", "")
