"""install.sh in a root folder of its own: what is there before, between and after."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "systemd" / "install.sh"


def built(folder: Path) -> Path:
    """This project's wheel."""
    source = folder / "source"
    ignored = shutil.ignore_patterns(".*", "*.egg-info", "build", "__pycache__", "tests")
    shutil.copytree(ROOT, source, ignore=ignored)
    done = subprocess.run(
        [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", folder, source],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"cannot build: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    [wheel] = folder.glob("*.whl")
    return wheel


def with_version(wheel: Path, version: str, break_it: str = "") -> Path:
    """The same wheel under another version; break_it: a module that fails when imported."""
    other = wheel.with_name(wheel.name.replace("-0.1.0-", f"-{version}-"))
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith(".dist-info/METADATA"):
                content = content.replace(b"Version: 0.1.0", f"Version: {version}".encode())
            if name == break_it:
                content = b"raise SystemExit('this version is broken')"
            record = name.endswith(".dist-info/RECORD")
            lines = [line.split(b",")[0] + b",," for line in content.splitlines()] if record else []
            content = b"\n".join(lines).replace(b"-0.1.0.", f"-{version}.".encode()) or content
            new.writestr(name.replace("-0.1.0.", f"-{version}."), content)
    return other


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    wheel = built(tmp_path_factory.mktemp("wheels"))
    return {
        "0.1.0": wheel,
        "0.2.0": with_version(wheel, "0.2.0"),
        "0.3.0": with_version(wheel, "0.3.0"),
        "broken": with_version(wheel, "0.4.0", "box/cli.py"),
        "blind": with_version(wheel, "0.5.0", "box/check.py"),
    }


class Machine:
    """A root folder, and the script at work on it.

    What the wheel needs is borrowed from the environment of the tests, so that an installation
    takes seconds: nothing else differs from one on a box.
    """

    def __init__(self, root: Path, borrowed: Path) -> None:
        self.root = root
        self.opt = root / "opt" / "diting"
        self.opt.mkdir(parents=True)
        (self.opt / "pip").symlink_to(sys.prefix)
        self._environ = os.environ | {
            "PIP_NO_DEPS": "1",
            "PYTHONPATH": str(borrowed),
            "PYTHON": sys.executable,
        }

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """arguments: the command, if any, then the rest."""
        words = list(map(str, arguments))
        return subprocess.run(
            [SCRIPT, *words[:1], "--root", self.root, *words[1:]],
            capture_output=True,
            text=True,
            env=self._environ,
        )

    def good(self, *arguments: object) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def version(self) -> str:
        """What `current` says of itself."""
        program = self.opt / "current" / "bin" / "diting"
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=True, env=self._environ
        )
        return done.stdout.strip()

    def versions(self) -> list[str]:
        """Kept ones, by number."""
        return sorted(p.name.split("-")[0] for p in (self.opt / "versions").iterdir())

    @property
    def etc(self) -> Path:
        return self.root / "etc" / "diting"

    def configure(self, **changes: object) -> Path:
        data = self.root / "var" / "lib" / "diting"
        data.mkdir(parents=True, exist_ok=True)
        content = {
            "station": {"id": "XX.ABC", "latitude": 1.0, "longitude": 2.0},
            "source": {"type": "shake", "channels": ["EHZ"]},
            "broker": {"url": "mqtt://localhost"},
            "data_dir": str(data),
            "ring": {"size_mb": 1},
        } | changes
        path = self.etc / "box.yaml"
        path.write_text(yaml.safe_dump(content))
        return path


@pytest.fixture(scope="module")
def borrowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tests' environment has, but for this project."""
    folder = tmp_path_factory.mktemp("borrowed")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(("diting", "__editable__")):
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture
def machine(tmp_path: Path, borrowed: Path) -> Machine:
    return Machine(tmp_path / "root", borrowed)


def tree(folder: Path) -> Iterator[tuple[str, int]]:
    for path in sorted(folder.rglob("*")):
        if "__pycache__" not in path.parts:
            yield str(path.relative_to(folder)), path.lstat().st_mtime_ns if path.is_file() else 0


def test_what_is_installed_twice_is_installed_once_and_what_was_cut_off_made_anew(
    machine: Machine, wheels: dict[str, Path]
) -> None:
    said = machine.good("install", wheels["0.1.0"])
    assert "box.example.yaml" in said  # what is to be done next
    assert machine.version() == "0.1.0"
    unit = machine.root / "etc/systemd/system/diting-box.service"
    assert unit.read_text() == (ROOT / "systemd/diting-box.service").read_text()
    assert not unit.with_name("diting-cloud.service").exists()
    before = dict(tree(machine.opt / "versions"))
    assert "is there already" in machine.good("install", wheels["0.1.0"])
    assert dict(tree(machine.opt / "versions")) == before
    assert not (machine.opt / "previous").exists()
    current = (machine.opt / "current").resolve()
    (current / ".complete").unlink()  # as after a power cut
    shutil.rmtree(current / "lib")
    machine.good("install", wheels["0.1.0"])
    assert machine.version() == "0.1.0"


def test_an_upgrade_leaves_configuration_and_data_alone_and_can_be_taken_back(
    machine: Machine, wheels: dict[str, Path]
) -> None:
    machine.good("install", wheels["0.1.0"])
    config = machine.configure()
    text = config.read_text()
    ring = machine.root / "var/lib/diting/XX.ABC.ring"
    ring.write_bytes(b"samples")
    for version in ("0.2.0", "0.3.0"):
        machine.good("upgrade", wheels[version])
        assert machine.version() == version
    assert machine.versions() == ["0.2.0", "0.3.0"]  # the oldest has gone
    machine.good("upgrade", "--rollback")
    assert machine.version() == "0.2.0"
    machine.good("upgrade", "--rollback")  # and forward again
    assert machine.version() == "0.3.0"
    assert (config.read_text(), ring.read_bytes()) == (text, b"samples")


def test_a_version_that_does_not_run_or_cannot_read_the_configuration_never_takes_over(
    machine: Machine, wheels: dict[str, Path]
) -> None:
    machine.good("install", wheels["0.1.0"])
    machine.configure()
    for kind, why in (("broken", "does not run"), ("blind", "cannot use")):
        done = machine.run("upgrade", wheels[kind])
        assert done.returncode == 1
        assert why in done.stderr.splitlines()[-1]
        assert machine.version() == "0.1.0"
    machine.good("upgrade", wheels["0.2.0"])  # nor is it in the way
    assert machine.versions() == ["0.1.0", "0.2.0"]


def test_uninstalling_keeps_what_was_recorded_unless_told_otherwise(
    machine: Machine, wheels: dict[str, Path]
) -> None:
    machine.good("install", "--both", wheels["0.1.0"])
    assert (machine.root / "etc/systemd/system/diting-cloud.service").exists()
    config = machine.configure()
    for _ in range(2):  # the second time there is nothing left to do
        machine.good("uninstall")
        assert not machine.opt.exists()
        assert config.exists()
        assert (machine.root / "var/lib/diting").is_dir()
    left = [path for path in (machine.root / "etc").rglob("*diting*") if path.is_file()]
    assert left == []
    machine.good("uninstall", "--purge")
    assert not config.exists()
    assert not (machine.root / "var/lib/diting").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["upgrade", "--rollback"], "no version before"),
        (["upgrade"], "nothing is installed"),
        (["install", "/nowhere.whl"], "/nowhere.whl: no such file"),
        (["install", "/tmp"], "no pyproject.toml"),
        (["install", "--purge"], "goes with uninstall"),
        (["install", "--nonsense"], "no option --nonsense"),
    ],
)
def test_a_mistake_is_told_in_a_line_and_changes_nothing(
    machine: Machine, arguments: list[str], said: str
) -> None:
    done = machine.run(*arguments)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert said in line
    assert not (machine.opt / "current").exists()


def test_the_source_itself_installs_from_wheels_alone_and_the_box_runs(
    machine: Machine, tmp_path: Path
) -> None:
    """As on a box: nothing is borrowed, pip fetches what the wheel needs."""
    root = tmp_path / "box"
    done = subprocess.run(
        [SCRIPT, "install", "--root", root, ROOT],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHON": sys.executable},
    )
    if "Temporary failure in name resolution" in done.stderr or "NewConnection" in done.stderr:
        pytest.skip("no network")
    assert done.returncode == 0, done.stderr
    machine.root = root
    config = machine.configure()
    program = root / "opt/diting/current/bin/diting"
    checked = subprocess.run([program, "check", config], capture_output=True, text=True, cwd="/")
    assert checked.returncode == 0, checked.stderr
    packages = {path.name for path in (root / "opt/diting/current/lib").glob("*/site-packages/*")}
    assert "numpy" in packages
    assert not packages & {"tensorflow", "obspy", "matplotlib"}
    setup = root / "opt/diting/current/setup"
    assert {path.name for path in setup.iterdir()} >= {"install.sh", "constraints.txt"}


def test_the_script_has_no_fault_that_shellcheck_finds() -> None:
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("no shellcheck: install Debian's package of that name")
    done = subprocess.run([program, "--shell=sh", SCRIPT], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
