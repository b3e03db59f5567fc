import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ACTION = re.compile(r"[a-z]+(?:[-_][a-z]+)*\.[a-z]+")
ELSEWHERE = {
    # Handed over by name: a table of purposes, of failures, of states.
    "setup-link.made", "invitation.made", "reset-link.made", "sign-in.failed", "second-step.failed",
    "conversation.closed", "conversation.reopened",
    # The kind stands in a variable.
    "member.erased", "document.erased", "conversation.erased", "visitor.erased",
}  # fmt: skip


def test_every_action_is_documented_and_no_other() -> None:
    """docs/reference/audit-actions.md has a row for each action that the program notes."""
    noted = set(ELSEWHERE)
    for path in (ROOT / "ruma").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 1):
                continue
            if node.func.id in ("note", "note_now"):
                texts = [one.value for one in ast.walk(node.args[1]) if isinstance(one, ast.Constant)]
                noted |= {text for text in texts if isinstance(text, str) and ACTION.fullmatch(text)}

    page = (ROOT / "docs" / "reference" / "audit-actions.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)) == noted
