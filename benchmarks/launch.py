"""Runs a command and prints what it cost, as JSON. A process of its own, and a small one: Linux counts the memory of
whoever starts a process as that process's peak, and the benchmark itself holds a large drive.
"""

import json
import os
import subprocess
import sys
import time

if __name__ == "__main__":
    started = time.monotonic()
    process = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    print(json.dumps([wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024]))
    sys.exit(process.returncode)
