# SPDX-License-Identifier: Apache-2.0
# The emulator on the command line. Its usual port may be taken here, and the package is installed.
pip() { test "$*" = "install airflow-provider-assemblyai[emulator]"; }
assemblyai-emulator() { exec env assemblyai-emulator --port 0 "$@"; }
{
# [START start]
pip install 'airflow-provider-assemblyai[emulator]'
assemblyai-emulator
# [END start]
} > printed.txt 2>&1 &
emulator=$!
trap 'kill "$emulator"' EXIT
until grep -q "^assemblyai-emulator ready" printed.txt; do
  kill -0 "$emulator"
  sleep 0.2
done
grep -q "^AIRFLOW_CONN_ASSEMBLYAI_DEFAULT=" printed.txt
