"""Files for `ledger import`, and what a check makes of them."""

import json
from pathlib import Path
from typing import Any

from ledger.importing.faults import FaultyFileError
from ledger.importing.prepare import prepare
from ledger.importing.profile import make_reading

A, B, C = (f"018f0000-0000-7000-8000-00000000000{number}" for number in (1, 2, 3))
HEADER = "source_account_id,destination_account_id,amount_cents"
FITIDS = ("2026050100001", "2026050200002")

OFX = """OFXHEADER:100
DATA:OFXSGML
VERSION:102
CHARSET:1252

<OFX><BANKMSGSRSV1><STMTTRNRS><STMTRS><CURDEF>EUR
<BANKACCTFROM><BANKID>70150000<ACCTID>1234567<ACCTTYPE>CHECKING</BANKACCTFROM>
<BANKTRANLIST><DTSTART>20260501<DTEND>20260531
<STMTTRN><TRNTYPE>CREDIT<DTPOSTED>20260501120000[+2:CEST]<TRNAMT>1250.00<FITID>2026050100001
<NAME>M\u00fcller &amp; Sohn<MEMO>Rechnung 7</STMTTRN>
<STMTTRN><TRNTYPE>DEBIT<DTPOSTED>20260502<TRNAMT>-12.34<FITID>2026050200002<CHECKNUM>77<NAME>Strom</STMTTRN>
</BANKTRANLIST></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>
"""
OFX_2 = '<?xml version="1.0" encoding="UTF-8"?>\n<?OFX OFXHEADER="200" VERSION="211"?>\n' + OFX[
    OFX.index("<OFX>") :
].replace("<CURDEF>EUR\n", "<CURDEF>EUR</CURDEF>\n").replace("<FITID>2026050100001<", "<FITID>2026050100001</FITID><")
CAMT = """<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.02"><BkToCstmrStmt><Stmt><Id>1</Id>
<Acct><Id><IBAN>DE89370400440532013000</IBAN></Id></Acct>
<Ntry><Amt Ccy="EUR">1250.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts><BookgDt><Dt>2026-05-01</Dt></BookgDt>
<AcctSvcrRef>2026050100001</AcctSvcrRef><NtryDtls><TxDtls><Refs><EndToEndId>INV-7</EndToEndId></Refs>
<RltdPties><Dbtr><Nm>M\u00fcller</Nm></Dbtr></RltdPties><RmtInf><Ustrd>Rechnung 7</Ustrd></RmtInf></TxDtls></NtryDtls>
</Ntry><Ntry><Amt Ccy="EUR">12.34</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>
<BookgDt><Dt>2026-05-02</Dt></BookgDt>
<AcctSvcrRef>2026050200002</AcctSvcrRef></Ntry>
<Ntry><Amt Ccy="EUR">99.00</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts>PDNG</Sts><BookgDt><Dt>2026-05-02</Dt></BookgDt></Ntry>
</Stmt></BkToCstmrStmt></Document>
"""
MT940 = """:20:STARTUMS
:25:70150000/1234567
:28C:00001/001
:60F:C260430EUR100,00
:61:2605010501CR1250,00N062NONREF//2026050100001
:86:166?00GUTSCHRIFT?20Rechnung 7?32Mueller
:61:2605020502DR12,34N033NONREF//2026050200002
:86:Strom
:62F:C260502EUR1337,66
-
"""
QIF = """!Type:Bank
D01.05.2026
T1.250,00
PM\u00fcller
MRechnung 7
^
D02.05.2026
T-12,34
N77
PStrom
^
"""
BANKS = {"ofx": OFX, "camt": CAMT, "mt940": MT940, "qif": QIF}
BANK_OPTIONS: dict[str, Any] = {"account": A, "against": B}
QIF_OPTIONS = {"number_format": "1.234,56", "date_format": "DD.MM.YYYY", "currency": "EUR"}


def check(path: Path, run: str | None = "a run", **options: Any) -> list[dict[str, Any]]:
    """Return the requests of a file, as they are sent."""
    with prepare(path, make_reading({}, options), run) as prepared:
        return [json.loads(request.body) for request in prepared.requests()]


def faults(path: Path, run: str | None = "a run", **options: Any) -> list[str]:
    """Return the faults of a file, as the command prints them, without the name of the file."""
    try:
        check(path, run, **options)
    except FaultyFileError as error:
        return [f"{place.line}:{place.column}: {why}" for place, why in error.faults]
    return []


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    """Write a file without a change to the ends of its lines."""
    path.write_bytes(text.encode(encoding))
    return path
