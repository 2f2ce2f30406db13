#!/bin/sh
# docker/.env from docker/.env.example, with fresh random secrets, readable by its owner alone. Never overwrites.
set -eu
cd "$(dirname "$0")"
if [ -e .env ]; then
    echo "docker/.env is there already; delete it to make a new one (and then the volumes, whose passwords it holds)" >&2
    exit 1
fi
umask 077
random_hex() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
fernet_key() { head -c 32 /dev/urandom | base64 | tr '+/' '-_'; }
while IFS= read -r line; do
    case $line in
    AIRFLOW_FERNET_KEY=) echo "$line$(fernet_key)" ;;
    *_PASSWORD= | *_SECRET= | *_KEY= | *_KEY_ID=) echo "$line$(random_hex)" ;;
    *) echo "$line" ;;
    esac
done <.env.example >.env.partial
mv .env.partial .env
echo "wrote docker/.env; the password of the Airflow user is AIRFLOW_ADMIN_PASSWORD in it"
