"""The second factor: one-time codes from an app (RFC 6238), and recovery codes for when the phone is lost.

The only module that knows pyotp.
"""

import hashlib
import hmac
import re
import secrets
import time
from typing import TYPE_CHECKING

from ruma.errors import ConflictError, InputError, NotReadyError
from ruma.tenant.audit import note
from ruma.tenant.erasing.erasure import ask_erasure, finish_erasure
from ruma.tenant.people.members import Member, end_access, find_member, read_row
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from sqlite_utils import Database

RECOVERY_CODES = 10
_STEP_SECONDS = 30
_WINDOW = (-1, 0, 1)
"""A clock that is half a minute off is no reason to be shut out."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_MEANT = str.maketrans("iloIL", "11011") | {ord("O"): "0"}
_CODE_LENGTH = 16  # characters of 5 bits: 80 bits
_SECRET = re.compile("[A-Z2-7]{32}")


def new_factor_secret() -> str:
    """Return a new secret for a member's app to hold; nothing is stored before a code from it has come."""
    import pyotp

    return pyotp.random_base32()


def is_factor_secret(text: str) -> bool:
    """Tell whether a text has the form of such a secret: it comes back from the page that showed it."""
    return _SECRET.fullmatch(text) is not None


def factor_address(tenant: Tenant, member_id: int, secret: str) -> str:
    """Return the otpauth: address that an app reads from a picture.

    Raises:
        NotFoundError: There is no such member.
        ValueError: That is no secret: see `is_factor_secret`.
    """
    import pyotp

    return pyotp.TOTP(secret).provisioning_uri(
        name=find_member(tenant, member_id).email, issuer_name=f"Ruma {tenant.name}"
    )


def enable_second_factor(tenant: Tenant, member_id: int, secret: str, code: str) -> list[str]:
    """Ask for a code at every sign-in from now on, and return the recovery codes, which are shown this once.

    Raises:
        InputError: The code is not one of this secret now.
        ConflictError: The member has a second factor.
    """
    if not is_factor_secret(secret):
        raise InputError("The second factor could not be read.", hint="Begin again.")
    step = _step_of(secret, code)
    if step is None:
        raise InputError("This code is not right.", hint="Check the clock of your phone, and use the newest code.")
    with tenant.writing() as db:
        if read_row(db, member_id).has_second_factor:
            raise ConflictError("There is a second factor already.", hint="Switch it off first.")
        db.execute("update member set totp_secret = ?, totp_last_step = ? where id = ?", [secret, step, member_id])
        note(db, "second-factor.enabled", f"member {member_id}")
        return _replace_recovery_codes(db, member_id)


def disable_second_factor(tenant: Tenant, member_id: int) -> None:
    """Ask for the password alone from now on; the secret and the recovery codes are gone from the file.

    Raises:
        NotFoundError: There is no such member.
    """
    with tenant.writing() as db:
        read_row(db, member_id)
        _drop_factor(db, member_id)
        note(db, "second-factor.disabled", f"member {member_id}")
        ask_erasure(db)
    finish_erasure(tenant)


def remove_second_factor(tenant: Tenant, member_id: int) -> Member:
    """Switch a member's second factor off for the member, whose phone is lost, and return the member as it was.

    Every session and open link of the member ends, and the secret and the recovery codes are gone from the file.

    Raises:
        NotFoundError: There is no such member.
        NotReadyError: The member has no second factor.
    """
    with tenant.writing() as db:
        member = read_row(db, member_id)
        if not member.has_second_factor:
            raise NotReadyError(f"{member.name} has no second factor.")
        _drop_factor(db, member_id)
        end_access(db, member_id)
        note(db, "second-factor.removed", f"member {member_id}")
        ask_erasure(db)
    finish_erasure(tenant)
    return member


def replace_recovery_codes(tenant: Tenant, member_id: int) -> list[str]:
    """Return new recovery codes; the old ones work no more.

    Raises:
        NotReadyError: The member has no second factor.
    """
    with tenant.writing() as db:
        if not read_row(db, member_id).has_second_factor:
            raise NotReadyError("There is no second factor yet.", hint="Switch it on first.")
        note(db, "recovery-codes.replaced", f"member {member_id}")
        return _replace_recovery_codes(db, member_id)


def count_recovery_codes(tenant: Tenant, member_id: int) -> int:
    """Return how many recovery codes are left."""
    with tenant.reading() as db:
        row = db.execute("select count(*) from recovery_code where member_id = ?", [member_id]).fetchone()
    return int(row[0])


def check_code(tenant: Tenant, member_id: int, code: str) -> bool:
    """Tell whether a code lets the member in, and use it up: no code works twice, from the app or from the list."""
    with tenant.reading() as db:
        row = db.execute("select totp_secret from member where id = ? and not is_disabled", [member_id]).fetchone()
    if row is None or row[0] is None:
        return False
    step = _step_of(row[0], code)
    with tenant.writing() as db:
        if step is not None:
            used = db.execute(
                "update member set totp_last_step = ? where id = ? and totp_secret = ? and totp_last_step < ?",
                [step, member_id, row[0], step],
            )
        else:
            sql = "delete from recovery_code where member_id = ? and code_hash = ?"
            used = db.execute(sql, [member_id, _hash(code)])
            if used.rowcount:
                note(db, "recovery-code.used", f"member {member_id}")
        return bool(used.rowcount)


def _drop_factor(db: "Database", member_id: int) -> None:
    db.execute("update member set totp_secret = null where id = ?", [member_id])
    db.execute("delete from recovery_code where member_id = ?", [member_id])


def _step_of(secret: str, code: str) -> int | None:
    import pyotp

    digits = "".join(code.split())
    if not re.fullmatch("[0-9]{6}", digits):
        return None
    app, step_now = pyotp.TOTP(secret), int(time.time()) // _STEP_SECONDS
    found = [
        step_now + offset for offset in _WINDOW if hmac.compare_digest(app.generate_otp(step_now + offset), digits)
    ]
    return found[0] if found else None


def _replace_recovery_codes(db: "Database", member_id: int) -> list[str]:
    codes = []
    db.execute("delete from recovery_code where member_id = ?", [member_id])
    for _ in range(RECOVERY_CODES):
        text = "".join(secrets.choice(_ALPHABET) for _ in range(_CODE_LENGTH))
        codes.append("-".join(text[at : at + 4] for at in range(0, _CODE_LENGTH, 4)))
        db.execute("insert into recovery_code values (?, ?)", [member_id, _hash(text)])
    return codes


def _hash(code: str) -> bytes:
    # Written down by hand: case, blanks and hyphens do not matter, nor do letters that look like digits.
    plain = re.sub(r"[\s-]", "", code[:200].translate(_MEANT)).lower()
    return hashlib.sha256(plain.encode("utf-8", "replace")).digest()
