"""server.py: a PostgreSQL server of the tests' own, for the cases where DATABASE_URL names one and
where it has to be away for as long as a test wants."""

import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

import psycopg2


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


class Server:
    def __init__(self):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="tkpg", dir="/tmp"))
        self.data = self.base / "data"
        self.log = self.base / "log"
        self.process = None
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.base, user.pw_uid, user.pw_gid)
        self.base.chmod(0o755)
        subprocess.run(
            [bin_directory() / "initdb", "-D", self.data, "-U", "postgres", "--auth=trust",
             "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"],
            check=True, stdout=subprocess.DEVNULL, cwd=self.base, **unprivileged(),
        )

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [bin_directory() / "postgres", "-D", self.data, "-k", self.base,
                 "-c", "listen_addresses=", "-c", "fsync=off"],
                stdout=log, stderr=log, cwd=self.base, **unprivileged(),
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.connect("postgres").close()
                return self
            except psycopg2.OperationalError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.05)

    def stop(self, how=signal.SIGINT):
        """SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one."""
        self.process.send_signal(how)
        self.process.wait(60)
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
