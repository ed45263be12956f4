"""A ledger with two roles: one owns the tables, the other serves."""

from urllib.parse import urlsplit

from pydantic import SecretStr

from ledger.embedded import SERVING_ROLE
from ledger.settings import Settings
from ledger.store.migrate import migrate
from ledger.store.roles import create_serving_role


def serving_url(url: str, role: str = SERVING_ROLE) -> str:
    """Return the URL of a database for another role."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}").geturl()


async def divide_roles(settings: Settings) -> Settings:
    """Return the settings of the same ledger with a role that serves, which is created and gets its privileges."""
    owner = settings.database_dsn()
    divided = settings.model_copy(
        update={
            "database_url": SecretStr(serving_url(owner)),
            "ledger_owner_database_url": SecretStr(owner),
        }
    )
    await create_serving_role(divided)
    await migrate(divided)
    return divided


def without_owner(settings: Settings) -> Settings:
    """Return the settings of an instance that knows the serving role only."""
    known = {name: getattr(settings, name) for name in settings.model_fields_set - {"ledger_owner_database_url"}}
    return Settings(**known)
