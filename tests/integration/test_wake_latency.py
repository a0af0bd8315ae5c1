"""http.wake_latency: what the kernel is asked for while clients ask one thing after the other, and only then."""

import contextlib
import os
import pathlib
import socket
import struct
import subprocess
import threading
import time

import pytest

from daemon import wait_for

DEVICE = pathlib.Path("/dev/cpu_dma_latency")


def holds(daemon):
    """Whether the daemon has the device open."""
    links = []
    for entry in os.scandir(f"/proc/{daemon.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(entry.path))
    return str(DEVICE) in links


@pytest.fixture
def device():
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        pytest.skip(f"{DEVICE} is not there, or not for this user")


@contextlib.contextmanager
def asking(daemon):
    """A client that does nothing else, a hundred requests at a time: they follow each other without a gap."""
    over, failed = threading.Event(), []

    def ask():
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(daemon.socket))
            answers = connection.makefile("rb")
            while not over.is_set():
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
                for _ in range(100):
                    head = [answers.readline() for _ in range(4)]
                    if not head[0].startswith(b"HTTP/1.1 200"):
                        failed.append(head)
                        return
                    length = next(int(line.split(b":")[1]) for line in head if line.startswith(b"Content-Length"))
                    answers.read(length + 2)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not failed, failed


def test_is_held_while_requests_follow_each_other(make_daemon, device):
    daemon = make_daemon(config="[http]\nwake_latency = 3\n").start()
    for _ in range(2):
        wait_for(lambda: not holds(daemon), "that it lets go")
        with asking(daemon):
            wait_for(lambda: holds(daemon), "that it holds the device")
            # Others may have asked for less; nobody is given more than the least.
            wait_for(lambda: struct.unpack("i", DEVICE.read_bytes()[:4])[0] <= 3, "what is asked for to be in force")
    wait_for(lambda: not holds(daemon), "that it lets go")


def test_is_held_without_a_setting(make_daemon, device):
    daemon = make_daemon().start()
    with asking(daemon):
        wait_for(lambda: struct.unpack("i", DEVICE.read_bytes()[:4])[0] == 0 and holds(daemon), "that it holds the device")


def test_is_not_held_for_a_request_now_and_then(make_daemon, device):
    daemon = make_daemon().start()
    wait_for(lambda: not holds(daemon), "that it lets go after its start")
    for _ in range(100):
        assert daemon.client.get("/healthz").status == 200
        assert not holds(daemon)
        time.sleep(0.005)


def test_is_not_asked_for_where_the_kernel_is_to_have_its_way(make_daemon, device):
    daemon = make_daemon(config="[http]\nwake_latency = -1\n").start()
    with asking(daemon):
        for _ in range(100):
            assert not holds(daemon)
            time.sleep(0.002)


def test_a_daemon_that_may_not_says_so_and_serves(make_daemon, device, tmp_path):
    """As one does whose unit gives it no devices."""
    nothing = tmp_path / "nothing"
    nothing.touch()
    hidden = ["unshare", "--mount", "sh", "-c",
              f'mount --bind {nothing} {DEVICE} && mount -o remount,ro,bind {DEVICE} && exec "$@"', "sh"]
    if subprocess.run([*hidden, "true"], stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("the device cannot be hidden here")
    daemon = make_daemon(config="[http]\nwake_latency = 0\n")
    itself = daemon.arguments()
    daemon.arguments = lambda: [*hidden, *itself]
    daemon.start()
    assert daemon.client.get("/healthz").status == 200
    assert 'event=http.wake_latency device=/dev/cpu_dma_latency error="Read-only file system"' in daemon.log()
