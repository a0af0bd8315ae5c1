"""http.wake_latency: what the kernel is asked for while clients ask, and only then."""

import contextlib
import os
import pathlib
import struct
import subprocess

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


def test_is_held_from_a_request_to_a_rest(make_daemon, device):
    daemon = make_daemon(config="[http]\nwake_latency = 3\n").start()
    wait_for(lambda: not holds(daemon), "that it lets go after its start")
    daemon.client.get("/healthz")
    wait_for(lambda: daemon.client.get("/healthz").status == 200 and holds(daemon), "that it holds the device")
    # Others may have asked for less; nobody is given more than the least.
    wait_for(lambda: daemon.client.get("/healthz").status == 200
             and struct.unpack("i", DEVICE.read_bytes()[:4])[0] <= 3, "what is asked for to be in force")
    wait_for(lambda: not holds(daemon), "that it lets go")
    daemon.client.get("/healthz")
    wait_for(lambda: daemon.client.get("/healthz").status == 200 and holds(daemon), "that it holds it again")


def test_is_not_asked_for_without_the_setting(make_daemon):
    daemon = make_daemon().start()
    for _ in range(20):
        assert daemon.client.get("/healthz").status == 200
        assert not holds(daemon)


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
