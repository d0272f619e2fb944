"""Myop's webhook as an AWS Lambda function with a function URL, and a full sync once a day.

template.yaml beside this file describes the function, deploy.sh builds and deploys it. A release
is published within the request that announces it: Myop waits ten seconds for the answer, while
Lambda goes on to the end in any case. A release that failed is brought by the daily full sync.
"""

import os

from myop_cdn import DeployOptions
from myop_cdn.aws_lambda import function

handler = function(
    os.environ["DESTINATION"],
    output="/tmp/myop-static",  # noqa: S108 - the only folder that Lambda lets a function write to
    options=DeployOptions(delete=True),
)
