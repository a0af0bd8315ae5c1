"""conftest.py: the fixtures, and the daemons' logs beside every failure."""

import os
import pathlib
import subprocess
import sys

import psycopg2
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from client import Client  # noqa: E402
from daemon import Daemon  # noqa: E402
from doors import doors, node  # noqa: E402, F401
from server import Server  # noqa: E402
from wire import Wire  # noqa: E402

if os.environ.get("TEKUP_OPENAPI"):
    from openapi import Description

    Client.observer = Description.of_source().check

LOG_SHOWN = 20000
WITH_PGVECTOR = pathlib.Path(__file__).resolve().parents[1] / "with-pgvector"


def pytest_configure(config):
    config.addinivalue_line("markers", "plain: does more without a sanitizer than with one")


def pytest_collection_modifyitems(items):
    """With TEKUP_PLAIN=1 a module that has tests with the mark plain is those alone: the others are run under the
    sanitizers, which sees as much and more."""
    if os.environ.get("TEKUP_PLAIN"):
        marked = {item.module for item in items if item.get_closest_marker("plain")}
        items[:] = [item for item in items if item.module not in marked or item.get_closest_marker("plain")]


@pytest.fixture(scope="module")
def daemon():
    """One running daemon for the tests of a file that do not disturb each other."""
    daemon = Daemon()
    try:
        daemon.start()
        yield daemon
        assert daemon.process and daemon.process.poll() is None, "tekupd is gone"
    finally:
        daemon.clean_up()


@pytest.fixture(scope="module")
def client(daemon):
    return daemon.client


@pytest.fixture
def wires(daemon):
    """Makes clients of the daemon's PostgreSQL socket that are gone after the test."""
    made = []

    def make(user="tekup_billy", **parameters):
        made.append(Wire(daemon.run, user, **parameters))
        return made[-1]

    yield make
    for wire in made:
        wire.close()


@pytest.fixture
def make_daemon():
    """Makes daemons, not started yet, for tests that stop, kill or configure them. Those with a
    private cluster find it made unless they are to be fresh."""
    made = []

    def make(**keywords):
        made.append(Daemon(**keywords))
        return made[-1]

    yield make
    failures = []
    for daemon in made:
        try:
            daemon.clean_up()
        except Exception as failure:
            failures.append(failure)
    if failures:
        raise failures[0]


@pytest.fixture
def server():
    """A PostgreSQL server of the test's own, with an empty database tekup_db."""
    server = Server()
    try:
        server.start()
        server.create_database("tekup_db")
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def pgvector_database():
    """Makes an empty database of a name on a server with pgvector, and gives its URL."""
    process = subprocess.Popen([WITH_PGVECTOR, "bash", "-c", 'echo "$TEKUP_TEST_SERVER"; read -r _'],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    directory = process.stdout.readline().strip()
    if not directory:
        said = process.stderr.read().strip()
        if process.wait() == 77:
            pytest.skip(said.splitlines()[-1] if said else "no pgvector here")
        pytest.fail(said)

    def make(name):
        connection = psycopg2.connect(host=directory, user="postgres", dbname="postgres")
        connection.autocommit = True
        connection.cursor().execute(f'CREATE DATABASE "{name[:60]}"')
        connection.close()
        return f"postgresql://postgres@/{name[:60]}?host={directory}"

    yield make
    process.communicate("\n", timeout=60)


@pytest.fixture(autouse=True)
def no_sanitizer_report():
    yield
    for daemon in Daemon.alive:
        daemon.check_log()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for daemon in Daemon.alive:
            log = daemon.log()
            if log:
                report.sections.append((f"log of tekupd in {daemon.base}", log[-LOG_SHOWN:]))
