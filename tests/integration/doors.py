"""doors.py: the two ways to a daemon's database that have to be the same to every client: PostgreSQL's
own socket, and the daemon's pass-through in front of it.

What a client prints by one of them is compared with what it prints by the other.
"""

import difflib
import pathlib
import shutil
import subprocess

import pytest

from daemon import PATIENCE, clean_environment, wait_for

DATABASE = "tekup_db"
SERVICES = ["vault", "billy", "renos", "crm", "flow"]
CLIENTS = pathlib.Path(__file__).parent / "clients"


def assert_same(through, direct, what):
    """Shows the lines that differ."""
    if through != direct:
        lines = difflib.unified_diff(str(direct).splitlines(), str(through).splitlines(), f"{what}, direct",
                                     f"{what}, through tekupd", lineterm="", n=1)
        pytest.fail("\n".join(line[:500] for line in list(lines)[:60]), pytrace=False)


class Doors:
    """A daemon with a private cluster, seen from a client."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.direct = str(daemon.run / "postgres")
        self.through = str(daemon.run)

    def both(self):
        return self.direct, self.through

    def connection_string(self, host, role, **more):
        """As libpq wants it."""
        return " ".join(f"{key}={value}" for key, value in
                        {"host": host, "user": role, "dbname": DATABASE, **more}.items())

    def url(self, host, role):
        """As services have it in DATABASE_URL."""
        return f"postgresql://{role}@localhost/{DATABASE}?host={host}"

    def environment(self, host, role, **more):
        return clean_environment(PGHOST=host, PGUSER=role, PGDATABASE=DATABASE, PGCONNECT_TIMEOUT=str(PATIENCE),
                                 LC_ALL="C.UTF-8", DATABASE_URL=self.url(host, role), **more)

    # ---- Programs ----

    def run(self, arguments, host, role="tekup_billy", timeout=2 * PATIENCE, **keywords):
        """A program with the connection in its environment; what it printed, as text."""
        if "input" not in keywords:
            keywords["stdin"] = subprocess.DEVNULL
        return subprocess.run(list(map(str, arguments)), env=self.environment(host, role), timeout=timeout, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, **keywords)

    def psql(self, script, host, role="tekup_billy", *options, **keywords):
        return self.run(["psql", "-X", "-q", *options], host, role, input=script, **keywords)

    def same(self, script, role="tekup_billy", *options, **keywords):
        """Runs a psql script through both doors, and returns what it said if it said the same."""
        direct, through = (self.psql(script, host, role, *options, **keywords) for host in self.both())
        for name in ("stdout", "stderr", "returncode"):
            assert_same(getattr(through, name), getattr(direct, name), name)
        return direct

    # ---- The server ----

    def superuser(self, statement, database=DATABASE):
        """What only the cluster's superuser may do, by its own socket."""
        done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.direct, "-U", "postgres",
                               "-d", database], env=clean_environment(), input=statement, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def wait_sql(self, question, what):
        """Waits until a boolean of the server's is true."""
        wait_for(lambda: self.superuser(f"SELECT {question}") == "t", what)


@pytest.fixture(scope="module")
def doors(daemon):
    return Doors(daemon)


@pytest.fixture(scope="session")
def node():
    """Runs a script of clients/ with the packages that it needs beside it."""
    found = subprocess.run([CLIENTS / "install"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=1000)
    if found.returncode == 77:
        pytest.skip(found.stderr.strip().splitlines()[-1])
    assert found.returncode == 0, found.stderr
    program, packages = found.stdout.split("\n")[:2]
    return Node(program, pathlib.Path(packages))


class Node:
    def __init__(self, program, packages):
        self.program = program
        self.packages = packages

    def start(self, directory, script, *arguments, environment):
        """In a directory of its own, since Node looks for packages beside the script."""
        directory.mkdir(exist_ok=True)
        shutil.copy(CLIENTS / script, directory)
        for name in ("node_modules", "generated"):
            if not (directory / name).exists():
                (directory / name).symlink_to(self.packages / name)
        return subprocess.Popen([self.program, "--no-deprecation", script, *arguments], env=environment, cwd=directory,
                                text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
