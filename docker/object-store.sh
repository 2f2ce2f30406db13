#!/bin/sh
# One key pair, from the environment, for the S3-compatible store.
set -eu
umask 077
cat >/tmp/s3.json <<JSON
{"identities": [{"name": "hazy", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                 "credentials": [{"accessKey": "$AWS_ACCESS_KEY_ID", "secretKey": "$AWS_SECRET_ACCESS_KEY"}]}]}
JSON
exec weed server -dir=/data -ip.bind=0.0.0.0 -master.volumeSizeLimitMB=1024 -s3 -s3.config=/tmp/s3.json
