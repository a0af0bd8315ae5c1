"""daemon.py: one tekupd with a RUN and a DATA of its own.

The build under test is the one that the environment variable TEKUP_BUILD names, build/debug
without it. What a sanitizer reports in the daemon's log fails the test at whose end it is found.
"""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import psycopg2

from client import Client
from server import bin_directory
from scratch import BUILD, ROOT, copy, directory, template  # noqa: F401

TEKUPD = BUILD / "tools" / "tekupd" / "tekupd"
TEKUP = BUILD / "tools" / "tekup" / "tekup"

SANITIZER_REPORT = re.compile(
    r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|UndefinedBehaviorSanitizer|runtime error:"
)

# Sanitizers make everything several times slower; a wait that is over by then has failed.
PATIENCE = 120


def sanitizer():
    """What the build under test is built with: "", "address,undefined" or "thread"."""
    for line in (BUILD / "CMakeCache.txt").read_text().splitlines():
        if line.startswith("TEKUP_SANITIZE:"):
            return line.split("=", 1)[1]
    return ""


def wait_for(condition, what, timeout=PATIENCE):
    """Waits until condition() is true and returns what it gave."""
    deadline = time.monotonic() + timeout
    pause = 0.01
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}"
        time.sleep(pause)
        pause = min(pause * 1.3, 0.25)


def clean_environment(**extra):
    """This process's environment without anything that would lead a program elsewhere."""
    environment = {
        name: value for name, value in os.environ.items()
        if not name.startswith(("TEKUP", "PG", "XDG_")) and name != "DATABASE_URL"
    }
    environment.setdefault("ASAN_OPTIONS", "detect_stack_use_after_return=1")
    environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    environment.setdefault("TSAN_OPTIONS", "second_deadlock_stack=1")
    environment.update(extra)
    return environment


def process_figure(pid, name):
    """A figure of /proc/PID/status, e.g. VmHWM in kilobytes."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise KeyError(name)


def is_running(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def descendants(pid):
    """The process and all below it."""
    found = [pid]
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            found += descendants(int(path.parts[2]))
    return found


@contextlib.contextmanager
def seasoned():
    """A DATA whose cluster is made and migrated."""
    daemon = Daemon(fresh=True)
    try:
        daemon.start()
        daemon.stop()
        yield daemon.data
    finally:
        daemon.clean_up()


class Daemon:
    alive = []  # every daemon that has not been cleaned up; conftest shows their logs

    def __init__(self, config="", database_url=None, environment=None, data=None, fresh=False):
        """data: a DATA to begin with, of which a copy is made. fresh: it makes its private cluster itself, instead
        of finding it made and migrated."""
        self.base = directory("tk")  # which the server's user can pass
        self.run = self.base / "r"
        self.data = self.base / "d"
        self.fresh = fresh
        if data:
            copy(data, self.data)
        self.config = self.base / "tekupd.conf"
        self.config.write_text(config)
        self.log_path = self.base / "log"
        self.log_path.touch()
        self.socket = str(self.run / "tekupd.sock")
        self.client = Client(self.socket)
        self.environment = clean_environment(
            TEKUP_RUN=str(self.run), TEKUP_DATA=str(self.data), **(environment or {})
        )
        self.database_url = database_url
        if database_url:
            self.environment["DATABASE_URL"] = database_url
        self.process = None
        self.pass_fds = ()
        self.connections = []
        Daemon.alive.append(self)

    # ---- Its life ----

    def arguments(self):
        return [str(TEKUPD), "--config", str(self.config)]

    def signal(self, number, log):
        """Sends a signal and waits until the log has this: that it was taken."""
        before = self.log().count(log)
        self.process.send_signal(number)
        wait_for(lambda: self.log().count(log) > before, f"{log} in the log")

    def spawn(self):
        """Starts it and waits for nothing."""
        assert self.process is None, "it runs already"
        if not self.fresh and not self.database_url and not self.data.exists():
            copy(template("data", [TEKUPD, bin_directory() / "postgres"], seasoned), self.data)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.arguments(), env=self.environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, cwd=self.base, pass_fds=self.pass_fds,
            )
        return self

    def start(self):
        """Starts it and waits until it is ready."""
        self.spawn()
        self.wait_ready()
        return self

    def wait_ready(self):
        def ready():
            assert self.process.poll() is None, f"tekupd ended with {self.process.returncode}"
            try:
                return self.client.get("/readyz").status == 200
            except (ConnectionError, FileNotFoundError):
                return False

        wait_for(ready, "/readyz to answer 200")

    def wait_works(self):
        """Waits until calls that need the database go through. /readyz alone may not have noticed yet
        that the database went away."""
        wait_for(lambda: self.client.get("/v1/documents", limit=1).status == 200
                 and self.client.get("/readyz").status == 200, "the database to be back")

    def wait_exit(self, timeout=PATIENCE):
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"tekupd does not end; its threads: {self.threads()}") from None
        self.process = None
        return code

    def threads(self):
        """What each of them waits for, as far as the system and gdb (if it is here) can tell."""
        said = [(task / "comm").read_text().strip() + " in " + (task / "wchan").read_text()
                for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir()]
        if shutil.which("gdb"):
            traced = subprocess.run(["gdb", "-p", str(self.pid), "-batch", "-ex", "thread apply all bt"],
                                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60)
            said.append(traced.stdout)
        return "\n".join(said)

    def stop(self):
        """SIGTERM, which must be obeyed with exit status 0."""
        self.process.send_signal(signal.SIGTERM)
        code = self.wait_exit()
        self.check_log()
        assert code == 0, f"tekupd stopped with exit status {code}"

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.wait_exit()

    def restart(self):
        self.stop()
        return self.start()

    @property
    def pid(self):
        return self.process.pid

    # ---- Its database ----

    def connect(self):
        """A connection of the test's own to the database, as its administrator. Closed with the
        daemon's fixture."""
        if self.database_url:
            connection = psycopg2.connect(self.database_url)
        else:
            connection = psycopg2.connect(
                host=str(self.run / "postgres"), user="tekup_admin", dbname="tekup_db"
            )
        self.connections.append(connection)
        return connection

    def sql(self, statement, *parameters):
        """All rows of one statement, committed."""
        connection = self.connect()
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def lock(self, table='vault."VaultDocument"', mode="SHARE"):
        """Takes a table lock and returns its connection: a write (SHARE) or any use (ACCESS
        EXCLUSIVE) of the table waits until that is closed. So a test finds the daemon in the middle
        of what it does."""
        connection = self.connect()
        connection.cursor().execute(f"LOCK TABLE {table} IN {mode} MODE")
        return connection

    def wait_blocked(self, count=1):
        """Waits until so many of the database's other sessions wait for a lock."""
        connection = self.connect()
        connection.autocommit = True
        with connection.cursor() as cursor:

            def blocked():
                cursor.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND"
                    " datname = current_database()"
                )
                return cursor.fetchone()[0] >= count

            wait_for(blocked, f"{count} sessions to wait for the lock")
        connection.close()

    @contextlib.contextmanager
    def hold(self, repository, *paths, source="local"):
        """Lets a sync come to these documents and no further: somebody else is about to write them. So a
        test finds it in its middle, however long that takes either of them."""
        connection = self.connect()
        try:
            for path in paths:
                connection.cursor().execute(
                    'INSERT INTO vault."VaultDocument" (id, source, repository, path, content, "updatedAt")'
                    " VALUES (%s, %s, %s, %s, 'x', now())", (repository + path, source, repository, path))
            yield
        finally:
            connection.close()

    def postmaster_pid(self):
        """Of the private cluster; None where it does not run."""
        try:
            pid = int((self.data / "postgres" / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError):
            return None
        return pid if is_running(pid) else None

    # ---- Sources ----

    def add_source(self, repository, path, interval=0):
        answer = self.client.put("/v1/sources", {
            "source": "local", "repository": repository, "config": {"path": str(path)},
            "intervalSeconds": interval,
        })
        assert answer.status in (200, 201), answer

    def sync_item(self, repository, source="local"):
        answer = self.client.get("/v1/sync", source=source, repository=repository)
        assert answer.status == 200, answer
        items = answer.json["items"]
        assert len(items) <= 1
        return items[0] if items else None

    def request_sync(self, repository, source="local"):
        answer = self.client.post("/v1/sync", {"source": source, "repository": repository})
        assert answer.status == 202, answer

    def wait_waiting(self, repository, source):
        """Waits until the sync says for what it waits, and returns its progress."""
        return wait_for(lambda: (progress := self.sync_item(repository, source)["progress"])
                        and progress["waitsFor"] and progress, f"the sync of {repository} to say that it waits")

    def wait_synced(self, repository, source="local"):
        """Waits for the end of the sync, and returns its item, whatever became of it."""
        def ended():
            item = self.sync_item(repository, source)
            return item if item and item["progress"] is None else None

        return wait_for(ended, f"the sync of {repository}", timeout=4 * PATIENCE)

    def sync(self, repository, source="local"):
        self.request_sync(repository, source)
        return self.wait_synced(repository, source)

    # ---- What it says ----

    def log(self):
        return self.log_path.read_text(errors="replace")

    def check_log(self):
        """Fails on what a sanitizer found."""
        report = SANITIZER_REPORT.search(self.log())
        assert not report, self.log()[max(report.start() - 200, 0):report.start() + 6000]

    def counts(self):
        """What the database holds, and the index beside it, which must be the same."""
        documents, embeddings, chunks = self.sql(
            'SELECT (SELECT count(*) FROM vault."VaultDocument"),'
            ' (SELECT count(*) FROM vault."VaultEmbedding"),'
            ' (SELECT count(*) FROM tekupdb."Chunk")'
        )[0]
        status = self.client.status()
        assert status["index"]["vectors"] == embeddings
        assert status["database"]["documents"] == documents
        assert status["database"]["embeddings"] == embeddings
        assert status["database"]["chunks"] == chunks
        return documents, embeddings, chunks

    def settled_counts(self):
        """The same after something has gone wrong, from which the index follows in its own time."""
        wait_for(lambda: self.client.status()["index"]["vectors"]
                 == self.sql('SELECT count(*) FROM vault."VaultEmbedding"')[0][0], "the index to have followed")
        return self.counts()

    def tekup(self, *arguments, **keywords):
        """Runs the command line against this daemon."""
        result = subprocess.run(
            [str(TEKUP), *map(str, arguments)], env=self.environment, cwd=self.base,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=4 * PATIENCE,
            **({} if "input" in keywords else {"stdin": subprocess.DEVNULL}), **keywords,
        )
        assert not SANITIZER_REPORT.search(result.stderr.decode(errors="replace")), result.stderr
        return result

    def clean_up(self):
        """Leaves nothing behind: no process, no directory. Passes on what was wrong with stopping."""
        for connection in self.connections:
            connection.close()
        try:
            if self.process:
                self.stop()
        finally:
            if self.process:
                self.kill()
            pid = self.postmaster_pid()
            if pid:
                os.kill(pid, signal.SIGQUIT)
                wait_for(lambda: not is_running(pid), "the server to stop")
            Daemon.alive.remove(self)
            if not os.environ.get("TEKUP_KEEP"):
                shutil.rmtree(self.base, ignore_errors=True)
