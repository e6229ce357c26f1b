# SPDX-License-Identifier: Apache-2.0
"""
``assemblyai-ledger``: what is recorded below an output path, for the person on call.

Without ``--yes`` nothing is changed, and nothing is ever deleted: a file that cannot be read is set aside under another
name, after its jobs were looked up at the service.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import AssemblyAIError, InvalidInput
from airflow_provider_assemblyai.api.validation import check_seconds
from airflow_provider_assemblyai.commands.stored_files import StoredFile, leases, stored_files
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.jobs.state import hash_of
from airflow_provider_assemblyai.jobs.submission import MAX_PAGES
from airflow_provider_assemblyai.storage.atomic_files import open_path
from airflow_provider_assemblyai.storage.lease import DEFAULT_TTL, Lease, LeaseHolder
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder

#: Seconds between two looks at a heartbeat.
_LOOK: Final = 3.0


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command, and return its exit status: 0, or 1 if there is something that cannot be read or was not done.

    :param arguments: of the command line. Default: those of this process.
    """
    options = make_parser().parse_args(arguments)
    try:
        root = ObjectFolder(open_path(options.path, "PATH") / ".assemblyai")
        status: int = options.run(root, options)
    except AssemblyAIError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return status


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="assemblyai-ledger", description=__doc__.strip().splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="show|check|repair|unlock")
    for run, summary in (
        (_show, "what is recorded, without text and secrets"),
        (_check, "what cannot be read, and what that means"),
        (_repair, "look up the jobs of what cannot be read, and set it aside"),
        (_unlock, "end the lease of a task that is gone"),
    ):
        command = commands.add_parser(run.__name__.strip("_"), help=summary, description=summary)
        command.add_argument("path", metavar="PATH", help="the output path of the tasks, in any store")
        command.set_defaults(run=run)
        if run in (_repair, _unlock):
            command.add_argument(
                "--yes", action="store_true", help="do it; without, only say what would be done"
            )
        if run is _repair:
            command.add_argument(
                "--conn-id", default=AssemblyAIHook.default_conn_name, help="the tasks' connection"
            )
            command.add_argument("--region", help="where the jobs live, if not in the connection's region")
            command.add_argument(
                "--pay-again",
                action="store_true",
                help="also set aside what stands for a job that exists, or may exist: the next run submits it anew",
            )
        if run is _unlock:
            command.add_argument(
                "--silence",
                type=_seconds,
                default=DEFAULT_TTL,
                help="seconds to watch each heartbeat (%(default)g)",
            )
    return parser


def _seconds(text: str) -> float:
    try:
        return check_seconds("--silence", float(text))
    except (ValueError, InvalidInput):
        raise argparse.ArgumentTypeError(f"{text!r} is no time, in which a heartbeat could change") from None


# --- looking ---------------------------------------------------------------------------------------------


def _show(root: ObjectFolder, options: argparse.Namespace) -> int:
    found = list(stored_files(root))
    for file in found:
        print(f"{file.path}: {'CANNOT BE READ' if file.problem else file.summary}")
    for lease in leases(root):
        print(f"{lease.folder.path}: {_described(lease.holder())}")
    if not found:
        print(f"Nothing is recorded in {root.path}.")
    return 0


def _check(root: ObjectFolder, options: argparse.Namespace) -> int:
    broken = [file for file in stored_files(root) if file.problem]
    for file in broken:
        means = (
            "A kill cut it off. Nothing was done on the strength of it, and the next attempt passes it over."
            if file.harmless
            else "Tasks that need it end with an error, and submit nothing, until it is repaired."
        )
        print(f"{file.path}: {file.problem}\n  {means}")
    stopping = sum(not file.harmless for file in broken)
    print(f"{stopping} files stop tasks; {len(broken) - stopping} were cut off and stop no task.")
    return 1 if stopping else 0


def _described(holder: LeaseHolder | None) -> str:
    if holder is None:
        return "free"
    if holder.ttl <= 0:
        return f"given back by {holder}"
    return f"held by {holder}, until {holder.ttl:.0f} s without a heartbeat"


# --- acting ----------------------------------------------------------------------------------------------


def _repair(root: ObjectFolder, options: argparse.Namespace) -> int:
    broken = [file for file in stored_files(root) if file.problem and not file.harmless]
    if not broken:
        print("Everything that counts can be read: there is nothing to repair.")
        return 0
    rows, whole = _listed(AssemblyAIHook(options.conn_id, options.region))
    left = 0
    for file in broken:
        jobs, certain = _jobs_of(file, rows)
        for row in jobs:
            print(
                f"{file.path}: transcript {row['id']} of {row.get('created')}, {row['status']}, is a job of it."
            )
        if not certain or not whole:
            reason = (
                "it names no job"
                if not certain
                else f"only the newest {len(rows)} transcripts were looked at"
            )
            print(f"{file.path}: whether there are other jobs of it cannot be told: {reason}.")
        elif not jobs:
            print(f"{file.path}: no job of it is in the account's list.")
        safe = certain and whole and not jobs
        if not safe and not options.pay_again:
            left += 1
            print(
                "  It is left as it is. Restore it from a backup; or fetch the results of those transcripts with a "
                "TranscriptExportOperator, and set it aside with --pay-again: then the next run submits its job anew."
            )
        elif options.yes:
            print(f"  It is set aside as {file.set_aside()}.")
        else:
            left += 1
            print("  It would be set aside: --yes does it.")
    return 1 if left else 0


def _listed(hook: AssemblyAIHook) -> tuple[list[Any], bool]:
    """Return the transcripts of the account, and whether these are all."""
    rows: list[Any] = []
    for number, page in enumerate(hook.pages(transcripts.list_page(limit=200)), start=1):
        rows += page["transcripts"]
        if number >= MAX_PAGES:
            return rows, False
    return rows, True


def _jobs_of(file: StoredFile, rows: Sequence[Any]) -> tuple[list[Any], bool]:
    """Return the transcripts that a file stands for, and whether it says which these are."""
    ids, hashes = file.hints()
    jobs = [row for row in rows if row["id"] in ids or hash_of(row.get("audio_url") or "") in hashes]
    return jobs, bool(ids or hashes)


def _unlock(root: ObjectFolder, options: argparse.Namespace) -> int:
    left = 0
    for lease in leases(root):
        holder = lease.holder()
        print(f"{lease.folder.path}: {_described(holder)}.")
        if holder is None or holder.ttl <= 0:
            continue
        silent = _silence(lease, holder, options.silence)
        if silent < options.silence:
            left += 1
            print(f"  Its heartbeat changed after {silent:.0f} s: that task lives. Nothing is done.")
            continue
        print(f"  Its heartbeat did not change for {silent:.0f} s.")
        if holder.ttl > DEFAULT_TTL:
            print("  It may be deferred, and then writes none: see in Airflow whether that task still waits.")
        if options.yes:
            lease.claim()
            with lease.heartbeat():
                pass
            print(
                "  Its lease is ended. If that task lives after all, it stops at its next step, and its retry goes on."
            )
        else:
            left += 1
            print("  Its lease would be ended: --yes does it.")
    return 1 if left else 0


def _silence(lease: Lease, holder: LeaseHolder, seconds: float) -> float:
    """Return for how long a heartbeat did not change, at most these seconds."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        time.sleep(min(_LOOK, seconds - passed))
        now = lease.holder()
        if now is None or now.heartbeat != holder.heartbeat:
            return time.monotonic() - began
    return seconds


if __name__ == "__main__":
    sys.exit(main())
