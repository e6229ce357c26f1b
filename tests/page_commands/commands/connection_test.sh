# SPDX-License-Identifier: Apache-2.0
# The test of a connection.
# needs an emulator
airflow db migrate > /dev/null
{
# [START test]
AIRFLOW__CORE__TEST_CONNECTION=Enabled airflow connections test assemblyai_default
# [END test]
} | tee tested.txt
grep -q "Connection success" tested.txt
