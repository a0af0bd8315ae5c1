"""server.py: a PostgreSQL server of the tests' own, for the cases where DATABASE_URL names one and
where it has to be away for as long as a test wants."""

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import time

import psycopg2

from scratch import copy, directory, template

STARTS_WITHIN_S = 300


def bin_directory():
    """That of the newest installed server, or of the one in PATH."""
    found = sorted(
        pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        key=lambda path: int(path.parts[4]),
    )
    if found:
        return found[-1].parent
    in_path = shutil.which("postgres")
    assert in_path, "no PostgreSQL server is installed"
    return pathlib.Path(in_path).parent


def unprivileged():
    """Arguments for subprocess: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def make_base():
    """A directory that the server's user may use."""
    base = directory("tkpg")
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(base, user.pw_uid, user.pw_gid)
    return base


@contextlib.contextmanager
def fresh_cluster():
    base = make_base()
    try:
        subprocess.run(
            [bin_directory() / "initdb", "-D", base / "data", "-U", "postgres", "--auth=trust",
             "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"],
            check=True, stdout=subprocess.DEVNULL, cwd=base, **unprivileged(),
        )
        yield base / "data"
    finally:
        shutil.rmtree(base)


class Server:
    def __init__(self):
        self.base = make_base()
        self.data = self.base / "data"
        self.log = self.base / "log"
        self.process = None
        copy(template("cluster", [bin_directory() / "postgres"], fresh_cluster), self.data)

    def start(self):
        """The processes of a server that was killed go by themselves, and only then there is room for
        another one."""
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not self.try_to_start(deadline):
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)
        return self

    def try_to_start(self, deadline):
        """False where another server's processes are in the way."""
        before = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [bin_directory() / "postgres", "-D", self.data, "-k", self.base,
                 "-c", "listen_addresses=", "-c", "fsync=off"],
                stdout=log, stderr=log, cwd=self.base, **unprivileged(),
            )
        while True:
            try:
                self.connect("postgres").close()
                return True
            except psycopg2.OperationalError:
                if self.process.poll() is not None:
                    said = self.log.read_bytes()[before:]
                    self.process = None
                    assert b"pre-existing shared memory block" in said or b"lock file" in said, said.decode()
                    return False
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.05)

    def stop(self, how=signal.SIGINT):
        """SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one."""
        self.process.send_signal(how)
        self.process.wait(STARTS_WITHIN_S)
        self.process = None

    def create_database(self, name):
        connection = self.connect("postgres")
        connection.autocommit = True
        connection.cursor().execute(f'CREATE DATABASE "{name}"')
        connection.close()

    def connect(self, database="tekup_db"):
        return psycopg2.connect(host=str(self.base), user="postgres", dbname=database)

    def url(self, database="tekup_db"):
        return f"postgresql://postgres@/{database}?host={self.base}"

    def close(self):
        if self.process:
            self.stop(signal.SIGQUIT)
        shutil.rmtree(self.base, ignore_errors=True)
