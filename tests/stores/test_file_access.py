import os
import stat

import pytest

from swaig_wsgi.stores import StoreError
from swaig_wsgi.stores._file_access import UnsafeFileError, check_access
from swaig_wsgi.stores.sqlite import SQLiteStore

MINUTE = 60.0

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs modes of files")


def checked(path, mode):
    os.chmod(path, mode)
    check_access("SWML_X_FILE: the file it names", os.stat(path))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "secret"
    path.write_text("a secret")
    return path


@pytest.mark.parametrize("mode", [0o602, 0o620, 0o622, 0o660, 0o664, 0o666, 0o777, 0o4702])
def test_a_file_that_others_may_write_is_rejected(file, mode):
    with pytest.raises(UnsafeFileError) as caught:
        checked(file, mode)
    assert str(caught.value) == (
        f"SWML_X_FILE: the file it names can be written by other users (mode {mode:04o}); "
        "remove their access with chmod go-w"
    )


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700, 0o611])
def test_a_file_of_one_user_is_accepted_in_silence(file, mode, caplog):
    checked(file, mode)
    assert caplog.messages == []


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o444, 0o644, 0o755])
def test_a_file_that_others_may_read_is_reported_once(file, mode, caplog):
    checked(file, mode)
    checked(file, mode)
    assert caplog.messages == [
        f"SWML_X_FILE: the file it names can be read by other users (mode {mode:04o})"
    ]
    assert caplog.records[0].levelname == "WARNING"


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o707, 0o702])
def test_a_directory_that_everybody_may_write_is_rejected(tmp_path, mode):
    with pytest.raises(UnsafeFileError, match=f"written by other users .mode {mode:04o}."):
        checked(tmp_path, mode)


def test_a_directory_that_its_group_may_write_is_reported(tmp_path, caplog):
    checked(tmp_path, 0o755)
    assert caplog.messages == []
    checked(tmp_path, 0o2775)
    assert "can be written by other users (mode 2775)" in caplog.text


def test_pipes_and_devices_are_not_checked(tmp_path, caplog):
    os.mkfifo(tmp_path / "pipe")
    checked(tmp_path / "pipe", 0o666)
    check_access("x", os.stat(os.devnull))
    assert caplog.messages == []


# Stores


def hit(path):
    store = SQLiteStore(path)
    try:
        return store.hit("key", MINUTE).count
    finally:
        store.close()


@pytest.mark.parametrize("name", ["store.db", "store.db-wal", "store.db-shm"])
def test_attack_a_store_that_others_may_write_is_refused(tmp_path, name):
    path = tmp_path / "store.db"
    assert hit(path) == 1
    other = tmp_path / name
    other.touch()
    other.chmod(0o666)
    with pytest.raises(StoreError, match=f"the file {other} can be written by other users"):
        hit(path)
    other.unlink()


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_attack_a_store_in_a_directory_that_others_may_write_is_refused(tmp_path, mode):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(mode)
    link = tmp_path / "link.db"
    link.symlink_to(shared / "store.db")
    for path in (shared / "store.db", link):
        with pytest.raises(StoreError, match=f"the directory {shared} can be written by other"):
            hit(path)
    assert os.listdir(shared) == []
    shared.chmod(0o700)
    assert hit(shared / "store.db") == 1
    shared.chmod(mode)
    with pytest.raises(StoreError, match="written by other users"):
        hit(link)


def test_attack_a_link_in_a_directory_that_others_may_write_is_refused(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "link.db").symlink_to(tmp_path / "store.db")
    assert hit(tmp_path / "store.db") == 1
    with pytest.raises(StoreError, match=f"the directory {shared} can be written by other"):
        hit(shared / "link.db")


def test_a_store_that_others_may_read_is_reported(tmp_path, caplog):
    path = tmp_path / "store.db"
    assert hit(path) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert caplog.messages == []
    path.chmod(0o644)
    assert hit(path) == 2
    assert caplog.messages[0] == f"the file {path} can be read by other users (mode 0644)"
