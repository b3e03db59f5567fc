from pathlib import Path

import pytest

from ruma.config import Plan, Settings, load_plans, load_settings
from ruma.errors import InputError
from ruma.privacy.policy import write_policy
from ruma.privacy.retention import enforce, give_plan, keep_less
from ruma.tenant.audit import list_audit
from ruma.tenant.keeping.plans import is_known, promised_plan, read_plan, remember_plan, set_plan, shorten
from ruma.tenant.policy_versions import list_versions
from ruma.tenant.tenant import Tenant


def write_plans(settings: Settings, text: str) -> None:
    """Write the operator's file."""
    settings.home.mkdir(exist_ok=True)
    (settings.home / "ruma.toml").write_text(text)


def test_a_tenant_begins_with_the_plan_that_is_built_in(tenant: Tenant, settings: Settings) -> None:
    """Nobody has to write one, and its days are those that the documentation says."""
    plan = read_plan(tenant, settings)

    assert plan == Plan(name="standard", conversations=180, technical=30, audit=365, exports=7, receipts=1095)


def test_the_operator_gives_another_plan(tenant: Tenant, settings: Settings) -> None:
    """It is in the operator's file, it counts at once, what it says nothing of is the usual, and it is written down."""
    write_plans(settings, "[plans.short]\nconversations = 14\n")

    set_plan(tenant, settings, "short")

    assert read_plan(tenant, settings) == Plan(name="short", conversations=14)
    assert list_audit(tenant)[0].action == "plan.set"
    assert load_settings().home == settings.home


def test_other_days_are_in_the_privacy_policy_at_once(tenant: Tenant, settings: Settings) -> None:
    """Whoever gives another plan, keeps less or enforces what the file says now makes the next version with it."""
    write_policy(tenant, settings)
    write_plans(settings, "[plans.short]\nconversations = 14\n")

    give_plan(tenant, settings, "short")
    assert "Conversations: 14 days" in list_versions(tenant)[0].text
    keep_less(tenant, settings, {"conversations": 13})
    assert "Conversations: 13 days" in list_versions(tenant)[0].text
    write_plans(settings, "[plans.short]\nconversations = 12\n")
    enforce(tenant, settings)
    assert "Conversations: 12 days" in list_versions(tenant)[0].text

    assert [one.id for one in list_versions(tenant)] == [4, 3, 2, 1]


def test_a_plan_that_is_not_there_cannot_be_given(tenant: Tenant, settings: Settings) -> None:
    """A slip of the pen names those that there are."""
    with pytest.raises(InputError, match="no plan shrot") as problem:
        set_plan(tenant, settings, "shrot")
    assert "standard" in problem.value.hint


def test_an_owner_makes_days_fewer_and_never_more(tenant: Tenant, settings: Settings) -> None:
    """The operator's number is the most; giving it again takes the shortening back."""
    shorten(tenant, settings, {"conversations": 20, "exports": 1})
    assert (read_plan(tenant, settings).conversations, read_plan(tenant, settings).exports) == (20, 1)

    for wrong in ({"conversations": 181}, {"conversations": 0}, {"documents": 5}):
        with pytest.raises(InputError):
            shorten(tenant, settings, wrong)
    shorten(tenant, settings, {"conversations": 180})

    assert read_plan(tenant, settings) == Plan(exports=1)


def test_a_shorter_plan_beats_what_an_owner_chose(tenant: Tenant, settings: Settings) -> None:
    """Of two promises the shorter is kept."""
    shorten(tenant, settings, {"conversations": 100})
    write_plans(settings, "[plans.standard]\nconversations = 50\n")

    assert read_plan(tenant, settings).conversations == 50


def test_a_plan_that_went_is_kept_as_it_was_promised(tenant: Tenant, settings: Settings) -> None:
    """Nothing is kept for longer than was promised, and nothing goes sooner, until the operator gives another plan."""
    write_plans(settings, "[plans.short]\nconversations = 14\n[plans.long]\nconversations = 700\n")
    set_plan(tenant, settings, "long")
    write_plans(settings, "[plans.long]\nconversations = 600\n")
    remember_plan(tenant, settings)
    write_plans(settings, "")

    plan = promised_plan(tenant, settings)
    assert plan == Plan(name="long", conversations=600)
    assert not is_known(plan, settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plans = 3", "plans are tables"),
        ("[plans]\nshort = 3", "plans are tables"),
        ('[plans."Über"]', "cannot be called"),
        ("[plans.short]\ndocuments = 3", "something about documents"),
        ("[plans.short]\nconversations = 0", "1 to 3650 days, not 0"),
        ("[plans.short]\nconversations = true", "1 to 3650 days, not True"),
        ('[plans.short]\nconversations = "14"', "1 to 3650 days, not '14'"),
        ("[plans.short]\nconversations = 99999", "not 99999"),
    ],
)
def test_a_plan_that_is_not_understood_is_said_at_once(settings: Settings, text: str, message: str) -> None:
    """No command goes on with a promise that it cannot read."""
    write_plans(settings, text)

    with pytest.raises(InputError, match=message):
        load_settings()
    with pytest.raises(InputError, match=message):
        load_plans(Path(settings.home))
