"""Runs a command as a unit's system call filter lets it: `confined.py UNIT COMMAND…`.

What systemd would do with SystemCallFilter, RestrictAddressFamilies, MemoryDenyWriteExecute and
NoNewPrivileges, by libseccomp(3) and prctl(2), so that a test needs no systemd as process 1.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ALLOW, REFUSE, EQUAL = 0x7FFF0000, 0x00050000 | 1, 4  # SCMP_ACT_ALLOW, _ERRNO(EPERM), SCMP_CMP_EQ
PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 38, 65
FILTERED = ("socket", "socketpair")  # by their first argument


class Comparison(ctypes.Structure):
    """struct scmp_arg_cmp"""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("mask", ctypes.c_uint64),
    )


def settings(unit: Path, name: str) -> list[str]:
    lines = [line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line]
    return [line[1] for line in lines if line[0] == name]


def calls(group: str) -> Iterator[str]:
    """The system calls of a group, and of the groups in it."""
    if not group.startswith("@"):
        yield group
        return
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True
    )
    for line in listed.stdout.splitlines()[1:]:
        if (name := line.strip()) and not name.startswith("#"):
            yield from calls(name)


def allowed(unit: Path) -> set[str]:
    names: set[str] = set()
    for value in settings(unit, "SystemCallFilter"):
        chosen = {name for group in value.removeprefix("~").split() for name in calls(group)}
        names = names - chosen if value.startswith("~") else names | chosen
    return names | set(calls("@default"))


def confine(unit: Path) -> None:
    """For this process, for good."""
    names = allowed(unit)
    libc = ctypes.CDLL(None, use_errno=True)
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(REFUSE))
    for name in names - set(FILTERED):
        if (number := seccomp.seccomp_syscall_resolve_name(name.encode())) >= 0:
            seccomp.seccomp_rule_add_array(context, ALLOW, number, 0, None)
    for name in FILTERED:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        for family in " ".join(settings(unit, "RestrictAddressFamilies")).split():
            only = Comparison(0, EQUAL, getattr(socket, family), 0)
            seccomp.seccomp_rule_add_array(context, ALLOW, number, 1, ctypes.byref(only))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or seccomp.seccomp_load(context):
        sys.exit("confined.py: no system call filter on this kernel")
    if settings(unit, "MemoryDenyWriteExecute") == ["yes"]:
        libc.prctl(PR_SET_MDWE, 1, 0, 0, 0)  # kernels before 6.3 cannot


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
