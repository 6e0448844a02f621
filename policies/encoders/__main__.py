"""`python -m policies.encoders prepare NAME`: fills the cache, for `make install` and a first start."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from policies.encoders.base import EncoderError
from policies.encoders.load import BUILT_IN, build_encoder


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the encoder is ready, 1 with a message on stderr otherwise."""
    parser = argparse.ArgumentParser(prog="python -m policies.encoders")
    prepare = parser.add_subparsers(required=True).add_parser("prepare", help="build an encoder into the cache")
    prepare.add_argument("name", choices=list(BUILT_IN))
    prepare.add_argument("--source", help="a folder or a hub id; the encoder's own default if left out")
    prepare.add_argument("--cache-dir", type=Path, help="default: GEARSHIFT_CACHE, else ~/.cache/gearshift")
    options = parser.parse_args(arguments)
    try:
        build_encoder(options.name, source=options.source, cache_dir=options.cache_dir)
    except EncoderError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
