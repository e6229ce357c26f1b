# SPDX-License-Identifier: Apache-2.0
# needs an emulator
recipes="$(cd "$(dirname "$0")/../../../docs/recipes" && pwd)"

# [START test_connection]
export AIRFLOW__CORE__TEST_CONNECTION=Enabled
airflow connections test assemblyai_default
# [END test_connection]

AIRFLOW_CONFIG="$recipes/airflow_ui.cfg" python - <<'END'
from airflow_provider_assemblyai.plugins.policy import media_hosts
from airflow_provider_assemblyai.plugins.transcript_roots import roots

assert media_hosts() == ["media.example.com"]
shown = [(root.scheme, *root.fixed, *root.open) for root in roots("my_dag")]
assert shown == [("s3", "recordings", "transcripts", "my_dag"), ("file", "data", "transcripts")], shown
print("both options are read")
END

python - "$recipes" <<'END'
import gc
import runpy
import sys

runpy.run_path(f"{sys.argv[1]}/airflow_local_settings.py")
assert gc.get_threshold()[0] == 50_000
END
