"""Shell commands that fix problems of the configured bucket."""

import json
import shlex
from dataclasses import dataclass
from typing import Any, Self

from recipe_api.diagnosis import commands
from recipe_api.settings import S3Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands(commands.Commands):
    """Commands for one bucket."""

    bucket: str
    region: str
    endpoint_url: str | None

    @classmethod
    def of(cls, settings: S3Settings, *, on_heroku: bool = False) -> Self:
        """Return the commands for these settings."""
        return cls(
            bucket=settings.s3_bucket,
            region=settings.aws_region,
            endpoint_url=settings.s3_endpoint_url,
            on_heroku=on_heroku,
        )

    @property
    def setup(self) -> str:
        """Set the bucket up."""
        return self.recipe_api("bucket", "setup")

    @property
    def grant(self) -> str:
        """Grant the service's credentials their permissions; for other stores than Amazon's, print these."""
        policy = self.recipe_api("bucket", "policy", "service", "sweep")
        if self.endpoint_url:
            return policy
        return f'aws iam put-user-policy --user-name USER --policy-name recipe-api --policy-document "$({policy})"'

    @property
    def show_policy(self) -> str:
        """Print the bucket's policy."""
        return self._s3api("get-bucket-policy", "--query", "Policy", "--output", "text")

    @property
    def show_cors(self) -> str:
        """Print the bucket's CORS rules."""
        return self._s3api("get-bucket-cors")

    @property
    def stop_versioning(self) -> str:
        """Stop keeping versions of objects."""
        return self._s3api("put-bucket-versioning", "--versioning-configuration", "Status=Suspended")

    @property
    def encrypt_with_s3_keys(self) -> str:
        """Encrypt with S3's own keys by default."""
        rule = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
        return self._s3api("put-bucket-encryption", "--server-side-encryption-configuration", _document(rule))

    def turn_acls_off(self, ownership: str) -> str:
        """Turn ACLs off for all objects of the bucket."""
        controls = {"Rules": [{"ObjectOwnership": ownership}]}
        return self._s3api("put-bucket-ownership-controls", "--ownership-controls", _document(controls))

    def _s3api(self, action: str, *options: str) -> str:
        words = ["aws", "s3api", action, "--bucket", self.bucket, *options]
        if self.endpoint_url:
            words += ["--endpoint-url", self.endpoint_url]
        if self.region:
            words += ["--region", self.region]
        return shlex.join(words)


def _document(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))
