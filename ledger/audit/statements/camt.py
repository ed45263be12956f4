"""Statements as CAMT.053 (ISO 20022, camt.053.001.08), which `ledger import` and accounting programs read. Pure.

The account and its transactions have their ids without hyphens, because an identification has at most 34 or 35
characters. The position in the log is the reference of an entry that no other one has.
"""

import re
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape

from ledger.audit.statements.model import FIRST, Lines, Statement, StatementError
from ledger.values.timestamps import rfc3339

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
MAX_DIGITS = 5  # decimal places of an amount
MAX_TOTAL = 10**18  # an amount has fewer digits than this number
_NAME, _LONG_NAME, _REFERENCE, _REMITTANCE, _CODE = 70, 140, 35, 140, 35
_is_currency = re.compile(r"[A-Z]{3}").fullmatch
_not_xml = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def check_camt(currency: str, digits: int) -> None:
    """Raise `StatementError` if the format has no amounts in a currency or asset."""
    if not _is_currency(currency) or digits > MAX_DIGITS:
        raise StatementError(
            f"CAMT.053 has only currencies with a code of three letters and at most {MAX_DIGITS} decimal places"
        )


class CamtWriter:
    """A document with one statement, whose entries are those of the account."""

    def begin(self, statement: Statement) -> str:
        """Return the head of the document and of the statement, with its balances and sums."""
        check_camt(statement.currency, statement.digits)
        created = f"<CreDtTm>{rfc3339(statement.created_at)}</CreDtTm>"
        return "".join(
            (
                '<?xml version="1.0" encoding="UTF-8"?>\n',
                f'<Document xmlns="{NAMESPACE}"><BkToCstmrStmt>',
                f"<GrpHdr><MsgId>{statement.id.hex}</MsgId>{created}</GrpHdr>\n",
                f"<Stmt><Id>{statement.id.hex}</Id>{created}{_period(statement)}{_account(statement)}\n",
                *_balances(statement),
                f"{_summary(statement)}\n",
            )
        )

    def write(self, statement: Statement, lines: Lines, *, is_first: bool) -> str:  # noqa: ARG002 - as all formats
        """Return the next entries."""
        return "".join(f"{''.join(_entry(statement, line))}\n" for line in lines)

    def end(self, statement: Statement) -> str:  # noqa: ARG002
        """Return the end of the document."""
        return "</Stmt></BkToCstmrStmt></Document>\n"


def _period(statement: Statement) -> str:
    if statement.first == FIRST:
        return ""
    first, last = rfc3339(statement.first), rfc3339(statement.last)
    return f"<FrToDt><FrDtTm>{first}</FrDtTm><ToDtTm>{last}</ToDtTm></FrToDt>"


def _account(statement: Statement) -> str:
    holder = statement.holder
    name = holder.name or holder.code
    owner = "" if holder.username is None else f"<Ownr><Nm>{_text(holder.username, _LONG_NAME)}</Nm></Ownr>"
    return (
        f"<Acct><Id><Othr><Id>{statement.account_id.hex}</Id></Othr></Id><Ccy>{statement.currency}</Ccy>"
        f"{'' if name is None else f'<Nm>{_text(name, _NAME)}</Nm>'}{owner}</Acct>"
    )


def _balances(statement: Statement) -> Iterator[str]:
    first = statement.last if statement.first == FIRST else statement.first
    for code, cents, at in (
        ("OPBD", statement.opening_cents, first),
        ("CLBD", statement.closing_cents, statement.last),
    ):
        yield (
            f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>{_amount(statement, cents)}"
            f"<Dt><DtTm>{rfc3339(at)}</DtTm></Dt></Bal>\n"
        )


def _summary(statement: Statement) -> str:
    sums = statement.sums
    if max(sums.credit_cents, sums.debit_cents) >= MAX_TOTAL:
        return ""
    return "<TxsSummry>{}</TxsSummry>".format(
        "".join(
            f"<{name}><NbOfNtries>{count}</NbOfNtries><Sum>{statement.amount(cents)}</Sum></{name}>"
            for name, count, cents in (
                ("TtlCdtNtries", sums.credits, sums.credit_cents),
                ("TtlDbtNtries", sums.debits, sums.debit_cents),
            )
        )
    )


def _amount(statement: Statement, cents: int) -> str:
    side = "DBIT" if cents < 0 else "CRDT"
    amount = statement.amount(abs(cents))
    return f'<Amt Ccy="{statement.currency}">{amount}</Amt><CdtDbtInd>{side}</CdtDbtInd>'


def _entry(statement: Statement, line: dict[str, Any]) -> Iterator[str]:
    booked, valued = statement.counts_at(line), line.get("effective_at", line["created_at"])
    yield f"<Ntry><NtryRef>{line['version']}</NtryRef>{_amount(statement, line['amount_cents'])}"
    if line["kind"] == "reversal":
        yield "<RvslInd>true</RvslInd>"
    yield f"<Sts><Cd>BOOK</Cd></Sts><BookgDt><DtTm>{rfc3339(booked)}</DtTm></BookgDt>"
    yield f"<ValDt><DtTm>{rfc3339(valued)}</DtTm></ValDt><AcctSvcrRef>{line['position']}</AcctSvcrRef>"
    yield f"<BkTxCd><Prtry><Cd>{_text(line['kind'], _CODE)}</Cd></Prtry></BkTxCd>"
    yield f"<NtryDtls><TxDtls>{''.join(_details(statement, line))}</TxDtls></NtryDtls></Ntry>"


def _details(statement: Statement, line: dict[str, Any]) -> Iterator[str]:
    reference = line["reference"] or ""
    end_to_end = reference if 0 < len(reference) <= _REFERENCE else "NOTPROVIDED"
    transaction = f"<TxId>{line['transaction_id'].hex}</TxId>"
    yield f"<Refs><EndToEndId>{_text(end_to_end, _REFERENCE)}</EndToEndId>{transaction}</Refs>"
    yield _amount(statement, line["amount_cents"])
    if line["other_accounts"]:
        yield f"<RltdPties>{_party(statement, line)}</RltdPties>"
    long = reference if len(reference) > _REFERENCE else ""
    texts = list(_cut(f"{line.get('description', '')}\n{long}".strip()))
    if texts:
        yield f"<RmtInf>{''.join(f'<Ustrd>{_text(text, _REMITTANCE)}</Ustrd>' for text in texts)}</RmtInf>"


def _party(statement: Statement, line: dict[str, Any]) -> str:
    role = "Dbtr" if line["amount_cents"] > 0 else "Cdtr"
    party = f"<{role}><Pty><Nm>{_text(statement.name_others(line), _LONG_NAME)}</Nm></Pty></{role}>"
    if line["other_account_count"] > 1:
        return party
    account = line["other_accounts"][0]["id"].hex
    return f"{party}<{role}Acct><Id><Othr><Id>{account}</Id></Othr></Id></{role}Acct>"


def _cut(text: str) -> Iterator[str]:
    for line in text.splitlines():
        for start in range(0, len(line), _REMITTANCE):
            if part := line[start : start + _REMITTANCE].strip():
                yield part


def _text(text: str, most: int) -> str:
    short = text if len(text) <= most else f"{text[: most - 1]}…"
    return escape(_not_xml.sub("\ufffd", short))
