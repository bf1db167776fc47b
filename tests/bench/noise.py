#!/usr/bin/env python3
"""What else the machine did while the bench ran: a line a second into a file, until SIGTERM.

    noise.py FILE PID

PID is the bench's: what is in its session, and the servers it started, is not noise. A line is the time, the part
of all processors that a hypervisor took away (steal), the part that other processes used, and the load average.
"""
import os
import signal
import sys
import time

SERVERS = "/bench/"  # in the working folder of a server that scripts/servers started for the bench


def processor_ticks():
    """(all, stolen), summed over the processors."""
    with open("/proc/stat", encoding="ascii") as stat:
        fields = [int(field) for field in stat.readline().split()[1:9]]
    return sum(fields), fields[7]


class Processes:
    """Which processes are the bench's is looked up once for each."""

    def __init__(self, session):
        self.session = session
        self.foreign = {}
        self.ticks = {}

    def is_foreign(self, pid, fields):
        if int(fields[3]) == self.session or int(fields[1]) == 2 or pid == "2":
            return False  # ours, or the kernel's own
        try:
            folder = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            return True
        return not ("/ledger-" in folder and SERVERS in folder + "/")

    def used(self):
        """Ticks that foreign processes used since the last call."""
        seen, used = {}, 0
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
                    fields = stat.read().rpartition(")")[2].split()
            except OSError:
                continue
            key = (pid, fields[19])  # its start: numbers are used again
            if key not in self.foreign:
                self.foreign[key] = self.is_foreign(pid, fields)
            if not self.foreign[key]:
                continue
            ticks = int(fields[11]) + int(fields[12])
            seen[key] = ticks
            used += max(0, ticks - self.ticks.get(key, ticks))
        self.ticks = seen
        return used


def main():
    path, pid = sys.argv[1], int(sys.argv[2])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    processes = Processes(os.getsid(pid))
    total, stolen = processor_ticks()
    processes.used()
    with open(path, "w", encoding="ascii", buffering=1) as file:
        while True:
            time.sleep(1)
            new_total, new_stolen = processor_ticks()
            spent = max(1, new_total - total)
            with open("/proc/loadavg", encoding="ascii") as average:
                load = average.read().split()[0]
            file.write(f"{time.time():.0f} {(new_stolen - stolen) / spent:.4f} {processes.used() / spent:.4f} {load}\n")
            total, stolen = new_total, new_stolen


if __name__ == "__main__":
    main()
