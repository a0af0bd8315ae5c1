"""scratch.py: directories for tests, and such as take seconds to make, made once for all tests of a build and
copied by each: initdb and the migrations are most of a test's start otherwise."""

import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TEKUP_BUILD", ROOT / "build" / "debug")).resolve()
PLACE = BUILD / "tests" / "templates"


def directory(prefix):
    """A new one that every user may pass, with a short path, since a UNIX socket's has room for 107 bytes. In
    memory where there is enough of it, since PostgreSQL waits for the disk."""
    try:
        memory = os.statvfs("/dev/shm")
        roomy = memory.f_bavail * memory.f_frsize > 2 << 30
    except OSError:
        roomy = False
    made = pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir="/dev/shm" if roomy else "/tmp"))
    made.chmod(0o755)
    return made


def copy(source, target):
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def template(name, made_with, make):
    """The path of the template, which is not to be changed. make() gives the directory to keep as a context
    manager. made_with are the programs that it comes from: with others it is made anew."""
    told = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in map(pathlib.Path, made_with)]
    version = hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]
    path, new = PLACE / f"{name}-{version}", PLACE / f"{name}-new"
    PLACE.mkdir(parents=True, exist_ok=True)
    with open(PLACE / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            for old in PLACE.glob(f"{name}-*"):
                shutil.rmtree(old)
            with make() as made:
                copy(made, new)
            new.rename(path)
    return path
