"""The servers these tests run against."""

from tests.servers.s3 import aws, bucket, moto_endpoint, proxy  # noqa: F401 - fixtures
