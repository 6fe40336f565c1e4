"""A quarter in an organisation: 40 grants, 12 people, and nobody in the middle.

Starts a whole Remit of its own (a vendor simulator, `remit up` over a database in a temporary folder) at six moments of
the first quarter of 2027. Everything people do goes through the API with a token of their own; every call goes through the
gateway with the official openai SDK. At the end it prints what happened, checks that each person acted only on what was
theirs, and compares the books. Takes about two minutes:

    make .venv/dev.stamp && .venv/bin/python examples/quarter.py

Exit code 0 if every line of the story came out as it should, 1 if any did not.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import openai

from remit.kernel.money import format_usd
from remit.testing.vendor_sim import VendorProcess

USD = 1_000_000_000
MODEL = "gpt-4o"
END_OF_QUARTER, END_OF_YEAR = "2027-04-01T00:00:00Z", "2028-01-01T00:00:00Z"
OLGA, FINN, SELA = "olga", "finn", "sela"  # owner of the organisation, finance, security
DEPARTMENTS = {"research": "ria", "product": "pete", "data": "dan"}
LEADS = ("sam", "tom", "eve", "lee", "kim", "noa")
PEOPLE = (OLGA, FINN, SELA, *DEPARTMENTS.values(), *LEADS)
_ESCROW = 'overdraft: {usd: "2"}'
TEAMS = [
    (department, f"team{number}", LEADS[(4 * place + number) % len(LEADS)])
    for place, department in enumerate(DEPARTMENTS)
    for number in range(4)
]


def mail(name: str) -> str:
    return f"{name}@acme.example"


def _money(dollars: int) -> str:
    return f'limits: [{{usd: "{dollars}", per: month}}]'


def manifest() -> str:
    """1 organisation, 3 departments, 12 teams with an app and an eval each: 40 grants."""
    lines = [
        "version: 1",
        "grants:",
        "  acme:",
        f"    owner: {mail(OLGA)}",
        "    class: production",
        f"    expires: {END_OF_YEAR}",
        '    limits: [{usd: "100000", per: month}]',
        "    children:",
    ]
    for department, head in DEPARTMENTS.items():
        lines += [
            f"      {department}:",
            f"        owner: {mail(head)}",
            '        limits: [{usd: "30000", per: month}]',
            "        delegation:",
            "          boundary:",
            '            max_usd: "10000"',
            "            grace_hours: 48",
            '            auto_approve: {max_increase_percent: 10, max_usd: "100", max_renewals: 1, max_term_days: 120}',
            "        children:",
        ]
        for _, team, lead in (one for one in TEAMS if one[0] == department):
            lines += [
                f"          {team}:",
                f"            owner: {mail(lead)}",
                '            limits: [{usd: "5000", per: month}]',
                "            children:",
                f"              app: {{owner: {mail(lead)}, expires: {END_OF_QUARTER}, {_money(1000)}, {_ESCROW}}}",
                f"              eval: {{owner: {mail(lead)}, class: experimentation, expires: {END_OF_QUARTER}, {_money(50)}}}",
            ]
    return "\n".join(lines) + "\n"


# --- the stage ------------------------------------------------------------------------------------------------------


@dataclass
class Story:
    """What happened, in the order it did; whatever did not come out as it should."""

    lines: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def tell(self, when: str, who: str, what: str) -> None:
        self.lines.append(f"{when}  {who:<6} {what}")

    def check(self, what: str, *, holds: bool, shown: object = "") -> None:
        print(f"  {'yes' if holds else 'NOT'}  {what}{f': {shown}' if shown else ''}")
        if not holds:
            self.wrong.append(what)


class Acme:
    """The running organisation at one moment."""

    def __init__(self, folder: Path, vendor: VendorProcess, story: Story) -> None:
        self.folder, self.vendor, self.story = folder, vendor, story
        self.tokens: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.today = ""
        self.api_url = self.gateway_url = ""

    @contextmanager
    def at(self, moment: str) -> Iterator[None]:
        """`remit up` with its clock at that moment, ended with the block."""
        self.today = moment[:10]
        config = self._config(moment)
        command = [sys.executable, "-m", "remit", "up", "--config", str(config)]
        with (self.folder / "remit.log").open("ab") as errors:
            up = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
            try:
                assert up.stdout is not None
                said = next((line for line in up.stdout if "remit is up" in line), None)
                if said is None:
                    raise SystemExit((self.folder / "remit.log").read_text()[-3000:])
                words = said.replace(",", " ").split()
                self.gateway_url, self.api_url = words[words.index("gateway") + 1], words[words.index("api") + 1]
                yield
            finally:
                up.terminate()
                up.wait(60)

    def remit(self, *arguments: str, moment: str) -> str:
        """A command, as a person at the machine would type it."""
        environment = {**os.environ, "REMIT_CONFIG": str(self._config(moment)), "REMIT_ACTOR": mail(OLGA)}
        command = [sys.executable, "-m", "remit", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode != 0:
            raise SystemExit(f"`remit {' '.join(arguments)}`: {done.returncode}\n{done.stderr}{done.stdout}")
        return done.stdout

    def ask(self, name: str, method: str, route: str, body: Any = None, **params: Any) -> httpx.Response:
        """One request of a person to the API."""
        headers = {"authorization": f"Bearer {self.tokens[name]}"}
        if method != "GET":
            headers["idempotency-key"] = secrets.token_hex(8)
        return httpx.request(method, f"{self.api_url}{route}", json=body, params=params, headers=headers, timeout=60)

    def write(self, name: str, route: str, body: Any) -> Any:
        """A write that is to succeed; its answer."""
        answer = self.ask(name, "POST", route, body)
        if answer.status_code not in (200, 201):
            raise SystemExit(f"{name}: POST {route} {body}: {answer.status_code} {answer.text}")
        return answer.json()

    def decide(self, name: str, verb: str, ticket: str, why: str) -> Any:
        return self.write(name, f"/tickets/{ticket}/{verb}", {"reason": why})

    def tickets(self, name: str, **wanted: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask(name, "GET", "/tickets", limit=1000, **wanted).json()["tickets"]
        return found

    def wait_for(self, what: str, look: Callable[[], Any]) -> Any:
        """What the authority does by itself within some seconds of its round."""
        for _ in range(150):
            found = look()
            if found:
                return found
            time.sleep(0.2)
        raise SystemExit(f"{self.today}: waited in vain for {what}\n{(self.folder / 'remit.log').read_text()[-3000:]}")

    def client(self, path: str, owner: str) -> openai.OpenAI:
        """The official SDK with an access key of the grant, which its owner makes once."""
        if path not in self.keys:
            made = self.write(owner, "/keys", {"grant": path, "name": "app", "reason": "to spend"})
            self.keys[path] = made["secret"]
        return openai.OpenAI(
            base_url=self.gateway_url.removesuffix("/v1") + "/v1", api_key=self.keys[path], max_retries=0
        )

    def call(self, client: openai.OpenAI, prompt: str, tokens: int = 50) -> str:
        """`served`, or the code of the refusal."""
        try:
            client.chat.completions.create(
                model=MODEL, max_tokens=tokens, messages=[{"role": "user", "content": prompt}], timeout=60
            )
        except openai.APIStatusError as error:
            body: Any = error.response.json()
            return str(body["error"]["code"])
        return "served"

    def _config(self, moment: str) -> Path:
        config = self.folder / "remit.toml"
        config.write_text(
            f'data_dir = "{self.folder / "data"}"\nclock_at = "{moment}"\nsweep_seconds = 0.5\n'
            '[api]\nlisten = "127.0.0.1:0"\n[gateway]\nlisten = "127.0.0.1:0"\n'
            f'[vendors.openai]\nbase_url = "{self.vendor.url}"\n'
        )
        return config


# --- the quarter ----------------------------------------------------------------------------------------------------


def january(acme: Acme, story: Story) -> None:
    """Everybody gets their token; work begins; two ask for more, one gets it without anybody having to look."""
    begin, morning = "2027-01-04T08:00:00Z", "2027-01-04T09:00:00Z"
    file = acme.folder / "grants.yaml"
    file.write_text(manifest())
    acme.remit("apply", str(file), "--yes", "--reason", "the year begins", moment=begin)
    for name in PEOPLE:
        admin = ["--admin"] if name == OLGA else []
        acme.tokens[name] = acme.remit("person", "create", mail(name), "--days", "366", *admin, moment=begin).strip()
    acme.remit("role", "grant", mail(FINN), "finance", moment=begin)
    acme.remit("role", "grant", mail(SELA), "security", moment=begin)
    story.tell("2027-01-04", OLGA, "applies a file with 40 grants and goes on to other things")
    with acme.at(morning):
        for department, team, lead in TEAMS:
            for kind in ("app", "eval"):
                client = acme.client(f"acme/{department}/{team}/{kind}", lead)
                answer = acme.call(client, f"hello from {team} {kind}")
                assert answer == "served", answer
        department, team, lead = TEAMS[0]
        path = f"acme/{department}/{team}/app"
        limits = [{"dimension": "usd", "amount": 2_000 * USD, "period": "month"}]
        ticket = acme.write(lead, "/tickets/increase", {"grant": path, "limits": limits, "reason": "the launch"})
        story.tell(acme.today, lead, f"asks for {ticket['evidence']['exposure']['text']} on {path}")
        refused = acme.ask(lead, "POST", f"/tickets/{ticket['id']}/approve", {"reason": "mine"})
        story.check("nobody approves their own request", holds=refused.status_code == 403)
        acme.decide(ticket["assignees"][0].partition("@")[0], "approve", ticket["id"], "it is in the plan")
        story.tell(acme.today, ticket["assignees"][0].partition("@")[0], f"approves it: {ticket['kind']} of {path}")
        small = [{"dimension": "usd", "amount": 55 * USD, "period": "month"}]
        body = {"grant": f"acme/{department}/{team}/eval", "limits": small, "reason": "one more dataset"}
        auto = acme.write(lead, "/tickets/increase", body)
        story.tell(acme.today, lead, f"asks for 10 percent more: {auto['decision_reason']}")
        story.check(
            "a small increase needs nobody",
            holds=auto["state"] == "approved" and auto["decided_by"] == mail("olga") and auto["tier"] == "auto",
        )
        beyond = {"reason": "x", "limits": [{"dimension": "usd", "amount": 10_001 * USD, "period": "month"}]}
        outside = acme.ask("ria", "PATCH", f"/grants/{quote(f'acme/{department}/{team}', safe='')}", beyond)
        story.check(
            "the head of a department stays inside the boundary",
            holds=outside.status_code == 403 and outside.json()["code"] == "outside_boundary",
        )


def runaway(acme: Acme, story: Story) -> None:
    """An eval loops; it is stopped, its siblings are not, and its owner finds a ticket."""
    with acme.at("2027-01-20T11:00:00Z"):
        department, team, lead = TEAMS[1]
        path = f"acme/{department}/{team}/eval"
        client = acme.client(path, lead)
        calls, answer = 0, "served"
        while answer == "served" and calls < 200:
            answer, calls = acme.call(client, "grade this answer again"), calls + 1
        story.tell(acme.today, lead, f"has an eval that loops; {path} is stopped after {calls} calls: {answer}")
        story.check("a runaway eval is stopped before its budget is", holds=answer == "policy_forbidden" and calls < 60)
        other = acme.client(f"acme/{department}/{team}/app", lead)
        story.check("its sibling goes on", holds=acme.call(other, "still here?") == "served")
        found = acme.wait_for("a ticket about the trip", lambda: acme.tickets(lead, mine=True, kind="finding"))
        acme.decide(lead, "approve", found[0]["id"], "a retry without a counter; fixed")
        story.tell(
            acme.today, lead, f"finds the ticket, fixes the loop and says so ({found[0]['evidence']['trip']['rule']})"
        )


def overdraft(acme: Acme, story: Story) -> None:
    """A production grant runs into its cap, goes on in its overdraft, and its debt gets a ticket."""
    with acme.at("2027-02-10T14:00:00Z"):
        department, team, lead = TEAMS[5]
        path = f"acme/{department}/{team}/app"
        patch = {"reason": "to show it", "limits": [{"dimension": "usd", "amount": USD // 10, "period": "month"}]}
        assert acme.ask(lead, "PATCH", f"/grants/{quote(path, safe='')}", patch).status_code == 200
        client = acme.client(path, lead)
        answers = [acme.call(client, f"customer {number}", 1000) for number in range(16)]
        owed = acme.ask(FINN, "GET", "/debts").json()["debts"]
        debt = sum(one["outstanding_nanousd"] for one in owed)
        story.tell(acme.today, lead, f"reaches the cap of {path}; production goes on, {format_usd(debt)} are owed")
        story.check("production is served in its overdraft", holds=answers.count("served") == 16 and debt > 0)
        head = DEPARTMENTS[department]
        (ticket,) = acme.wait_for("a ticket about the debt", lambda: acme.tickets(head, mine=True, kind="debt"))
        refused = acme.ask(lead, "POST", f"/tickets/{ticket['id']}/approve", {"reason": "please"})
        story.check("who made a debt does not forgive it", holds=refused.status_code in (403, 404))
        acme.decide(head, "decline", ticket["id"], "March pays for it")
        story.tell(acme.today, head, "does not forgive the debt: the next month repays it")


def leaving(acme: Acme, story: Story) -> None:
    """Lee leaves; what was Lee's is Kim's within one transaction, and Lee's token is no good."""
    with acme.at("2027-02-15T17:00:00Z"):
        owned = [
            one["path"]
            for one in acme.ask(OLGA, "GET", "/grants", limit=1000).json()["grants"]
            if one["owner"] == mail("lee")
        ]
        acme.write(OLGA, f"/people/{mail('lee')}/leave", {"successor": mail("kim"), "reason": "lee moves on"})
        after = {one["path"]: one["owner"] for one in acme.ask(OLGA, "GET", "/grants", limit=1000).json()["grants"]}
        moved = all(after[path] == mail("kim") for path in owned)
        story.tell(acme.today, OLGA, f"says that lee left: {len(owned)} grants go to kim")
        story.check(
            "no grant is left without an owner", holds=moved and bool(owned) and mail("lee") not in after.values()
        )
        story.check("who left is shut out", holds=acme.ask("lee", "GET", "/grants").status_code == 401)


def renewals(acme: Acme, story: Story) -> dict[str, str]:
    """Everybody is reminded; all but one ask; the heads of departments go through their queues in one sitting."""
    owners: dict[str, str] = {}
    with acme.at("2027-03-24T10:00:00Z"):
        repaid = acme.wait_for("the debt's end", lambda: not acme.ask(FINN, "GET", "/debts").json()["debts"])
        story.check("the debt was repaid out of March", holds=repaid)
        story.tell("2027-03-01", "remit", "the new month repays the debt of February")
        acme.wait_for("reminders", lambda: _reminded(acme) >= 24)
        grants = acme.ask(OLGA, "GET", "/grants", limit=1000).json()["grants"]
        leaves = [one for one in grants if one["path"].count("/") == 3]
        for grant in leaves:
            owners[grant["path"]] = grant["owner"].partition("@")[0]
        silent, late = f"acme/{TEAMS[11][0]}/{TEAMS[11][1]}/eval", f"acme/{TEAMS[11][0]}/{TEAMS[11][1]}/app"
        asked, auto, who = 0, 0, set()
        for path, owner in owners.items():
            if path in (silent, late):
                continue
            body = {"grant": path, "expires_at": "2027-07-01T00:00:00Z", "reason": "the next quarter"}
            ticket = acme.write(owner, "/tickets/renew", body)
            asked, auto = asked + 1, auto + (ticket["state"] == "approved")
            who.add(owner)
        story.tell(acme.today, str(len(who)), f"owners ask for {asked} renewals; {auto} lie inside an envelope")
        decided = 0
        for head in (*DEPARTMENTS.values(), *LEADS, OLGA):
            for ticket in acme.tickets(head, mine=True, in_state="open", kind="renew") if head != "lee" else []:
                acme.decide(head, "approve", ticket["id"], "quarter end")
                decided += 1
        story.tell(acme.today, "heads", f"go through their queues and approve {decided}")
        story.check(
            "every request is decided",
            holds=decided + auto == asked and not acme.tickets(OLGA, in_state="open", kind="renew"),
        )
    return {"silent": silent, "late": late, "owner": owners[silent]}


def april(acme: Acme, story: Story, last: dict[str, str]) -> None:
    """The silent one lapses; the production grant beside it has its grace, and its renewal still comes in time."""
    with acme.at("2027-03-31T23:59:30Z"):
        path = quote(last["late"], safe="")
        grant = acme.wait_for(
            "the grace of the production grant",
            lambda: (one := acme.ask(OLGA, "GET", f"/grants/{path}").json())["expires_at"] > END_OF_QUARTER and one,
        )
        story.tell(
            "2027-03-31",
            "remit",
            f"{last['late']} goes on until {grant['expires_at'][:16]} by the grace of its boundary",
        )
    with acme.at("2027-04-01T08:00:00Z"):
        owner = last["owner"]
        answer = acme.call(acme.client(last["silent"], owner), "anybody there?")
        story.tell("2027-04-01", "remit", f"{last['silent']} has lapsed: nobody asked for its renewal")
        story.check("a grant that nobody renewed spends nothing", holds=answer == "grant_expired", shown=answer)
        served = acme.call(acme.client(last["late"], owner), "still open?")
        story.check("production is served in its grace", holds=served == "served", shown=served)
        body = {"grant": last["late"], "expires_at": "2027-07-01T00:00:00Z", "reason": "sorry, late"}
        ticket = acme.write(owner, "/tickets/renew", body)
        if ticket["state"] == "open":
            acme.decide(ticket["assignees"][0].partition("@")[0], "approve", ticket["id"], "in the nick of time")
        story.tell("2027-04-01", owner, f"renews {last['late']} within the grace")


def _reminded(acme: Acme) -> int:
    pages = acme.ask(OLGA, "GET", "/notifications", limit=1000).json()["notifications"]
    return sum(one["kind"] == "renewal_due" for one in pages)


# --- who did what, and the books ------------------------------------------------------------------------------------


def verify(acme: Acme, story: Story) -> None:
    """Reads the histories of all grants and tickets, and judges them by who owned what at that moment."""
    moment = "2027-04-01T09:00:00Z"
    with acme.at(moment):
        grants = acme.ask(OLGA, "GET", "/grants", limit=1000).json()["grants"]
        histories = {
            one["path"]: acme.ask(OLGA, "GET", f"/grants/{quote(one['path'], safe='')}/history").json()["revisions"]
            for one in grants
        }
        revisions = [(path, one) for path, all_of in histories.items() for one in all_of]
        strangers = [(path, one["changed_by"]) for path, one in revisions if not _was_theirs(histories, path, one)]
        story.check(
            f"each of {len(revisions)} revisions of {len(grants)} grants was its author's to write",
            holds=not strangers,
            shown=strangers or "",
        )
        tickets = acme.tickets(OLGA)
        own = [one["id"] for one in tickets if one["decided_by"] == one["requester"] and one["state"] != "withdrawn"]
        story.check(f"none of {len(tickets)} tickets was decided by who asked", holds=not own)
        report = acme.ask(FINN, "GET", "/ledger/report", by="team").json()
    checked = json.loads(acme.remit("doctor", "--json", moment=moment))
    story.check("the doctor finds no difference in the books", holds=bool(checked["healthy"]))
    booked, billed = report["total"]["amount_nanousd"], sum(row.amount_nanousd for row in acme.vendor.rows())
    story.check("vendor and ledger agree to the nano-dollar", holds=booked == billed, shown=f"{format_usd(booked)}")


def _was_theirs(histories: dict[str, list[dict[str, Any]]], path: str, revision: dict[str, Any]) -> bool:
    """Whether the author owned the grant or one above it then, is the owner of the organisation, or is what no person decided."""
    author, when = revision["changed_by"], revision["changed_at"]
    if author in (mail(OLGA), "remit"):
        return True
    segments = path.split("/")
    for depth in range(1, len(segments) + 1):
        states = [one for one in histories["/".join(segments[:depth])] if one["changed_at"] < when]
        if states and states[-1]["body"]["owner"] == author:
            return True
    return False


def main() -> int:
    """The quarter; its exit code."""
    story = Story()
    with tempfile.TemporaryDirectory(prefix="remit-", ignore_cleanup_errors=True) as name, VendorProcess() as vendor:
        acme = Acme(Path(name), vendor, story)
        print("checks:")
        january(acme, story)
        runaway(acme, story)
        overdraft(acme, story)
        leaving(acme, story)
        last = renewals(acme, story)
        april(acme, story, last)
        verify(acme, story)
    print("\nthe quarter:")
    print("\n".join(f"  {line}" for line in story.lines))
    print(
        f"\n{'each acted on what was theirs, and everything agrees' if not story.wrong else 'NOT everything came out as it should'}"
    )
    return 1 if story.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
