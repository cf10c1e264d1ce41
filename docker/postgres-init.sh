#!/bin/sh
# Runs once, when the data folder is new: the owner with its database, and Airflow's. The other roles come
# with the migrations. psql reads the secret files itself, so no password shows among the processes.
set -eu
SECRETS_DIR=${SECRETS_DIR:-/run/secrets}
export SECRETS_DIR
psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet --username postgres --dbname postgres <<'SQL'
\set owner_password `cat "$SECRETS_DIR/database_owner"`
\set airflow_password `cat "$SECRETS_DIR/airflow_database"`
CREATE ROLE dataeng LOGIN CREATEROLE PASSWORD :'owner_password';
CREATE DATABASE financial_data OWNER dataeng;
CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
CREATE DATABASE airflow OWNER airflow;
SQL
