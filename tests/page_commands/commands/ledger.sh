# SPDX-License-Identifier: Apache-2.0
# needs an emulator

# What a task has recorded.
export OUTPUT_PATH="$PWD/transcripts"
PYTHONPATH="$(cd "$(dirname "$0")/../../.." && pwd)" python - <<'END'
import os

from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from tests.integration.conftest import TaskInstance

operator = TranscribeOperator(
    task_id="transcribe",
    audio="https://example.com/monday.mp3",
    output_path=os.environ["OUTPUT_PATH"],
    poll_interval=0.05,
)
operator.execute({"ti": TaskInstance()})
END

# [START ledger]
assemblyai-ledger show "$OUTPUT_PATH"    # what is recorded: phases, ids, regions; no text, no secrets
assemblyai-ledger check "$OUTPUT_PATH"   # what cannot be read, and what that means; exit status 1 if it stops tasks
assemblyai-ledger repair "$OUTPUT_PATH"  # looks up the jobs of what cannot be read; with --yes it sets the files aside
assemblyai-ledger unlock "$OUTPUT_PATH"  # shows who holds the lease; with --yes it ends the lease of a task that is gone
# [END ledger]

assemblyai-ledger show "$OUTPUT_PATH" | grep --quiet "stored"
record=$(find "$OUTPUT_PATH/.assemblyai" -name '*.json' | head -1)
echo "no record" >"$record"
if assemblyai-ledger check "$OUTPUT_PATH" >found.txt; then
    echo "a damaged record was not found" >&2
    exit 1
fi
grep --quiet "$record" found.txt
