"""A tenant that is used through its server as members, visitors and programs do, with a random mark in each field.

What is somebody's is a mark of the kind that goes with it; what nobody may ever find is a secret, or something said
to the server that it has no reason to keep.
"""

import http.client
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from ruma.config import load_settings
from ruma.tenant.agents import change_agent
from ruma.tenant.erasing.receipts import Receipt, read_receipt
from ruma.tenant.home import Home
from ruma.tenant.people.members import create_member
from tests.harness.residue import make_canaries
from tests.harness.serving import Answer, Server
from tests.serving import FLAGS, make_tenant

VISITOR_ADDRESS = "127.77.133.201"
API = "/t/acme/api"
PENDING_SECONDS = 90
"""How long a receipt may take where something read the old state: the server tries again within a minute."""

GOES = ("document", "conversation", "visitor", "member")
"""The kinds of what is erased within a tenant, in this order; `tenant` goes with all of it."""


class Used:
    """A tenant in use."""

    def __init__(self, server: Server) -> None:
        """Make it, with an owner and a neighbour, before the server starts."""
        self.server = server
        self.marks: dict[str, dict[str, str]] = {kind: {} for kind in (*GOES, "tenant", "secret", "said")}
        self.numbers: dict[str, int] = {}
        home = Home(load_settings({"home": server.home, **FLAGS}, {}))
        make_tenant(home)
        make_tenant(home, "other")
        with home.open("acme") as tenant:
            self.id, self.key, self.folder = tenant.id, tenant.key.raw, tenant.folder
            change_agent(tenant, websites=["https://www.example.com"])
            self._password = self.mark("secret", "owner's password")
            create_member(tenant, email="ada@example.com", name="Ada", role="owner", password=self._password)

    def mark(self, kind: str, name: str) -> str:
        """Return the mark of a field."""
        return self.marks[kind].setdefault(name, make_canaries(1)[0])

    def words(self, *kinds: str) -> list[str]:
        """Return the marks of these kinds."""
        return [word for kind in kinds for word in self.marks[kind].values()]

    def names(self, *kinds: str) -> set[str]:
        """Return what the marks of these kinds are called."""
        return {f"{kind}: {name}" for kind in kinds for name in self.marks[kind]}

    def named(self, found: dict[str, list[str]]) -> dict[str, list[str]]:
        """Return what was found by what it is called."""
        called = {word: f"{kind}: {name}" for kind in self.marks for name, word in self.marks[kind].items()}
        return {called.get(word, word): places for word, places in found.items()}

    def keep_secret(self, name: str, secret: str) -> str:
        """Note a secret that the server made."""
        self.marks["secret"][name] = secret
        return secret

    def use(self) -> None:
        """Use all of it."""
        self.owner = self._sign_in("ada@example.com", self._password)
        self._join()
        self._add_documents()
        self._converse()
        self._manage()
        self._take_along()
        self._go_wrong()

    def open_everything(self) -> None:
        """Open every page that shows something of somebody, and search with their words."""
        visitor, document = self.marks["visitor"], self.marks["document"]
        for address in (
            "", "overview", "sources", "sources/list", "pairs", "people", "conversations", "try", "account", "data",
            "data/erasures", "data/exports", "data/audit", "data/requests", "data/connections", "settings", "agent",
            f"conversations/{self.numbers['visitor']}", f"conversations?text={visitor['question']}",
            f"documents/{self.numbers['document']}", f"sources/{self.numbers['document']}/text",
            f"data/erasures?find={visitor['message']}", "api/conversations", "api/documents", "api/sources",
            "api/sources/uploads", "api/members", "api/keys", "api/pairs", "api/audit", "api/usage", "api/unanswered",
            f"api/conversations/{self.numbers['visitor']}/export?format=csv", f"api/mentions?text={visitor['comment']}",
            f"api/documents/{self.numbers['document']}/original", f"api/documents?search={document['title']}",
        ):  # fmt: skip
            answer = self.send("GET", f"/t/acme/{address}")
            assert answer.status == 200, (address, answer.status, answer.body[:300])

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request as the owner."""
        return self.server.send(method, path, body, **{**self.owner, **headers})

    def erase(self, kind: str) -> Receipt:
        """Erase a thing, as a member does, and return the receipt."""
        if kind == "visitor":
            body = {"email": f"{self.marks['visitor']['email']}@example.com"}
            number = self.send("POST", f"{API}/erasures/visitor", body).json()["id"]
        else:
            answer = self.send("DELETE", f"{API}/{kind}s/{self.numbers[kind]}")
            assert answer.status in (200, 204), answer.body
            number = answer.headers["x-ruma-receipt"]
        until = time.monotonic() + PENDING_SECONDS
        while (answer := self.send("GET", f"{API}/erasures/{number}/receipt")).status == 409:
            assert time.monotonic() < until, answer.body  # something reads the old state for as long
            time.sleep(0.5)
        return read_receipt(answer.body.decode()).receipt

    def _sign_in(self, email: str, password: str, **headers: str) -> dict[str, str]:
        form = urlencode({"email": email, "password": password})
        answer = self.server.send("POST", "/t/acme/sign-in", form, Content_Type=FORM, **headers)
        return self._let_in(answer, email)

    def _let_in(self, answer: Answer, who: str) -> dict[str, str]:
        assert answer.status in (200, 303), answer.body
        cookie = answer.headers["set-cookie"].partition(";")[0]
        self.keep_secret(f"cookie of {who}", cookie.partition("=")[2])
        page = self.server.send("GET", "/t/acme/account", Cookie=cookie).body.decode()
        csrf = re.search(r'data-csrf="([^"]+)"', page)
        assert csrf
        return {"Cookie": cookie, "X_Ruma_CSRF": self.keep_secret(f"token of {who}", csrf[1])}

    def _join(self) -> None:
        """A member who was invited joins, signs in from elsewhere, and makes a key."""
        mark = lambda name: self.mark("member", name)  # noqa: E731
        email, password = f"{mark('email')}@example.com", self.mark("secret", "member's password")
        link = self.send("POST", f"{API}/members/invitations", {"email": email, "role": "editor"}).json()["link"]
        self.keep_secret("invitation", link.rpartition("/")[2])
        path = link[link.index("/t/") :]
        self.server.send("GET", path)
        form = urlencode({"name": f"Bo {mark('name')}", "email": email, "password": password})
        self._let_in(self.server.send("POST", path, form, Content_Type=FORM), "who joined")
        self.member = self._sign_in(email, password, User_Agent=f"Mozilla/5.0 {self.mark('said', 'browser')} Firefox/1")
        members = self.send("GET", f"{API}/members").json()["members"]
        self.numbers["member"] = next(one["id"] for one in members if one["email"] == email)
        own = {"password": self._password}
        reset = self.send("POST", f"{API}/members/{self.numbers['member']}/reset", own).json()["link"]
        self.keep_secret("reset", reset.rpartition("/")[2])
        self.server.send("GET", reset[reset.index("/t/") :])
        made = self.send("POST", f"{API}/keys", {"name": self.mark("tenant", "key"), "scopes": ["chat", "read"]}).json()
        self.program = {"Authorization": f"Bearer {self.keep_secret('API key', made['key'])}"}

    def _add_documents(self) -> None:
        """A file, a text and a form with a file that cannot be read are handed over; one text is corrected."""
        mark = lambda name: self.mark("document", name)  # noqa: E731
        text = f"# About {mark('title')}\n\n## Then {mark('heading')}\n\nWe say {mark('text')} of it, all day long.\n"
        self._upload(f"{mark('name')}.md", text)
        self.numbers["document"] = self._document(mark("title"))
        corrected = {"text": text.replace(mark("text"), mark("corrected")), "replace_original": False}
        sent = self.send("PUT", f"{API}/documents/{self.numbers['document']}/text", corrected)
        self.numbers["document"] = int(sent.json()["document_id"])
        pasted = {"title": f"Pasted {self.mark('tenant', 'title')}", "text": f"It is {self.mark('tenant', 'text')}."}
        self.send("POST", f"{API}/sources/texts", pasted).json()
        pair = {"question": f"Is it {self.mark('tenant', 'asked')}?", "answer": self.mark("tenant", "told")}
        self.send("POST", f"{API}/pairs", pair).json()
        name = f"{self.mark('tenant', 'failed')}.pdf"
        form = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n%PDF-no\r\n--b--\r\n'
        self.send("POST", f"{API}/sources/uploads", form, Content_Type="multipart/form-data; boundary=b").json()
        self._wait(lambda: not [one for one in self._uploads() if one["state"] != "failed"])

    def _converse(self) -> None:
        """Visitors ask, want a person, judge, correct and download; a member replies."""
        self.numbers["conversation"] = self._one_visitor("conversation")
        self.numbers["visitor"] = self._one_visitor("visitor")
        question = {"question": f"Have you heard of {self.mark('said', 'search')}?"}
        self.server.send("POST", f"{API}/search", question, **self.program).json()
        messages = [{"role": "user", "content": f"And of {self.mark('said', 'asked by a program')}?"}]
        body = {"model": "acme", "messages": messages}
        self.server.send("POST", "/t/acme/v1/chat/completions", body, **self.program, Idempotency_Key="a")

    def _one_visitor(self, kind: str) -> int:
        mark = lambda name: self.mark(kind, name)  # noqa: E731

        def send(method: str, path: str, body: Any = None, **headers: str) -> Answer:
            return self.server.send(method, f"{API}/{path}", body, source=VISITOR_ADDRESS, **headers)

        self.server.send("GET", "/t/acme/widget.js", source=VISITOR_ADDRESS)
        asked = {
            "question": f"What do you say of it all day long, {mark('question')}?",
            "channel": "page",
            "keep": True,
        }
        told = send("POST", "chat", asked).json()
        own = {"X_Ruma_Conversation": self.keep_secret(f"secret of {kind}", told["conversation"])}
        again = {"question": f"And {mark('second')}?", "conversation": told["conversation"]}
        assert b"event: done" in send("POST", "chat", again, Accept="text/event-stream").body
        wish = {
            "name": f"Dr. {self.mark('said', f'old name in {kind}')}",
            "email": f"{mark('email')}@example.com",
            "message": mark("message"),
        }
        send("POST", "conversation/person", {**wish, "channel": "page"}, **own).json()
        judged = {"message_id": told["message_id"], "is_helpful": False, "comment": mark("comment")}
        send("POST", "conversation/feedback", judged, **own)
        details = {"name": f"Prof. {mark('new name')}", "email": wish["email"]}
        assert send("PATCH", "conversation/details", details, **own).status < 300
        assert mark("new name") in send("GET", "conversation/data", **own).body.decode()
        assert send("GET", "conversation/export", **own).body.startswith(b"PK")
        listed = self.send("GET", f"{API}/conversations?text={mark('question')}").json()["conversations"]
        number = int(listed[0]["id"])
        reply = {"text": f"Dear, {mark('reply')}."}
        self.server.send("POST", f"{API}/conversations/{number}/replies", reply, **self.member).json()
        return number

    def _manage(self) -> None:
        """The owner opens every page and changes what is the business's own."""
        profile = {"business_name": f"Bakery {self.mark('tenant', 'business')}"}
        self.send("PATCH", f"{API}/profile", profile).json()
        self.open_everything()

    def _take_along(self) -> None:
        """Exports are made and fetched, one that opens with a password waits."""
        password = self.mark("secret", "export's password")
        wanted = [{"kind": "tenant"}, {"kind": "member", "member": str(self.numbers["member"])}]
        wanted += [{"kind": "visitor", "visitor": str(self.numbers["visitor"]), "password": password}]
        made = [self.send("POST", f"{API}/exports", one).json()["id"] for one in wanted]
        for number in made:
            self._wait(lambda: self.send("GET", f"{API}/exports/{number}").json()["state"] == "done")  # noqa: B023
        assert self.send("GET", f"{API}/exports/{made[0]}/file").body.startswith(b"PK")
        assert self.send("GET", "/t/acme/account/data").body.startswith(b"PK")
        assert self.send("GET", f"{API}/audit/export?format=csv").status == 200

    def _go_wrong(self) -> None:
        """Everything is asked in ways that fail, with a mark in each place that a log could repeat."""
        said = lambda name: self.mark("said", name)  # noqa: E731
        wrong = urlencode({"email": f"{said('address')}@example.com", "password": said("wrong password")})
        requests = [
            ("GET", f"/t/acme/{said('path')}", None, {}),
            ("GET", f"/t/acme/documents/1?{said('parameter')}={said('value')}", None, {}),
            ("POST", f"{API}/chat", f'{{"question": "{said("half a body")}', {"Content_Type": "application/json"}),
            ("POST", f"{API}/chat", {"question": [said("wrong kind")]}, {}),
            ("POST", f"{API}/chat", {"question": said("long") * 2000}, {}),
            ("POST", f"{API}/chat", {"question": "x", "conversation": said("unknown conversation")}, {}),
            ("POST", f"{API}/chat", {"question": "x", said("unknown field"): 1}, {}),
            ("GET", f"{API}/conversation", None, {"X_Ruma_Conversation": said("unknown secret")}),
            ("GET", f"{API}/documents", None, {"Authorization": f"Bearer ruma_{said('wrong key')}"}),
            ("GET", "/t/acme/overview", None, {"Cookie": f"__Host-ruma-acme={said('wrong cookie')}"}),
            ("POST", f"{API}/keys", {"name": said("key of nobody"), "scopes": ["chat"]}, {}),
            ("POST", "/t/acme/sign-in", wrong, {"Content_Type": FORM}),
            ("GET", f"/t/acme/reset/{said('wrong reset')}", None, {}),
            ("GET", f"{API}/agent", None, {"Referer": f"http://x/{said('referer')}", "Origin": f"http://{said('o')}"}),
            ("GET", f"{API}/agent", None, {"Host": f"{said('host')}.example.com"}),
            ("GET", f"{API}/agent", None, {"Forwarded": f"for={said('forwarded')}", "User_Agent": said("agent")}),
            ("BREW", f"/t/acme/{said('method')}", None, {}),
            ("PUT", f"{API}/sources/uploads?name={said('nobody')}.md", said("nobody's body"), {}),
        ]  # fmt: skip
        for method, path, body, headers in requests:
            self.server.send(method, path, body, source=VISITOR_ADDRESS, **headers)
        self.marks["said"]["visitor's address"] = VISITOR_ADDRESS
        self._break_an_original()

    def _break_an_original(self) -> None:
        """A file that is damaged makes the server itself fail; then it is mended."""
        for path in (self.folder / "files").iterdir():
            path.rename(path.with_suffix(".away"))
        answer = self.send("GET", f"{API}/documents/{self.numbers['document']}/original")
        assert answer.status >= 400, answer.status
        for path in (self.folder / "files").iterdir():
            path.rename(path.with_suffix(""))

    def _upload(self, name: str, text: str) -> None:
        path = f"{API}/sources/uploads?name={quote(name)}"
        self.server.send("PUT", path, text, Content_Type="text/markdown", **self.member).json()

    def _uploads(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.send("GET", f"{API}/sources/uploads").json()["uploads"]
        return found

    def _document(self, title: str) -> int:
        self._wait(lambda: bool(self.send("GET", f"{API}/documents?search={title}").json()["documents"]))
        return int(self.send("GET", f"{API}/documents?search={title}").json()["documents"][0]["id"])

    def kill_in_the_middle(self) -> None:
        """Kill the server while it takes a file in and makes an export, and start it again."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        connection.putrequest("PUT", f"{API}/sources/uploads?name={self.mark('said', 'half a file')}.md")
        for name, value in {**self.owner, "Content_Length": "3000000"}.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        connection.send((self.mark("said", "half a file's text") + " ").encode() * 50_000)
        self.send("POST", f"{API}/exports", {"kind": "tenant"}).json()
        self.server.kill()
        connection.close()
        self.server.start()
        self._wait(lambda: {one["state"] for one in self._exports()} <= {"done", "failed"})

    def _exports(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.send("GET", f"{API}/exports").json()["exports"]
        return found

    @staticmethod
    def _wait(is_so: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < end, "it never came to that"
            time.sleep(0.03)


FORM = "application/x-www-form-urlencoded"
