"""Beside systemd: sockets that it opened are served, and it is told how the daemon stands."""

import os
import signal
import socket
import stat
import threading

import psycopg2
import pytest

from daemon import TEKUPD, wait_for

# What systemd does between fork and exec: the sockets at 3 and after, and whose they are. Each is
# first put out of the way, since it may have any of those numbers.
LAUNCH = """
import os, sys
fds = [int(fd) for fd in sys.argv[1].split(",")] if sys.argv[1] else []
high = [os.dup2(fd, 200 + i) for i, fd in enumerate(fds)]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i)
os.closerange(3 + len(fds), 300)
os.environ["LISTEN_PID"] = os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


class Manager:
    """The part of systemd that one service sees: sockets, and somebody to be told."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.sockets = []
        self.names = []
        self.said = []
        daemon.run.mkdir(mode=0o755)
        place = str(daemon.base / "notify")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(place)
        self.notify.settimeout(0.05)
        daemon.environment["NOTIFY_SOCKET"] = place
        daemon.arguments = self.arguments

    def listen(self, name, path, mode):
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(path))
        os.chmod(path, mode)
        listening.listen(64)
        self.sockets.append(listening)
        self.names.append(name)
        self.daemon.pass_fds = [one.fileno() for one in self.sockets]
        self.daemon.environment["LISTEN_FDS"] = str(len(self.sockets))
        self.daemon.environment["LISTEN_FDNAMES"] = ":".join(self.names)

    def listen_both(self):
        self.listen("postgresql", self.daemon.run / ".s.PGSQL.5432", 0o666)
        self.listen("http", self.daemon.run / "tekupd.sock", 0o600)

    def arguments(self):
        fds = ",".join(map(str, self.daemon.pass_fds))
        return ["/usr/bin/python3", "-c", LAUNCH, fds, str(TEKUPD), "--config", str(self.daemon.config)]

    def hears(self, line, after=0):
        """Waits until the line is said, behind the first so many messages; how many there were then."""
        def said():
            try:
                self.said.append(self.notify.recv(4096).decode())
            except TimeoutError:
                pass
            for i, message in enumerate(self.said[after:]):
                if line in message.split("\n"):
                    return after + i + 1
            return None

        return wait_for(said, f"{line} to be said")

    def close(self):
        for one in [self.notify, *self.sockets]:
            one.close()


@pytest.fixture
def manager(make_daemon):
    made = []

    def make(**keywords):
        made.append(Manager(make_daemon(**keywords)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def ask_sql(run, user="tekup_billy"):
    connection = psycopg2.connect(host=str(run), user=user, dbname="tekup_db")
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        answer = cursor.fetchone()[0]
    connection.close()
    return answer


def test_both_sockets_are_served_and_stay(manager):
    beside = manager()
    beside.listen_both()
    daemon = beside.daemon
    daemon.start()
    inode = os.stat(daemon.socket).st_ino
    assert "from=systemd" in daemon.log()
    assert ask_sql(daemon.run) == "tekup_billy"
    assert daemon.client.get("/healthz").status == 200
    daemon.stop()
    # They belong to systemd: neither removed nor made anew nor given another mode.
    status = os.stat(daemon.socket)
    assert status.st_ino == inode and stat.S_IMODE(status.st_mode) == 0o600
    assert (daemon.run / ".s.PGSQL.5432").exists()


def test_who_comes_while_it_is_down_is_answered_by_the_next_one(manager):
    beside = manager()
    beside.listen_both()
    daemon = beside.daemon
    answers = []

    def ask():
        answers.append(daemon.client.get("/healthz").status)

    for _ in range(2):  # before the first start, and between two
        early = threading.Thread(target=ask)
        early.start()
        daemon.start()
        early.join()
        daemon.stop()
    assert answers == [200, 200]


def test_one_given_socket_leaves_the_other_to_the_daemon(manager):
    beside = manager()
    beside.listen("http", beside.daemon.run / "tekupd.sock", 0o660)
    daemon = beside.daemon.start()
    assert ask_sql(daemon.run) == "tekup_billy"
    daemon.stop()
    assert not (daemon.run / ".s.PGSQL.5432").exists()
    assert (daemon.run / "tekupd.sock").exists()


def test_a_socket_for_nobody_is_told_of(manager):
    beside = manager(config="[passthrough]\nlisten = off\n")
    beside.listen_both()
    beside.daemon.start()
    assert "passthrough.off" in beside.daemon.log()


@pytest.mark.parametrize("name, path, said", [
    ("tekupd.socket", "tekupd.sock", "FileDescriptorName"),
    ("unknown", "tekupd.sock", "'unknown'"),
])
def test_sockets_of_other_names_are_refused(manager, name, path, said):
    beside = manager()
    beside.listen(name, beside.daemon.run / path, 0o660)
    beside.daemon.spawn()
    assert beside.daemon.wait_exit() == 1
    assert said in beside.daemon.log()


def test_what_is_told(manager):
    beside = manager()
    daemon = beside.daemon
    daemon.environment["WATCHDOG_USEC"] = "400000"
    daemon.spawn()
    heard = beside.hears("READY=1")
    assert "STATUS=Loading the index" in "\n".join(beside.said[:heard])
    beside.hears("STATUS=Answering searches")
    for _ in range(3):
        heard = beside.hears("WATCHDOG=1", after=heard)
    daemon.process.send_signal(signal.SIGHUP)
    heard = beside.hears("RELOADING=1", after=heard)
    heard = beside.hears("READY=1", after=heard)
    # Nothing of it reaches a program that the daemon starts, as its PostgreSQL.
    environment = open(f"/proc/{daemon.postmaster_pid()}/environ").read()
    assert "NOTIFY_SOCKET" not in environment and "LISTEN_" not in environment
    daemon.stop()
    beside.hears("STOPPING=1", after=heard)


def test_one_that_hangs_is_not_called_alive(manager):
    """A loop that does not come round: the whole process is halted for longer than the watchdog waits,
    and says nothing meanwhile."""
    beside = manager()
    daemon = beside.daemon
    daemon.environment["WATCHDOG_USEC"] = "400000"
    daemon.start()
    heard = beside.hears("WATCHDOG=1")
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        while True:  # what was said before
            beside.notify.settimeout(1)
            beside.said.append(beside.notify.recv(4096).decode())
    except TimeoutError:
        heard = len(beside.said)
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    beside.notify.settimeout(0.05)
    beside.hears("WATCHDOG=1", after=heard)
