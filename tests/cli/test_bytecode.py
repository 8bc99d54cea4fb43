"""Bytecode in a copy: what was compiled from its source is accepted, everything else reported."""

from __future__ import annotations

import importlib.util
import marshal
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.cli._bytecode import _Reader
from swaig_wsgi.cli._copies import check_copy, make_copy

TAG = sys.implementation.cache_tag
PLANTED = "print('planted')"


@pytest.fixture
def copy(tmp_path):
    dest = tmp_path / "vendored"
    make_copy(dest)
    return dest


def plant(copy, code, *, flags=0, name=f"auth.{TAG}.pyc"):
    """Write bytecode for ``core/auth.py``, with a header that Python accepts."""
    source = copy / "core" / "auth.py"
    state = source.stat()
    fields = (flags, int(state.st_mtime), state.st_size)
    header = importlib.util.MAGIC_NUMBER + b"".join(each.to_bytes(4, "little") for each in fields)
    path = copy / "core" / "__pycache__" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(header + marshal.dumps(code))
    return f"bytecode: core/__pycache__/{name}"


def import_auth(copy, *flags):
    code = "import sys; sys.path.insert(0, sys.argv[1]); import vendored.core.auth"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }
    return subprocess.run(
        [sys.executable, *flags, "-c", code, copy.parent],
        check=True,
        capture_output=True,
        text=True,
        env={**environment, "PYTHONHASHSEED": "5"},
    ).stdout


@pytest.mark.parametrize("flags", [0, 1])
def test_planted_bytecode_runs_and_is_reported(copy, flags):
    # With flag 1, Python never compares the header with the source.
    entry = plant(copy, compile(PLANTED, "auth.py", "exec"), flags=flags)
    assert import_auth(copy, "-B") == "planted\n"
    assert check_copy(copy) == [f"{entry} is not compiled from auth.py"]


@pytest.mark.parametrize("flags", [(), ("-O",), ("-OO",)])
def test_the_bytecode_that_python_writes_is_accepted(copy, flags):
    import_auth(copy, *flags)
    assert len(list(copy.rglob("*.pyc"))) > 2
    assert check_copy(copy) == []


def test_bytecode_of_a_moved_copy_is_accepted(copy, tmp_path):
    for path in copy.rglob("*.py"):
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(path), dfile="elsewhere.py", doraise=True, invalidation_mode=mode)
    shutil.move(copy, tmp_path / "moved")
    assert check_copy(tmp_path / "moved") == []


def genuine(copy):
    source = copy / "core" / "auth.py"
    return compile(source.read_bytes(), source, "exec", dont_inherit=True)


def changed_inside(code, **changes):
    """Change the first function that `code` defines."""
    constants = list(code.co_consts)
    index = next(n for n, each in enumerate(constants) if hasattr(each, "co_code"))
    constants[index] = constants[index].replace(**changes)
    return code.replace(co_consts=tuple(constants))


CHANGES = [
    {"co_consts": ("another",)},
    {"co_names": ("another",)},
    {"co_flags": 0},
    {"co_stacksize": 77},
    {"co_firstlineno": 77},
    {"co_name": "another"},
    *([{"co_exceptiontable": b"\x80"}] if sys.version_info >= (3, 11) else []),
]


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: next(iter(changes)))
def test_each_field_of_the_code_is_compared(copy, changes):
    code = genuine(copy)
    entry = plant(copy, code)
    assert check_copy(copy) == []
    for changed in (code.replace(**changes), changed_inside(code, **changes)):
        plant(copy, changed)
        assert check_copy(copy) == [f"{entry} is not compiled from auth.py"]


@pytest.mark.parametrize("content", [b"", b"junk", importlib.util.MAGIC_NUMBER + bytes(12)])
def test_what_is_not_bytecode_is_reported(copy, content):
    entry = plant(copy, genuine(copy))
    path = copy / "core" / "__pycache__" / f"auth.{TAG}.pyc"
    path.write_bytes(content)
    assert check_copy(copy) == [f"{entry} is not compiled from auth.py"]


def test_data_after_the_code_is_reported(copy):
    entry = plant(copy, genuine(copy))
    with (copy / "core" / "__pycache__" / f"auth.{TAG}.pyc").open("ab") as file:
        file.write(b"N")
    assert check_copy(copy) == [f"{entry} is not compiled from auth.py"]


def test_bytecode_without_a_source_is_reported(copy):
    entry = plant(copy, genuine(copy), name=f"backdoor.{TAG}.pyc")
    assert check_copy(copy) == [f"{entry} is not compiled from backdoor.py"]


@pytest.mark.parametrize("name", ["auth.cpython-39.pyc", f"auth.{TAG}.opt-9.pyc", "auth.pyc"])
def test_bytecode_of_another_python_is_reported(copy, name):
    entry = plant(copy, genuine(copy), name=name)
    assert check_copy(copy) == [f"{entry} cannot be checked by this Python"]


def test_a_link_to_bytecode_is_reported(copy, tmp_path):
    entry = plant(copy, genuine(copy))
    path = copy / "core" / "__pycache__" / f"auth.{TAG}.pyc"
    path.rename(tmp_path / "elsewhere.pyc")
    path.symlink_to(tmp_path / "elsewhere.pyc")
    assert check_copy(copy) == [f"{entry} is not compiled from auth.py"]


def test_a_changed_source_is_reported_without_its_bytecode(copy):
    plant(copy, genuine(copy))
    (copy / "core" / "auth.py").write_text(PLANTED)
    assert check_copy(copy) == ["changed: core/auth.py"]


def test_bytecode_does_not_prevent_an_update(copy):
    plant(copy, genuine(copy), name="auth.cpython-39.pyc")
    make_copy(copy, stores=True)
    assert check_copy(copy) == []


@given(st.binary(max_size=200))
def test_any_data_is_read_or_rejected(data):
    for each in (data, marshal.dumps(compile("a = (1, 'b')", "f", "exec"))[: len(data)] + data):
        try:
            _Reader(each).read()
        except ValueError:
            continue


@pytest.mark.parametrize(
    "data",
    [
        b")\x01" * 100_000 + b"N",  # nested
        b"\xa9\x01r\x00\x00\x00\x00",  # a tuple that holds itself
        b"r\x00\x00\x00\x00",
        b")\x02\xcer\x00\x00\x00\x00",  # a constant is not shared
        b"r\xff\xff\xff\xff",
        b"(\xff\xff\xff\xff",
        b"s\xff\xff\xff\xff",
        b"(\xff\xff\xff\x7f",
        b"[\x00\x00\x00\x00",
        b"u\x01\x00\x00\x00\xff",
        b"NN",
    ],
)
def test_forged_data_is_rejected(data):
    with pytest.raises(ValueError, match=r"."):
        _Reader(data).read()


def test_shared_objects_take_no_more_time_than_their_data():
    # Each tuple holds the one before it twice: 2 ** 200 objects if they were copied.
    count = 200
    data = b"\xa9\x00" + b"".join(
        b"\xa9\x02" + 2 * (b"r" + (number - 1).to_bytes(4, "little")) for number in range(1, count)
    )
    read = _Reader(b"(" + count.to_bytes(4, "little") + data).read()
    assert len(read) == count + 1
    assert read != _Reader(marshal.dumps((1, "a"))).read()


def test_the_same_code_is_equal_however_it_is_serialized(copy):
    code = genuine(copy)
    once = marshal.dumps(code)
    again = marshal.dumps(marshal.loads(once))  # noqa: S302 - made by this test
    assert once != again
    assert _Reader(once).read() == _Reader(again).read()
    assert Path(code.co_filename).name == "auth.py"
