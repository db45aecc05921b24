"""`diting box`: the daemon beside a seismometer."""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import logging
from pathlib import Path

from box.clock import SystemClock
from box.config import BoxConfig
from box.remote.state import Remote
from box.service import run_box
from box.sources.opening import source_problems
from uplink.configuration import ConfigError, load_config, read_yaml


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml")
    parser.add_argument("-v", "--verbose", action="store_true", help="log connections and counters")


def run(args: argparse.Namespace) -> int:
    logging.basicConfig(
        level=logging.INFO if args.verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
    )
    faulthandler.enable()  # where it hung, when the watchdog's SIGABRT ends it
    content = read_yaml(args.config)
    config = load_config(args.config, BoxConfig)
    if problems := source_problems(config):
        raise ConfigError([f"{args.config}: {line}" for line in problems])
    clock = SystemClock()
    remote = None
    if config.remote is not None:
        remote = Remote(Path(config.data_dir), content, clock.now_ns, config.remote.key)
        remote.take_up()
    return asyncio.run(run_box(config, clock, remote))
