"""The helper process of `keyring_store`: one call on the system's keyring, because a locked one prompts and hangs.

Started by `python -P -m ruma.tenant.keys.keyring_process`; the request comes as JSON on standard input, so that a key
is never in the command line or the environment, and the reply goes as JSON to standard output.
"""

import json
import sys
from typing import Any

from ruma.tenant.keys.data_key import harden_process

SERVICE = "ruma"


def main() -> None:
    """Answer one request."""
    harden_process()
    verb, wanted, allowed, item, value = json.load(sys.stdin)
    import keyring
    from keyring.backends.chainer import ChainerBackend
    from keyring.errors import KeyringError

    # The environment and keyringrc.cfg choose the backend whatever limit the program sets: so the result is checked.
    found: Any = keyring.get_keyring()
    chain = list(found.backends) if isinstance(found, ChainerBackend) else [found]
    reply: dict[str, Any] = {"found": [_class_name(backend) for backend in chain]}
    fit = [b for b in chain if _class_name(b) in allowed and wanted in (None, _class_name(b))]
    if fit:
        reply["backend"] = _class_name(fit[0])
        try:
            reply["value"] = _do(fit[0], verb, item, value)
        except KeyringError as exc:
            reply["error"] = f"{type(exc).__name__}: {exc}"
    print(json.dumps(reply))


def _do(backend: Any, verb: str, item: str, value: str | None) -> str | None:
    if verb == "set":
        backend.set_password(SERVICE, item, value)
    elif verb == "delete":
        for _ in range(20):  # Secret Service deletes only the first of several items of one name
            if backend.get_password(SERVICE, item) is None:
                break
            backend.delete_password(SERVICE, item)
    if verb in {"get", "delete"}:
        answer: str | None = backend.get_password(SERVICE, item)
        return answer
    return None


def _class_name(backend: Any) -> str:
    return f"{type(backend).__module__}.{type(backend).__qualname__}"


if __name__ == "__main__":
    main()
