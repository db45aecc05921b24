"""A box on Debian for aarch64, in a folder: its Python, its wheels, and qemu to run them.

Nothing is installed on this machine, and nobody has to be root: apt keeps its state in a folder of
its own and takes the other architecture's packages from the sources that this machine has;
dpkg-deb unpacks them. `qemu-aarch64-static -L FOLDER` then lets an aarch64 program find its loader
and libraries there.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
# apt adds what these need; the C++ library is for the wheels of tflite-runtime and scipy.
PACKAGES = ("python3.11", "libstdc++6")
EMULATOR = "qemu-user-static"
# Debian 12 has glibc 2.36, as has Raspberry Pi OS of that age; tflite-runtime asks for 2.34.
PLATFORM = "aarch64-manylinux_2_36"
# Of a Raspberry Pi 4. qemu's own default has vector extensions that no such computer has.
CPU = "cortex-a72"
_LOAD_LIBRARIES = """
import ctypes, os, pathlib, sys
libraries = sorted(pathlib.Path(sys.argv[1]).rglob("*.so*"))
troubles = []
for library in libraries:
    try:
        ctypes.CDLL(str(library), mode=os.RTLD_NOW)
    except OSError as error:
        troubles.append(str(error))
sys.exit("\\n".join(troubles)) if troubles else print(len(libraries))
"""


class UnavailableError(Exception):
    """What is needed cannot be had on this machine, or not now: one line says why."""


class InstallError(Exception):
    """The box does not install on aarch64: the installer's words."""


class Machine:
    """An emulated computer whose files are in a folder."""

    def __init__(self, folder: Path) -> None:
        """folder: made where it is not there yet, which takes a minute. Raises UnavailableError."""
        self._root = folder
        _check_this_machine()
        made_of = folder / "made-of"  # written last: the folder is whole
        wanted = " ".join((*PACKAGES, EMULATOR))
        if not made_of.exists() or made_of.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            _unpack(folder)
            made_of.write_text(wanted)

    def python(self, *arguments: str) -> list[str]:
        """The command that runs Python there."""
        emulator = str(self._root / "usr/bin/qemu-aarch64-static")
        python = str(self._root / "usr/bin/python3.11")
        return [emulator, "-cpu", CPU, "-L", str(self._root), python, *arguments]

    def load_libraries(self, site: Path) -> int:
        """How many compiled libraries there are in `site`, each of which finds all it needs.

        Raises InstallError for those that do not.
        """
        done = _run([*self.python("-c", _LOAD_LIBRARIES), str(site)])
        if done.returncode:
            raise InstallError((done.stdout + done.stderr).strip())
        return int(done.stdout)


def install_box(site: Path) -> None:
    """The box, packed from its sources, and all it needs, into a folder for PYTHONPATH.

    Raises InstallError, UnavailableError.
    """
    with TemporaryDirectory(prefix="diting-source-") as source:
        # Not in place: setuptools would put into the wheel what older builds have left behind.
        ignored = shutil.ignore_patterns(".*", "*.egg-info", "build", "__pycache__", "tests")
        shutil.copytree(ROOT, source, ignore=ignored, dirs_exist_ok=True)
        install(site, source)


def install(site: Path, requirement: str) -> None:
    """A package and all it needs from aarch64's wheels: only the box may be packed from sources.

    Bytecode is the same everywhere: made here, it spares the emulator half of a box's start.
    Raises InstallError, UnavailableError.
    """
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--compile-bytecode"]
    options = {
        "--python": sys.executable,
        "--python-platform": PLATFORM,
        "--python-version": "3.11",
        "--only-binary": ":all:",
        "--no-binary": "diting-smart-box",
        "--constraint": str(ROOT / "constraints.txt"),
        "--target": str(site),
    }
    done = _run([*uv, *chain(*options.items()), requirement])
    if "No module named uv" in done.stderr or "error sending request" in done.stderr:
        raise UnavailableError(f"uv: {_words(done)}")
    if done.returncode:
        raise InstallError(done.stderr.strip())


def _check_this_machine() -> None:
    if platform.machine() != "x86_64":
        raise UnavailableError(f"this is for x86-64, not {platform.machine()}")
    if sys.version_info[:2] != (3, 11):  # of tflite-runtime, which is to run on both
        raise UnavailableError(f"this is for Python 3.11, not {platform.python_version()}")
    for tool in ("apt-get", "dpkg-deb", "tar"):
        if shutil.which(tool) is None:
            raise UnavailableError(f"no {tool}: this is for Debian 12")
    if (release := platform.freedesktop_os_release()).get("VERSION_CODENAME") != "bookworm":
        raise UnavailableError(f"{release.get('PRETTY_NAME', 'this')} is not Debian 12")


def _unpack(folder: Path) -> None:
    """Fetch the packages and all that they depend on, and unpack them."""
    folder.mkdir(parents=True)
    with TemporaryDirectory(prefix="diting-apt-") as state:
        for name in ("lists/partial", "archives/partial"):
            (Path(state) / name).mkdir(parents=True)
        (Path(state) / "status").touch()  # as if nothing were installed
        apt = ["apt-get", "-qq", "-o", "APT::Architecture=arm64"]
        for option in (
            "APT::Architectures=arm64,amd64",
            "APT::Sandbox::User=root",  # the user of apt's own may not write here
            f"Dir::State={state}",
            f"Dir::State::status={state}/status",
            f"Dir::Cache={state}",
            "Acquire::Languages=none",
            "Acquire::Retries=3",
        ):
            apt += ["-o", option]
        _need([*apt, "update"])
        options = ["--yes", "--download-only", "--no-install-recommends"]
        _need([*apt, "install", *options, *PACKAGES, f"{EMULATOR}:amd64"])
        for package in sorted(Path(state, "archives").glob("*.deb")):
            if package.name.startswith(EMULATOR):
                _unpack_emulator(package, folder)
            else:
                _need(["dpkg-deb", "--extract", str(package), str(folder)])


def _unpack_emulator(package: Path, folder: Path) -> None:
    """One of the package's sixty."""
    content = package.with_suffix(".tar")
    with content.open("wb") as file:
        subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=file, check=True)
    wanted = "./usr/bin/qemu-aarch64-static"
    _need(["tar", "--extract", "--file", str(content), "--directory", str(folder), wanted])


def _need(command: Sequence[str]) -> None:
    done = _run(command)
    if done.returncode:
        raise UnavailableError(f"{command[0]}: {_words(done)}")


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def _words(done: subprocess.CompletedProcess[str]) -> str:
    """What a command said, in one line."""
    return " ".join(done.stderr.split()) or f"exit status {done.returncode}"
