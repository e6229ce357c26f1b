# SPDX-License-Identifier: Apache-2.0
# Whether Airflow knows the provider.
{
# [START check]
airflow providers get airflow-provider-assemblyai
# [END check]
} | tee known.txt
grep -q "airflow-provider-assemblyai" known.txt
grep -q "0\." known.txt
