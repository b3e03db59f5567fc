"""Who the business is at Stripe: a customer number. Nothing else of payments is stored, but the plan itself."""

from ruma.tenant.audit import note
from ruma.tenant.tenant import Tenant


def read_customer(tenant: Tenant) -> str:
    """Return the number that Stripe gave the business; empty where it gave none."""
    with tenant.reading() as db:
        return str(db.execute("select customer from billing").fetchone()[0])


def keep_customer(tenant: Tenant, customer: str, *, instead_of: str = "") -> str:
    """Keep a number in place of another one or of none, and return the one that is kept then.

    Where it is another one by now, because somebody else was sooner, that one stays.
    """
    with tenant.writing() as db:
        sql = "update billing set customer = ? where customer = ? and customer <> ?"
        if db.execute(sql, [customer, instead_of, customer]).rowcount:
            note(db, "customer.kept")
        return str(db.execute("select customer from billing").fetchone()[0])
