"""The problems a person can act on, and nothing else: any other exception is a bug.

RumaError
├── InputError             the request cannot be understood, or the file cannot be read
│   └── TooLargeError      it is larger than what is taken
├── NotFoundError          no tenant, document or conversation of that name
├── NotReadyError          something must be done first: add documents, compile a model
├── ConflictError          it was done already, or changed meanwhile
│   └── HeldError          a legal hold keeps it
├── SignInError            who asks is not known: no session, no key, a wrong password
├── ForbiddenError         who asks is known, and may not
│   └── TermsError         the member has not accepted the terms in force yet
├── TooManyError           too much in too short a time; `retry_seconds` says when again
├── ModelError             a model failed to load or to run
├── MailError              a mail could not be sent
├── BillingError           Stripe could not be asked, or did not do it
│   └── NoCustomerError    Stripe has no customer of the number that is kept here
├── KeyStoreError          no key source can be used, or it did not keep or give back a key
│   ├── KeyMissingError    the key source has no key for this tenant
│   └── WrongKeyError      the key is another tenant's, or damaged
└── StoreError             the database cannot be used: locked, full disk, read-only
    ├── DamagedError       the file is missing, cut short or altered
    ├── WrongTenantError   the database belongs to another tenant
    └── NotEncryptedError  this SQLite has no cipher
"""


class RumaError(Exception):
    """A problem that a person can act on.

    Args:
        message: What happened, naming the thing, as one sentence with a full stop. Never a secret.
        hint: What to do about it, a command where possible.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class InputError(RumaError):
    """The request cannot be understood, or the file cannot be read."""


class TooLargeError(InputError):
    """It is larger than what is taken."""


class NotFoundError(RumaError):
    """There is no tenant, source, document or conversation of that name."""


class NotReadyError(RumaError):
    """Something must be done first."""


class ConflictError(RumaError):
    """It was done already, or was changed by someone else meanwhile."""


class HeldError(ConflictError):
    """A legal hold keeps it, until the hold ends."""


class SignInError(RumaError):
    """Who asks is not known: there is no session or key, or it has ended, or the password is wrong."""


class ForbiddenError(RumaError):
    """Who asks is known, and may not do this."""


class TermsError(ForbiddenError):
    """The member has not accepted the terms of use that are in force."""


class TooManyError(RumaError):
    """Too much was asked in too short a time.

    Args:
        retry_seconds: After how many seconds it may be tried again.
    """

    def __init__(self, message: str, *, hint: str = "", retry_seconds: float = 1.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_seconds = retry_seconds


class ModelError(RumaError):
    """A model failed to load or to run."""


class MailError(RumaError):
    """A mail could not be sent: the operator's mail server is not set up, not reached, or did not take it."""


class BillingError(RumaError):
    """What is paid could not be asked or changed: Stripe was not reached, or did not do it."""


class NoCustomerError(BillingError):
    """Stripe has no customer of that number: it was deleted there, or the key is of another account or mode."""


class KeyStoreError(RumaError):
    """No key source can be used, or it did not keep or give back a key."""


class KeyMissingError(KeyStoreError):
    """The key source has no key for this tenant."""


class WrongKeyError(KeyStoreError):
    """The key belongs to another tenant, or is damaged."""


class StoreError(RumaError):
    """The tenant's database cannot be used."""


class DiskFullError(StoreError):
    """The disk has no space left; what was stored before is kept."""


class DamagedError(StoreError):
    """The tenant's database is missing, cut short or altered."""


class WrongTenantError(StoreError):
    """The database belongs to another tenant than its directory says."""


class NotEncryptedError(StoreError):
    """The SQLite library in use has no cipher, so nothing may be written with it."""
