"""Settings from the environment or a file. With an invalid value the service prints one line and does not start."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import quote

from pydantic import ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from ledger.environment import variables
from ledger.environment.broker_settings import BrokerSettings, is_installed
from ledger.environment.log_levels import Levels, parse_levels
from ledger.environment.variables import SettingsError
from ledger.money import check_code
from ledger.values.addresses import AllowList, parse_allow_list

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[int, Field(ge=1, le=10 * 365 * 86400)]
MAX_HOLD_SECONDS = 366 * 86400
FRAME_OVERHEAD_BYTES = 1 << 20  # what a command has beside the body that it was made from
RequestsPerMinute = Annotated[int, Field(ge=0, le=10_000_000)]
HoldSeconds = Annotated[int, Field(ge=1, le=MAX_HOLD_SECONDS)]
MESSAGES = {  # pydantic's own speak of inputs and validation, and change between releases
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number",
    "float_parsing": "must be a number",
    "bool_parsing": "must be true or false",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} characters",
    "too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "string_unicode": "must be UTF-8",
    "value_error": "{error}",
}
DEFAULT_MESSAGE = "must have another form"
RoleWithSecondFactor = Literal["admin", "auditor", "customer"]
ROLES_WITH_SECOND_FACTOR: tuple[RoleWithSecondFactor, ...] = ("admin", "auditor", "customer")  # a guest may enrol
Party = Annotated[str, Field(pattern=r"^[!-~]{1,256}$")]  # the issuer or the audience of tokens


class Settings(BrokerSettings):
    """All settings. The variable of a setting is its name in upper case."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    service_host: str = "127.0.0.1"
    service_port: Annotated[int, Field(ge=0, le=65535)] = 8080

    database_url: SecretStr | None = None
    database_read_url: SecretStr | None = None
    ledger_owner_database_url: SecretStr | None = None
    postgres_host: str | None = None
    postgres_port: Port = 5432
    postgres_user: str | None = None
    postgres_password: SecretStr | None = None
    postgres_db: str | None = None
    postgres_connection_pool: Annotated[int, Field(ge=1, le=100)] = 8

    redis_url: SecretStr | None = None
    redis_host: str | None = None
    redis_port: Port = 6379

    jwt_secret: SecretStr | None = None
    jwt_expire_access_token_seconds: Seconds = 3600
    jwt_expire_refresh_token_seconds: Seconds = 7_776_000
    jwt_validation_leeway_seconds: Annotated[int, Field(ge=0, le=3600)] = 60
    jwt_enable_revoked_tokens: bool = True
    ledger_jwt_key_file: Path | None = None
    ledger_jwt_previous_key_file: Path | None = None
    ledger_jwt_previous_secret: SecretStr | None = None
    ledger_jwt_rsa_algorithm: Literal["PS256", "RS256"] = "PS256"
    ledger_jwt_issuer: Party | None = None
    ledger_jwt_audience: Party | None = None
    ledger_session_seconds: Seconds = 31_536_000
    ledger_reauthenticate_seconds: Annotated[int, Field(ge=0, le=31_536_000)] = 0
    ledger_require_second_factor: str = ""
    ledger_second_factor_secret: SecretStr | None = None
    ledger_second_factor_previous_secret: SecretStr | None = None
    ledger_refresh_grace_seconds: Annotated[int, Field(ge=0, le=300)] = 10

    ledger_admin_username: Annotated[str, Field(min_length=1, max_length=64)] = "admin"
    ledger_admin_password: Annotated[SecretStr, Field(min_length=8, max_length=1024)] | None = None
    ledger_password_hashes: bool = True
    ledger_password_words: Annotated[str, Field(max_length=10_000)] = ""
    ledger_breached_passwords_file: Path | None = None
    ledger_data_dir: Path = Path(".ledger")
    ledger_schema: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")] = "ledger"
    ledger_default_currency: str = "USD"
    ledger_cors_origins: str = ""
    ledger_hold_seconds: HoldSeconds = 604_800
    ledger_hold_limit_seconds: HoldSeconds = 2_592_000
    ledger_expiry_seconds: Annotated[float, Field(gt=0, le=3600)] = 1
    ledger_schedule_seconds: Annotated[float, Field(gt=0, le=3600)] = 1
    ledger_schedule_limit_seconds: Seconds = MAX_HOLD_SECONDS

    ledger_seal_key_file: Path | None = None
    ledger_seal_head_file: Path | None = None
    ledger_seal_anchor: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    ledger_seal_seconds: Annotated[float, Field(gt=0, le=3600)] = 1
    ledger_seal_events: Annotated[int, Field(ge=1, le=10_000)] = 1000

    ledger_webhook_allow: Annotated[str, Field(max_length=10_000)] = ""

    ledger_queue_limit: Annotated[int, Field(ge=1, le=1_000_000)] = 2048
    ledger_batch_limit: Annotated[int, Field(ge=1, le=10_000)] = 256
    ledger_position_wait_seconds: Annotated[float, Field(ge=0, le=60)] = 3
    ledger_database_patience_seconds: Annotated[float, Field(gt=0, le=300)] = 5
    ledger_start_patience_seconds: Annotated[float, Field(ge=0, le=3600)] = 60
    ledger_login_queue_limit: Annotated[int, Field(ge=1, le=10_000)] = 64
    ledger_login_attempts_per_account: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    ledger_login_attempts_per_address: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    ledger_login_window_seconds: Annotated[int, Field(ge=1, le=86_400)] = 60
    ledger_login_longest_window_seconds: Annotated[int, Field(ge=1, le=86_400)] = 3600
    ledger_rate_limit_reads: RequestsPerMinute = 6_000
    ledger_rate_limit_writes: RequestsPerMinute = 6_000
    ledger_rate_limit_batches: RequestsPerMinute = 600
    ledger_rate_limit_admins: bool = False
    ledger_trusted_proxies: Annotated[int, Field(ge=0, le=100)] = 0
    ledger_body_limit_bytes: Annotated[int, Field(ge=1024, le=100_000_000)] = 65_536
    ledger_bulk_limit_bytes: Annotated[int, Field(ge=1024, le=100_000_000)] = 8_388_608
    ledger_body_timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 10
    ledger_keepalive_seconds: Annotated[float, Field(gt=0, le=3600)] = 75
    ledger_shutdown_seconds: Annotated[float, Field(gt=0, le=300)] = 15
    ledger_drain_seconds: Annotated[float, Field(ge=0, le=300)] = 0
    ledger_ready_write_seconds: Annotated[float, Field(ge=0, le=300)] = 3
    ledger_ready_lag_seconds: Annotated[float, Field(ge=0, le=86_400)] = 300
    ledger_tracing: Literal["off", "otlp"] = "off"
    ledger_metrics_token: Annotated[SecretStr, Field(min_length=32, max_length=1024)] | None = None

    log_level: str = "info"
    ledger_log_format: Literal["auto", "json", "console"] = "auto"

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the environment and the settings file. Raises `SettingsError`."""
        return cls._from_values(variables.read(os.environ, VARIABLES, SECRETS) | overrides)

    @classmethod
    def load_passed_on(cls) -> Self:
        """Read what the parent process passed on with `child_environment`. Raises `SettingsError`."""
        return cls._from_values(variables.read_passed_on(os.environ, VARIABLES))

    @classmethod
    def _from_values(cls, values: dict[str, Any]) -> Self:
        try:
            return cls(**values)
        except ValidationError as error:
            raise SettingsError("; ".join(_format_problem(problem) for problem in error.errors())) from None

    @field_validator("log_level")
    @classmethod
    def _check_levels(cls, value: str) -> str:
        parse_levels(value)
        return value

    @field_validator("ledger_tracing")
    @classmethod
    def _check_tracing(cls, value: str) -> str:
        if value != "off" and not is_installed("opentelemetry.exporter.otlp.proto.http"):
            raise ValueError("needs the extra otel: pip install 'ledger-service[otel]'")
        return value

    @field_validator("ledger_default_currency")
    @classmethod
    def _check_currency(cls, value: str) -> str:
        return check_code(value)

    @field_validator("ledger_require_second_factor")
    @classmethod
    def _check_second_factor_roles(cls, value: str) -> str:
        if not {*_split_roles(value)} <= {*ROLES_WITH_SECOND_FACTOR}:
            raise ValueError(f"must be roles out of {', '.join(ROLES_WITH_SECOND_FACTOR)}, separated by commas")
        return value

    @field_validator("ledger_cors_origins")
    @classmethod
    def _check_origins(cls, value: str) -> str:
        origins = value.split()
        if origins != ["*"] and any(not re.fullmatch(r"https?://[^/\s*]+", origin) for origin in origins):
            raise ValueError("must be origins such as https://app.example, separated by blanks, or * alone")
        return value

    @field_validator("ledger_webhook_allow")
    @classmethod
    def _check_allowed_hosts(cls, value: str) -> str:
        parse_allow_list(value)
        return value

    @field_validator("database_url", "database_read_url", "ledger_owner_database_url")
    @classmethod
    def _check_postgres_scheme(cls, value: SecretStr | None) -> SecretStr | None:
        return _check_scheme(value, "postgresql://", "postgres://")

    @field_validator("redis_url")
    @classmethod
    def _check_redis_scheme(cls, value: SecretStr | None) -> SecretStr | None:
        return _check_scheme(value, "redis://", "rediss://", "unix://")

    @model_validator(mode="after")
    def _check_postgres(self) -> Self:
        if self.postgres_host is not None and self.database_url is None:
            for variable in ("postgres_user", "postgres_db"):
                if getattr(self, variable) is None:
                    raise ValueError(f"{variable.upper()}: must be set when POSTGRES_HOST is")
        return self

    @model_validator(mode="after")
    def _check_owner(self) -> Self:
        if self.ledger_owner_database_url is not None and not self.has_database:
            raise ValueError("LEDGER_OWNER_DATABASE_URL: cannot be set when DATABASE_URL and POSTGRES_HOST are not")
        return self

    @model_validator(mode="after")
    def _check_hold_seconds(self) -> Self:
        if self.ledger_hold_seconds > self.ledger_hold_limit_seconds:
            raise ValueError("LEDGER_HOLD_SECONDS: must not be more than LEDGER_HOLD_LIMIT_SECONDS")
        return self

    @model_validator(mode="after")
    def _check_key_kinds(self) -> Self:
        if self.ledger_jwt_key_file is not None:
            if self.ledger_jwt_previous_secret is not None:
                raise ValueError("LEDGER_JWT_PREVIOUS_SECRET: cannot be set when LEDGER_JWT_KEY_FILE is")
        elif self.ledger_jwt_previous_key_file is not None:
            raise ValueError("LEDGER_JWT_PREVIOUS_KEY_FILE: cannot be set when LEDGER_JWT_KEY_FILE is not")
        return self

    @property
    def has_database(self) -> bool:
        """Whether a PostgreSQL server is configured; otherwise the service starts the embedded one."""
        return self.database_url is not None or self.postgres_host is not None

    @property
    def has_redis(self) -> bool:
        """Whether a Redis or Valkey server is configured; otherwise the service starts the embedded one."""
        return self.redis_url is not None or self.redis_host is not None

    def as_owner(self) -> Self:
        """Return the settings for commands that change the schema: they connect as the owner, if there is one."""
        if self.ledger_owner_database_url is None:
            return self
        return self.model_copy(update={"database_url": self.ledger_owner_database_url})

    def webhook_allow_list(self) -> AllowList:
        """Return the hosts and networks that webhooks may send to although they are not public."""
        return parse_allow_list(self.ledger_webhook_allow)

    def check_can_sign(self) -> None:
        """Raise `SettingsError` if there is no secret to sign tokens with; the embedded profile generates one."""
        if self.has_database and self.jwt_secret is None:
            raise SettingsError("JWT_SECRET: must be set when the database is not the embedded one")

    def levels(self) -> Levels:
        """Return the log levels."""
        return parse_levels(self.log_level)

    def database_dsn(self) -> str:
        """Return the URL of the database, including its password."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        password = self.postgres_password.get_secret_value() if self.postgres_password else ""
        user = quote(self.postgres_user or "", safe="") + (f":{quote(password, safe='')}" if password else "")
        host = self.postgres_host or ""
        host = f"[{host}]" if ":" in host else host
        return f"postgresql://{user}@{host}:{self.postgres_port}/{quote(self.postgres_db or '', safe='')}"

    def replica_dsns(self) -> list[str]:
        """Return the URLs of the read replicas, including their passwords."""
        given = self.database_read_url.get_secret_value() if self.database_read_url else ""
        return [dsn for dsn in _BETWEEN_URLS.split(given) if dsn]

    def redis_dsn(self) -> str:
        """Return the URL of Redis or Valkey, including its password."""
        if self.redis_url is not None:
            return self.redis_url.get_secret_value()
        host = self.redis_host or ""
        return f"redis://{f'[{host}]' if ':' in host else host}:{self.redis_port}/0"

    def roles_with_second_factor(self) -> tuple[RoleWithSecondFactor, ...]:
        """Return the roles that a session without a second factor does not have."""
        required = {*_split_roles(self.ledger_require_second_factor)}
        return tuple(role for role in ROLES_WITH_SECOND_FACTOR if role in required)

    def seal_head_file(self) -> Path | None:
        """Return the file that keeps the last sealed head: beside the key if none is named; None without a key."""
        if self.ledger_seal_key_file is None:
            return None
        return self.ledger_seal_head_file or self.ledger_seal_key_file.with_suffix(".head")

    def stop_seconds(self) -> float:
        """Return how long a worker may take to stop: to drain, finish requests and empty the committer's queue."""
        return self.ledger_drain_seconds + 2 * self.ledger_shutdown_seconds

    def frame_bytes(self) -> int:
        """Return how large a command, or its outcome, may be between a worker and the writer."""
        return max(self.ledger_body_limit_bytes, self.ledger_bulk_limit_bytes) + FRAME_OVERHEAD_BYTES

    def environment(self) -> dict[str, str]:
        """Return these settings as variables, without those that have their default."""
        return {name.upper(): _format_value(getattr(self, name)) for name in sorted(self.model_fields_set)}

    def child_environment(self) -> dict[str, str]:
        """Return the environment of a child process, which calls `load_passed_on`: this one, with these settings.

        No child process changes the schema, so none gets the owner's URL.
        """
        own = {name: value for name, value in self.environment().items() if name != "LEDGER_OWNER_DATABASE_URL"}
        return {**variables.without_settings(os.environ, VARIABLES | variables.name_files(SECRETS)), **own}


def _split_roles(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


_BETWEEN_URLS = re.compile(r"\s*,\s*(?=postgres(?:ql)?://)")  # one URL can name several hosts, with commas

VARIABLES = frozenset(name.upper() for name in Settings.model_fields)


def _is_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(_is_secret(part) for part in get_args(annotation))


SECRETS = frozenset(name.upper() for name, field in Settings.model_fields.items() if _is_secret(field.annotation))


def _check_scheme(value: SecretStr | None, *schemes: str) -> SecretStr | None:
    if value is not None and not value.get_secret_value().startswith(schemes):
        raise ValueError(f"must start with {' or '.join(schemes)}")
    return value


def _format_problem(problem: Any) -> str:
    text = MESSAGES.get(problem["type"], DEFAULT_MESSAGE).format_map(
        {name: _format_limit(limit) for name, limit in problem.get("ctx", {}).items()}
    )
    return f"{problem['loc'][0].upper()}: {text}" if problem["loc"] else text


def _format_limit(limit: object) -> str:
    """Return a limit as an operator writes it: 3600 rather than 3600.0, and choices without quotation marks."""
    return str(int(limit) if isinstance(limit, float) and limit.is_integer() else limit).replace("'", "")


def _format_value(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
