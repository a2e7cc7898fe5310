"""The command line: one thin function per verb. Heavy imports happen inside the verbs, so ``--help`` stays instant."""

from __future__ import annotations

import argparse


def main(argv: list[str] | None = None) -> int:
    """Parse ``argv`` and run one verb; returns the exit code."""
    parser = argparse.ArgumentParser(prog="joulemill", description="From joules to tokens.")
    parser.parse_args(argv)
    return 0
