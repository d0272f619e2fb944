"""The line that fixes a fault, for the service that the URL, the destination or the answer tells.

Facts: AWS's managed policies have the same ids in every account ("Use managed response headers
policies", "Use managed origin request policies", Amazon CloudFront Developer Guide).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from myop_cdn.transport import Endpoint

Storage = Literal["s3", "gcs", "azure", "web", ""]
Cdn = Literal["cloudfront", "cloudflare", "frontdoor", "cloudcdn", ""]
_SIMPLE_CORS = "60669652-455b-4ae9-85a4-c4c02393f86c"
_CORS_S3_ORIGIN = "88a5eaf4-2fd4-4709-b370-b4c650ea3fcf"
_CACHE = "public, max-age=300"


@dataclass(frozen=True, slots=True)
class Site:
    """What is checked: host, path of the base URL, the page's origin, and the destination's URL,
    "" where it is not known.
    """

    endpoint: Endpoint
    path: str
    origin: str
    destination: str = ""

    @property
    def bucket(self) -> str:
        """The bucket or container, "" where not known."""
        if self.destination and not self.destination.startswith("file:"):
            parts = urlsplit(self.destination)
            path = parts.path.strip("/").partition("/")[0]
            return path if parts.scheme == "https" else parts.netloc
        host = self.endpoint.host
        for mark in (".s3.", ".s3-", ".storage.googleapis."):
            if mark in host:
                return host.partition(mark)[0]
        return ""

    @property
    def folders(self) -> tuple[str, ...]:
        """What the destination has before the documents, for a base URL that may lack it."""
        if not self.destination:
            return ()
        parts = urlsplit(self.destination)
        path = parts.path.strip("/")
        if parts.scheme == "file":
            return tuple(filter(None, (path.rpartition("/")[2],)))
        names = (path, path.partition("/")[2], f"{parts.netloc}/{path}".strip("/"), parts.netloc)
        return tuple(dict.fromkeys(filter(None, names)))


class Fixes:
    """The lines for one answer. headers: the answer's, by lower-case name."""

    def __init__(self, site: Site, headers: Mapping[str, str]) -> None:
        self._site = site
        self._storage = _storage(site, headers)
        self._cdn = _cdn(site, headers)
        self._bucket = site.bucket or "BUCKET"
        self._deploy = f"myop-cdn deploy {site.destination or 'DESTINATION'}"

    def cors(self) -> str:
        """Access-Control-Allow-Origin is missing, or of another origin."""
        origin, deploy = self._site.origin, f"{self._deploy} --cors-origin {self._site.origin}"
        by_storage = {
            "s3": f"S3: {deploy} adds the CORS rule "
            + _json(
                {
                    "AllowedOrigins": [origin],
                    "AllowedMethods": ["GET", "HEAD"],
                    "AllowedHeaders": ["*"],
                    "MaxAgeSeconds": 86400,
                }
            ),
            "gcs": f"Google Cloud Storage: {deploy}, or gcloud storage buckets update "
            f"gs://{self._bucket} --cors-file=FILE with "
            + _json(
                [
                    {
                        "origin": [origin],
                        "method": ["GET", "HEAD"],
                        "responseHeader": ["Content-Type"],
                        "maxAgeSeconds": 86400,
                    }
                ]
            ),
            "azure": f"Azure: {deploy}, or az storage cors add --services b --methods GET HEAD "
            f"--origins {origin} --allowed-headers '*' --exposed-headers '*' --max-age 86400 "
            f"--account-name {self._account}",
        }
        anywhere = (
            f"send the header Access-Control-Allow-Origin: {origin} (nginx: add_header "
            f'Access-Control-Allow-Origin "{origin}" always; S3, Google, Azure: {deploy}), '
            "or give your page's origin by --origin"
        )
        if self._cdn != "cloudfront":
            return by_storage.get(self._storage, anywhere)
        policy = (
            f"CloudFront: the behavior's response headers policy SimpleCORS ({_SIMPLE_CORS}), "
            f"or forward Origin by the origin request policy CORS-S3Origin ({_CORS_S3_ORIGIN})"
        )
        return "; ".join(filter(None, (policy, by_storage.get(self._storage))))

    def vary(self) -> str:
        """Vary: Origin is missing."""
        if self._cdn == "cloudfront":
            return f"CloudFront: the response headers policy SimpleCORS ({_SIMPLE_CORS})"
        return "send Vary: Origin too (nginx: add_header Vary Origin always), or allow all with *"

    def content_type(self) -> str:
        """Content-Type is not JSON's."""
        if self._storage in ("s3", "gcs", "azure"):
            return f"{self._deploy} stores it with Content-Type: application/json; charset=utf-8"
        return (
            "serve .json as application/json (nginx: types { application/json json; }; Apache: "
            f"AddType application/json .json; a bucket: {self._deploy})"
        )

    def cache_control(self) -> str:
        """Cache-Control is missing or keeps too long."""
        if self._storage in ("s3", "gcs", "azure"):
            return f"{self._deploy} --cache-control '{_CACHE}'"
        return (
            f'send Cache-Control: {_CACHE} (nginx: add_header Cache-Control "{_CACHE}"; a '
            f"bucket: {self._deploy} --cache-control '{_CACHE}')"
        )

    def encoding(self) -> str:
        """Packed twice, or not as Content-Encoding says."""
        return (
            "let only one of the two compress it: store it plain and let the CDN compress "
            f"({self._deploy} --encoding identity), or store it compressed and let the CDN pass it "
            "on as it is (--encoding gzip, compression off)"
        )

    def missing(self, key: str, status: int) -> str:
        """404, or 403 for one that may not be read."""
        publish = f"publish it: {self._publish}"
        if status in (404, 410):
            return f"{publish}; where it is there, a cache holds an old 404: {self._purge(key)}"
        read = {
            "s3": "S3: let the CDN or everybody read it, by a bucket policy that allows "
            f"s3:GetObject on arn:aws:s3:::{self._bucket}/*",
            "gcs": f"gcloud storage buckets add-iam-policy-binding gs://{self._bucket} "
            "--member=allUsers --role=roles/storage.objectViewer",
            "azure": f"az storage container set-permission --name {self._bucket} --public-access "
            f"blob --account-name {self._account}",
        }
        everybody = "let everybody read it (the web server's permissions)"
        return f"{read.get(self._storage, everybody)}, or {publish}"

    def html(self) -> str:
        """An application's page in place of 404."""
        return (
            "leave the documents' path out of the rule that answers unknown paths with a page "
            "(nginx: location /components/ { try_files $uri =404; }), and publish it: "
            f"{self._publish}"
        )

    def status(self, status: int) -> str:
        """Another status."""
        if status >= 500:
            return "the CDN or its origin fails: look at its status page and the origin's log"
        return "the CDN refuses the request: look at its rules for this path"

    def unreachable(self) -> str:
        """No response at all."""
        return f"check the base URL, DNS and the certificate of {self._site.endpoint.netloc}"

    def truncated(self, key: str) -> str:
        """The body ended early."""
        return (
            "where the origin sends it whole, raise the limits of the proxy between (nginx: "
            f"proxy_max_temp_file_size, proxy_read_timeout), then {self._purge(key)}"
        )

    def component(self, key: str) -> str:
        """Another document in its place."""
        return (
            "let the CDN's cache key hold the whole path, and no rule rewrite it; then "
            f"{self._purge(key)}; where the origin answers so, too: {self._publish}"
        )

    def stale(self, key: str, *, is_cached: bool) -> str:
        """An older document than should be there."""
        if is_cached or self._cdn:
            return self._purge(key)
        return (
            f"publish again ({self._publish}); where the destination has it, {self._purge(key)}, "
            "and see that the CDN's origin is that destination"
        )

    def redirect(self, base: str | None) -> str:
        """Redirected. base: the base URL that needs none, where there is one."""
        if base is not None:
            return f"use {base} as the base URL: enableSelfHosted('{base}')"
        return "let the server answer this path itself: each redirect costs a request and CORS"

    def _purge(self, key: str) -> str:
        """Tell the CDN's cache."""
        path, again = f"{self._site.path}/{key}", "and from now on publish with --invalidate"
        commands = {
            "cloudfront": "aws cloudfront create-invalidation --distribution-id ID "
            f"--paths '{path}', {again} cloudfront:ID",
            "cloudflare": f"purge it, {again} cloudflare:ZONE",
            "frontdoor": f"az afd endpoint purge --content-paths '{path}' …, {again} "
            "frontdoor:SUBSCRIPTION/GROUP/PROFILE/ENDPOINT",
            "cloudcdn": f"gcloud compute url-maps invalidate-cdn-cache URLMAP --path '{path}', "
            f"{again} cloudcdn:PROJECT/URLMAP",
        }
        wait = f"purge {path} at the CDN (publish with --invalidate), or wait for its max-age"
        return commands.get(self._cdn, wait)

    def elsewhere(self, base: str, *, is_all: bool) -> str:
        """Documents lie below another base URL. is_all: all of them do."""
        use = f"use {base} as the base URL: enableSelfHosted('{base}')"
        return use if is_all else f"publish to where the others are ({self._publish}), or {use}"

    @property
    def _publish(self) -> str:
        return f"myop-cdn publish {self._site.destination or 'DESTINATION'}"

    @property
    def _account(self) -> str:
        host = urlsplit(self._site.destination).hostname or self._site.endpoint.host
        return host.partition(".")[0] if host.endswith(".blob.core.windows.net") else "ACCOUNT"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _storage(site: Site, headers: Mapping[str, str]) -> Storage:
    scheme = site.destination.partition("://")[0]
    schemes: dict[str, Storage] = {"s3": "s3", "gs": "gcs", "az": "azure", "https": "azure"}
    if scheme in schemes:
        return schemes[scheme]
    if scheme == "file":
        return "web"
    host, server = site.endpoint.host, headers.get("server", "").lower()
    if "amazons3" in server or "x-amz-request-id" in headers or (".amazonaws.com" in host):
        return "s3"
    if "x-goog-generation" in headers or host.endswith("storage.googleapis.com"):
        return "gcs"
    if "x-ms-blob-type" in headers or host.endswith(".blob.core.windows.net"):
        return "azure"
    return "web" if server.startswith(("nginx", "apache", "caddy")) else ""


def _cdn(site: Site, headers: Mapping[str, str]) -> Cdn:
    host = site.endpoint.host
    if "x-amz-cf-id" in headers or host.endswith(".cloudfront.net"):
        return "cloudfront"
    if "cf-ray" in headers:
        return "cloudflare"
    if "x-azure-ref" in headers or host.endswith(".azurefd.net"):
        return "frontdoor"
    return "cloudcdn" if headers.get("via", "").strip() == "1.1 google" else ""
