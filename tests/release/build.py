"""Build wheel and sdist of the last commit twice, and compare them byte for byte.

    python tests/release/build.py DIRECTORY

``SOURCE_DATE_EPOCH`` is the time of the commit. setuptools gives it to all files of a wheel, but
keeps the times and the owner of files in an sdist, so the sdist is packed again. With the same
releases of Python and setuptools, the files are the same on every machine.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str, cwd: Path = ROOT, **variables: str) -> bytes:
    environment = {**os.environ, **variables}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command}:\n{(done.stdout + done.stderr).decode(errors='replace')}")
    return done.stdout


def pack_again(sdist: bytes, epoch: int) -> bytes:
    """Return an sdist with the same files, whose times, owners and order are always the same."""
    packed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(sdist)) as old,
        gzip.GzipFile("", "wb", 9, packed, mtime=epoch) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}  # times with fractions
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    return packed.getvalue()


def build(directory: Path, epoch: int, **variables: str) -> dict[str, bytes]:
    """Return the names and contents of the files built from the last commit."""
    source, built = directory / "source", directory / "built"
    with tarfile.open(fileobj=io.BytesIO(run("git", "archive", "HEAD"))) as archive:
        archive.extractall(source, filter="data")
    python = (sys.executable, "-m", "build", "--no-isolation", "--outdir", str(built), str(source))
    run(*python, cwd=directory, SOURCE_DATE_EPOCH=str(epoch), **variables)
    files = {path.name: path.read_bytes() for path in sorted(built.iterdir())}
    return {
        name: pack_again(content, epoch) if name.endswith(".tar.gz") else content
        for name, content in files.items()
    }


def main(target: Path) -> None:
    os.umask(0o022)  # the modes of generated files
    epoch = int(run("git", "log", "-1", "--format=%ct"))
    if run("git", "status", "--porcelain"):
        print("Uncommitted changes are not in the build.")
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        files = build(Path(first), epoch, TZ="UTC", PYTHONHASHSEED="1")
        again = build(Path(second), epoch, TZ="Asia/Tokyo", PYTHONHASHSEED="2")
    different = [name for name in files.keys() | again.keys() if files.get(name) != again.get(name)]
    if different:
        raise SystemExit(f"two builds differ: {', '.join(sorted(different))}")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name, content in files.items():
        (target / name).write_bytes(content)
        print(hashlib.sha256(content).hexdigest(), "", name, flush=True)
    paths = [str(target / name) for name in files]
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *paths], check=True)
    print(f"two builds are equal, byte for byte (SOURCE_DATE_EPOCH={epoch})")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
