"""The servers these tests run against."""

from tests.servers.azure import azurite  # noqa: F401 - a fixture, like those below
from tests.servers.forward_proxy import forward_proxy  # noqa: F401
from tests.servers.gcs import gcs_emulator  # noqa: F401
from tests.servers.s3 import aws, bucket, moto_endpoint, proxy  # noqa: F401
