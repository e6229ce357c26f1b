# SPDX-License-Identifier: Apache-2.0
# needs an emulator
export OUTPUT_PATH="$PWD/transcripts" AIRFLOW__CORE__TEST_CONNECTION=Enabled

# [START check_before]
assemblyai-ledger check "$OUTPUT_PATH"
# [END check_before]

# [START check_after]
airflow providers get airflow-provider-assemblyai
airflow connections test assemblyai_default
# [END check_after]

airflow providers get airflow-provider-assemblyai --output json | grep --quiet '"airflow-provider-assemblyai"'
