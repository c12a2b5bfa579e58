"""The settings where the environment sets some of them, as `TITIAN_LOG__FORM=json`: read by its library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from pipeline.errors import UsageError
from pipeline.settings import Settings


class _WithEnvironment(BaseSettings, Settings):
    model_config = SettingsConfigDict(
        env_prefix="TITIAN_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose values are given as arguments."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


def with_environment(values: Mapping[str, Any]) -> Settings:
    """See `pipeline.settings.settings_of`."""
    try:
        return _WithEnvironment(**values)
    except SettingsError as why:  # TITIAN_LOG=plain, where a whole part would have to be JSON
        raise UsageError(f"the environment: {why}: set one key of it, such as TITIAN_LOG__FORM") from None
