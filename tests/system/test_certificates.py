"""A PostgreSQL that accepts certificates and no passwords: the owner and the serving role have one each."""

import shutil
from pathlib import Path

from tests.support.certificates import Authority, Identity
from tests.support.majors import INSTALLED, postgres_server
from tests.support.outages import reserved_port
from tests.support.processes import run_ledger

SECRET = "a-secret-of-the-tests-that-is-long-enough"
RULES = "local all ledger trust\nhostssl all all 127.0.0.1/32 cert\n"


def demand_certificates(cluster: Path, authority: Authority, port: int) -> str:
    """Let a cluster demand certificates over TCP; return the options of its server."""
    owner = cluster.stat()
    for source, name in zip((*authority.issue("server"), authority.certificate), ("crt", "key", "ca"), strict=True):
        shutil.copy(source, cluster / f"server.{name}")
        shutil.chown(cluster / f"server.{name}", owner.st_uid, owner.st_gid)
        (cluster / f"server.{name}").chmod(0o600)
    (cluster / "pg_hba.conf").write_text(RULES)
    files = "-c ssl_cert_file=server.crt -c ssl_key_file=server.key -c ssl_ca_file=server.ca"
    return f"-c listen_addresses=127.0.0.1 -c port={port} -c ssl=on {files}"


def url_of(role: str, port: int, authority: Authority, identity: Identity | None) -> str:
    files = f"&sslcert={identity.certificate}&sslkey={identity.key}" if identity else ""
    trusted = f"sslmode=verify-full&sslrootcert={authority.certificate}"
    return f"postgresql://{role}@localhost:{port}/postgres?{trusted}{files}"


async def test_two_roles_with_certificates_need_no_password(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    owner, serving = authority.issue("ledger"), authority.issue("ledger_serving")
    with reserved_port(listening=False) as port:
        serves = {"DATABASE_URL": url_of("ledger_serving", port, authority, serving), "JWT_SECRET": SECRET}
        owns = {"LEDGER_OWNER_DATABASE_URL": url_of("ledger", port, authority, owner)}
    for postgres in INSTALLED[-1:]:
        with postgres_server(postgres, lambda cluster: demand_certificates(cluster, authority, port)):
            migrated = await run_ledger("migrate", variables={**serves, **owns})
            verified = await run_ledger("audit", "verify", "--fast", variables=serves)

            assert (0, 0) == (migrated.status, verified.status), (migrated, verified)
            assert "the role ledger_serving of DATABASE_URL may not change history" in verified.output + verified.error
            for wrong in (None, owner):
                url = url_of("ledger_serving", port, authority, wrong)
                refused = await run_ledger("audit", "verify", "--fast", variables={"DATABASE_URL": url})
                assert (1, 1) == (refused.status, len(refused.error.splitlines()))
                assert "certificate" in refused.error
