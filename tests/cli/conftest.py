"""Copies for other projects."""

from __future__ import annotations

import pytest

from swaig_wsgi.cli._copies import make_copy


@pytest.fixture(scope="module")
def whole_copy(tmp_path_factory):
    copy = tmp_path_factory.mktemp("project") / "_vendored"
    make_copy(copy, middleware=True)
    return copy


@pytest.fixture
def copy(tmp_path):
    dest = tmp_path / "vendored"
    make_copy(dest)
    return dest
