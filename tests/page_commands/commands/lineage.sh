# SPDX-License-Identifier: Apache-2.0

# It is here: nothing is taken from the package index.
pip() {
    command pip --disable-pip-version-check "$@" --no-index
}

# [START lineage]
pip install "apache-airflow-providers-openlineage>=2.20"
export AIRFLOW__OPENLINEAGE__TRANSPORT='{"type": "http", "url": "https://lineage.example.com"}'
# [END lineage]

python - <<'END'
from airflow.providers.openlineage import conf

assert conf.transport() == {"type": "http", "url": "https://lineage.example.com"}, conf.transport()
assert not conf.is_disabled()
END
