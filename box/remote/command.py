"""`diting config`: configuring boxes from afar, and seeing at a box what has come of it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from box.broker_arguments import add_broker_arguments
from box.cli import OK, UsageError
from box.clock import SystemClock
from box.config import BoxConfig
from box.remote.state import RESET, Remote, read_memory
from uplink.configuration import load_config, read_yaml
from uplink.remote import new_keys, redacted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    show = commands.add_parser(
        "show", help="at the box: what came from afar, and what of it counts"
    )
    show.add_argument("config", type=Path, metavar="CONFIG.yaml", help="the box's own file")
    show.add_argument("--json", action="store_true", help="one JSON document and nothing else")
    reset = commands.add_parser("reset", help="at the box: let its own file alone count again")
    reset.add_argument("config", type=Path, metavar="CONFIG.yaml", help="the box's own file")
    keygen = commands.add_parser("keygen", help="make a key that signs documents")
    keygen.add_argument("file", type=Path, metavar="KEYFILE", help="to write the private key to")
    push = commands.add_parser("push", help="from afar: configure boxes, and wait for their answer")
    push.add_argument(
        "station", nargs="+", metavar="NET.STA", help="of several in one daemon, the first"
    )
    push.add_argument(
        "file", type=Path, metavar="CHANGES.yaml", help="what is to differ from their own files"
    )
    add_broker_arguments(push)
    push.add_argument("--key", type=Path, metavar="KEYFILE", help="sign with this (see keygen)")
    push.add_argument(
        "--model",
        type=Path,
        action="append",
        default=[],
        metavar="FILE.tflite",
        help="use this model, its card beside it; may be repeated",
    )
    push.add_argument("--own-models", action="store_true", help="take back what came with --model")
    push.add_argument("--trial", type=float, default=120.0, metavar="S", help="deadline; 120 s")
    push.add_argument(
        "--wait", type=float, metavar="S", help="for the answer; 180 s more than that"
    )


def run(args: argparse.Namespace) -> int:
    if args.what == "push":
        from box.remote.push import push

        return push(args)
    return {"show": _show, "reset": _reset, "keygen": _keygen}[args.what](args)


def _show(args: argparse.Namespace) -> int:
    config = load_config(args.config, BoxConfig)
    read_memory(Path(config.data_dir))  # raises where it cannot be read, and leaves it as it is
    remote = Remote(Path(config.data_dir), read_yaml(args.config), SystemClock().now_ns, None)
    shown = _shown(remote)
    if args.json:
        print(json.dumps(shown, indent=2))
    else:
        print("\n".join(_lines(shown, config)))
    return OK


def _shown(remote: Remote) -> dict[str, Any]:
    memory, effective = remote.memory, remote.effective()
    shown: dict[str, Any] = redacted(
        msgspec.to_builtins(
            {
                "desired": memory.desired,
                "pending": memory.pending,
                "trial": memory.trial,
                "reported": remote.report(effective),
                "refusal": memory.refusal,
            }
        )
    )
    return shown


def _lines(shown: dict[str, Any], config: BoxConfig) -> list[str]:
    reported, refusal = shown["reported"], shown["refusal"]
    if config.remote is None:
        return ["remote configuration is off (no `remote` in the file)"]
    signed = "signed documents only" if config.remote.key else "documents need no signature"
    lines = [f"in force: {_name(reported['version'])}; {signed}"]
    for title in ("desired", "pending", "trial"):
        if (document := shown[title]) is not None:
            lines += [f"{title}: version {document['version']}", *_content(document)]
    lines.append(f"reported: {reported['state']}, the newest version is {reported['newest']}")
    if refusal is not None:
        when = datetime.fromtimestamp(refusal["time_ns"] // 10**9, UTC).isoformat()[:19]
        name = "a document" if refusal["version"] is None else f"version {refusal['version']}"
        lines.append(f"last refusal: {name}, {refusal['state']} on {when}Z:")
        lines += [f"  {problem}" for problem in refusal["problems"]]
    return lines


def _name(version: int) -> str:
    return f"version {version}" if version else "the box's own file alone"


def _content(document: dict[str, Any]) -> list[str]:
    changes = [f"  {name}: {json.dumps(value)}" for name, value in document["changes"].items()]
    models = document["models"].items()
    return changes + [f"  model {name}: {model['sha256'][:12]}…" for name, model in models]


def _reset(args: argparse.Namespace) -> int:
    config = load_config(args.config, BoxConfig)
    (Path(config.data_dir) / RESET).touch()
    print(f"{args.config} counts again: within a second, or at the box's next start")
    return OK


def _keygen(args: argparse.Namespace) -> int:
    private, public = new_keys()
    try:
        file = os.open(args.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{args.file}: is there already; no key is written over") from None
    with os.fdopen(file, "w") as opened:
        opened.write(private + "\n")
    print(f"remote:\n  key: {public}")
    print("the boxes' files need these two lines; keep the other key", file=sys.stderr)
    return OK
