"""bench/soak, for some seconds: searches, writes, syncs and snapshots at once, after which no descriptor is
lost and index and database are the same. What grows slowly shows in the ten minutes that it runs by hand."""

import os
import subprocess
import sys

from daemon import BUILD, ROOT, sanitizer

SECONDS = 12 if sanitizer() else 6


def test_soak():
    done = subprocess.run([sys.executable, "-B", str(ROOT / "bench" / "soak"), "--seconds", str(SECONDS), "--documents", "100",
                           "--clients", "8"], env={**os.environ, "TEKUP_BUILD": str(BUILD)}, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=600)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
