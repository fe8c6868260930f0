"""Finding somebody to sign requests: AWS's own chain, asked once for each place."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError

from napari_omezarr.connections import vault
from napari_omezarr.errors import SignInNeededError

from .machine import knows_instance_metadata
from .translation import sign_in_error

if TYPE_CHECKING:
    from napari_omezarr.errors import StoreError


class AwsChain:
    """The AWS configuration of this computer, seen with one profile.

    Parameters
    ----------
    profile : str or None
        The profile to use before everything else; None leaves it to the
        environment and the configuration files.
    """

    def __init__(self, profile: str | None) -> None:
        self._profile = profile
        self._asking: asyncio.Lock | None = None
        self._session = self._new_session()
        self._credentials: Any = None

    @property
    def profile(self) -> str | None:
        """The profile that signs in, if one is named anywhere."""
        name: str | None = self._session.get_config_variable("profile")
        return name

    @property
    def region(self) -> str | None:
        """The region that the environment or the configuration names."""
        named = os.environ.get("AWS_REGION") or self._setting("region")
        return str(named) if named else None

    @property
    def endpoint(self) -> str | None:
        """The endpoint that the environment or the configuration names for S3."""
        if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
            return None
        environment = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get(
            "AWS_ENDPOINT_URL"
        )
        return environment or self._configured_endpoint()

    @property
    def style(self) -> str:
        """``path``, ``virtual`` or ``auto``, as the configuration says."""
        nested = self._scoped().get("s3")
        style = nested.get("addressing_style") if isinstance(nested, dict) else None
        return style if style in ("path", "virtual") else "auto"

    @property
    def ca_file(self) -> str | None:
        """The certificates that the environment or the configuration names."""
        named = os.environ.get("AWS_CA_BUNDLE") or self._setting("ca_bundle")
        return str(named) if named else None

    async def credentials(self) -> ReadOnlyCredentials | StoreError | None:
        """Ask the chain who signs, and renew what has run out.

        Returns
        -------
        ReadOnlyCredentials, StoreError or None
            The keys of now; why they cannot be had; or None if there are none.
        """
        self._asking = self._asking or asyncio.Lock()
        try:
            async with self._asking:
                if self._credentials is None:
                    self._credentials = await self._ask()
            if self._credentials is None:
                return None
            return await self._credentials.get_frozen_credentials()
        except (BotoCoreError, ClientError, OSError) as error:
            return sign_in_error(error, self.profile)

    def forget(self) -> None:
        """Ask anew the next time: the person may have signed in meanwhile."""
        self._session = self._new_session()
        self._credentials = None

    async def _ask(self) -> Any:
        if not knows_instance_metadata(os.environ):
            self._session.get_component("credential_provider").remove("iam-role")
        return await self._session.get_credentials()

    def _new_session(self) -> AioSession:
        return AioSession(profile=self._profile)

    def _setting(self, name: str) -> Any:
        try:
            return self._session.get_config_variable(name)
        except BotoCoreError:
            return None

    def _scoped(self) -> dict[str, Any]:
        """Return the configuration file's part for the profile, {} if it is broken."""
        try:
            scoped: dict[str, Any] = self._session.get_scoped_config()
        except BotoCoreError:
            return {}
        return scoped

    def _configured_endpoint(self) -> str | None:
        scoped = self._scoped()
        try:
            services = self._session.full_config.get("services", {})
        except BotoCoreError:
            services = {}
        service = services.get(scoped.get("services"), {}).get("s3", {})
        return service.get("endpoint_url") or scoped.get("endpoint_url")


class KeptKeys(AwsChain):
    """The keys that the person typed for a connection, wherever they are kept.

    Parameters
    ----------
    name : str
        The connection's name. Nothing of the AWS configuration signs in its place.
    """

    def __init__(self, name: str) -> None:
        super().__init__(None)
        self._name = name
        self._revision = -1

    @property
    def profile(self) -> str | None:
        """None: no AWS profile signs in."""
        return None

    async def credentials(self) -> ReadOnlyCredentials | StoreError | None:
        """Find the keys; a keychain may have to ask the person, so not on the loop."""
        revision = vault().revision
        if self._credentials is not None and self._revision == revision:
            return self._credentials
        keys = await asyncio.to_thread(vault().find, self._name)
        if keys is None:
            sentence = f"The key of the connection {self._name} is not known any more."
            action = "Type it again in the connection."
            return SignInNeededError(sentence, action=action)
        token = keys.token or None
        self._credentials = ReadOnlyCredentials(keys.access_key, keys.secret, token)
        self._revision = revision
        return self._credentials
