"""Policies and decisions are shared by threads and remembered, so nothing may change them."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil

import pytest

from swaig_wsgi import core

MODULES = [
    importlib.import_module(each.name, core.__name__)
    for each in pkgutil.iter_modules(core.__path__, f"{core.__name__}.")
]
CLASSES = [
    each
    for module in MODULES
    for _, each in inspect.getmembers(module, inspect.isclass)
    if dataclasses.is_dataclass(each) and each.__module__ == module.__name__
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_no_field_of_a_policy_can_be_changed(cls):
    made = object.__new__(cls)
    for field in dataclasses.fields(cls):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field.name, None)
