# SPDX-License-Identifier: Apache-2.0
# The emulator on the command line.
pip() { test "$*" = "install airflow-provider-assemblyai[emulator]"; }
trap 'kill %1' EXIT
{
# [START start]
pip install 'airflow-provider-assemblyai[emulator]'
assemblyai-emulator
# [END start]
} > printed.txt 2>&1 &
until grep -q "^assemblyai-emulator ready" printed.txt; do sleep 0.2; kill -0 %1; done
grep -q "^AIRFLOW_CONN_ASSEMBLYAI_DEFAULT=" printed.txt
