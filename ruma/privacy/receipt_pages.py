"""A receipt as a page that a person reads: one file, which opens offline and loads nothing."""

from html import escape

from ruma.privacy.verifying import describe_erased
from ruma.tenant.erasing.receipts import Receipt, SignedReceipt

WORDS = {
    "answer": "answers written from it",
    "api_key": "API keys",
    "api_key_handed_over": "API keys handed over",
    "audit": "entries of the audit log",
    "byte": "bytes",
    "chunk": "passages",
    "citation": "citations",
    "consent": "consents",
    "conversation": "conversations",
    "document": "documents",
    "feedback": "ratings of answers",
    "file": "files",
    "link": "one-time links",
    "member": "members",
    "message": "messages",
    "name_at_export": "exports that named the member",
    "name_at_upload": "uploads that named the member",
    "name_in_reply": "replies that named the member",
    "recovery_code": "recovery codes",
    "sealed_file": "sealed files",
    "sentence_vector": "vectors of sentences",
    "session": "sessions",
    "source": "sources",
    "terms_acceptance": "accepted terms",
    "upload": "uploads",
    "vector": "vectors of passages",
}
"""What is counted, in words; what is not here is a table's name."""

ACTORS = {
    "operator": "the operator, at the command line",
    "visitor": "the visitor",
    "ruma": "Ruma itself, as the plan says",
}

_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;
background:#fff}h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ddd;vertical-align:top}
td.n{text-align:right}code{font-size:.85rem;word-break:break-all}.good{color:#0a6640}.bad{color:#a3201b}
@media (prefers-color-scheme:dark){body{background:#161616;color:#eee}td,th{border-color:#444}.good{color:#5fd39b}
.bad{color:#ff8f87}}"""


def describe_actor(receipt: Receipt) -> str:
    """Return who erased it, in words."""
    if receipt.by_kind in ACTORS:
        return ACTORS[receipt.by_kind]
    return f"{'API key' if receipt.by_kind == 'key' else receipt.by_kind} {receipt.by_number}"


def receipt_page(signed: SignedReceipt) -> str:
    """Return the page. It says what the JSON says; what is signed is the JSON."""
    receipt = signed.receipt
    state = (
        '<p class="good">Every check found nothing of it.</p>'
        if receipt.is_complete
        else '<p class="bad">It is not complete: see the checks.</p>'
    )
    counts = "".join(
        f'<tr><td>{escape(WORDS.get(name, name.replace("_", " ")))}</td><td class="n">{count:,}</td></tr>'
        for name, count in receipt.counts.items()
    )
    results = [(check.text, "FAILED" if check.found or check.missing else "found nothing") for check in receipt.checks]
    checks = "".join(f"<tr><td>{escape(text)}</td><td>{result}</td></tr>" for text, result in results)
    missed = "".join(f"<li>{escape(one.text)}{_dates(one.dates)}</li>" for one in receipt.not_covered)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Receipt of an erasure</title><style>{_STYLE}</style></head><body>
<h1>Receipt of an erasure</h1>
<p>Erased: <strong>{escape(describe_erased(receipt))}</strong>, in the tenant {escape(receipt.tenant_name)}.</p>
{state}
<table>
<tr><th>Asked</th><td>{escape(receipt.asked_at)}</td></tr>
<tr><th>Done and checked</th><td>{escape(receipt.done_at)}</td></tr>
<tr><th>By</th><td>{escape(describe_actor(receipt))}</td></tr>
<tr><th>Receipt</th><td><code>{escape(receipt.number)}</code></td></tr>
<tr><th>Tenant's id</th><td><code>{escape(receipt.tenant_id)}</code></td></tr>
</table>
<h2>What went</h2><table>{counts}</table>
<h2>How it was checked</h2><table>{checks}</table>
<h2>What it does not reach</h2><ul>{missed}</ul>
<h2>Signature</h2>
<p>The JSON file is signed with Ed25519 by the {"installation" if signed.signed_by == "installation" else "tenant"}.
Check it with: <code>ruma verify-erasure RECEIPT.json</code></p>
<p><code>public key {escape(signed.public_key)}</code></p><p><code>signature {escape(signed.signature)}</code></p>
</body></html>
"""


def _dates(dates: tuple[str, ...]) -> str:
    return f" Made on: {escape(', '.join(dates))}." if dates else ""
