#!/bin/sh
# Build and deploy the function that template.yaml describes. Needs Python 3.11 or newer and the
# AWS command line, logged in.
#
# 1. The key and the signing secret, from Myop's Dashboard > Rollout > Settings > Self-Hosting, as
#    {"api-key": "...", "webhook-secret": "..."} in secret.json, which is not committed:
#      aws secretsmanager create-secret --name myop-cdn --secret-string file://secret.json
# 2. ./deploy.sh ARTIFACTS    (a bucket of yours that the code is uploaded to)
#    The last line is the URL to enter in Myop. Without a bucket it only builds.
#
# A new secret: while both hold, write both into webhook-secret, a blank between them, and run it
# again; change it in Myop; then leave only the new one and run it once more.
set -eu
cd "$(dirname "$0")"

DESTINATION="@DESTINATION@"
# How it is installed: a name in a package index ("myop-cdn==0.1.0"), a git URL
# ("git+https://HOST/PATH@v0.1.0"), or a wheel in this folder
# ("./myop_cdn-0.1.0-py3-none-any.whl").
MYOP_CDN_PACKAGE=${MYOP_CDN_PACKAGE:-"@PACKAGE@"}

# Without what it depends on: for S3 that is boto3 alone, which is part of Lambda's own Python. The
# function is 2 MB then, and starts at once. With everything it would be 130 MB of the 250 that
# Lambda allows, which other destinations need: leave out --no-deps for those.
rm -rf build
python3 -m pip install --quiet --disable-pip-version-check --no-deps --target build \
  "$MYOP_CDN_PACKAGE"
cp handler.py build/
if [ $# = 0 ]; then
  du -sk build
  exit
fi

path=${DESTINATION#s3://}
aws cloudformation package --template-file template.yaml --s3-bucket "$1" \
  --output-template-file build/packaged.yaml > build/package.log
aws cloudformation deploy --template-file build/packaged.yaml --stack-name myop-cdn \
  --capabilities CAPABILITY_IAM \
  --parameter-overrides "Bucket=${path%%/*}" "Path=$path" "Deployed=$(date +%s)"
aws cloudformation describe-stacks --stack-name myop-cdn --output text \
  --query "Stacks[0].Outputs[?OutputKey=='WebhookUrl'].OutputValue"
