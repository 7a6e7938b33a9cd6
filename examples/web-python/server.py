"""An application with passwords and a second factor: authenticator apps, text messages, passkeys and recovery codes.

README.md says how to run it. pages.py has the HTML.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pages
from countersign import browser_module
from workos import WorkOSClient, WorkOSError

COUNTERSIGN, KEY = os.environ.get("COUNTERSIGN_URL"), os.environ.get("COUNTERSIGN_API_KEY")
MODULE = browser_module(COUNTERSIGN, KEY)
workos = WorkOSClient(base_url=COUNTERSIGN, api_key=KEY)
mfa = workos.multi_factor_auth


def call(*path, **body):
    """Calls Countersign where the methods of the client have no parameter for a key. It does not repeat
    the call: the user would look at a frozen page while it waits."""
    return workos.request_raw("post", path, body=body, request_options={"max_retries": 0})


# The users. A factor counts only after it is in the list of its user. The list must not be lost: a
# user without factors needs only the password.
USERS = Path(os.environ.get("USERS", "users.json"))


def digest(password, salt):
    return hashlib.scrypt(password.encode(), salt=salt.encode(), n=2**14, r=8, p=1, dklen=32).hex()


def new_user(name, password):
    salt = secrets.token_hex(16)
    return {"id": "user_" + secrets.token_hex(8), "name": name, "salt": salt, "password": digest(password, salt), "factors": []}


def save():
    new = USERS.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps(users, indent=2))
    new.replace(USERS)


if USERS.exists():
    users = json.loads(USERS.read_text())
else:
    users = [new_user("ada@example.com", "correct horse"), new_user("alan@example.com", "battery staple")]
    save()
nobody = new_user("", secrets.token_hex(16))


def user_with(name, password):
    user = next((user for user in users if user["name"] == name), nobody)  # an unknown name takes as long
    right = hmac.compare_digest(digest(password, user["salt"]), user["password"])
    return user if right and user is not nobody else None


# The sessions, by the value of their cookie. A session has
#   user       who gave the right password
#   signed_in  whether the second factor was right too, or the user has none
#   pending    what is being verified: purpose "sign-in" or "enroll", factor, challenge
#   notice, signal   what the next page shows once
sessions = {}
LIFETIME = 60 * 60  # seconds


def abandon(pending):
    """Deletes the factor of an enrollment that was not confirmed."""
    if pending and pending["purpose"] == "enroll":
        mfa.delete_factor(pending["factor"]["id"])


# How each kind of factor is enrolled. The new factor must be verified before it counts.
def enroll_totp(user, form):
    factor = call("auth", "factors", "enroll", type="totp", user_id=user["id"], totp_issuer="Example", totp_user=user["name"])
    return {**factor, "name": "Authenticator app"}


def enroll_sms(user, form):
    factor = call("auth", "factors", "enroll", type="sms", user_id=user["id"], phone_number=form.get("phone", ""))
    return {**factor, "name": "Text messages to …" + factor["sms"]["phone_number"][-4:]}


def enroll_webauthn(user, form):
    factor = call("auth", "factors", "enroll", type="webauthn", user_id=user["id"], webauthn_user=user["name"])
    return {**factor, "name": "Passkey"}


KINDS = {"totp": enroll_totp, "sms": enroll_sms, "webauthn": enroll_webauthn}

# The files of pages, and the module of Countersign: from this origin, so the policy names no other.
FILES = {name: (Path(__file__).parent.parent / "public" / name.strip("/")).read_bytes() for name in ("/page.js", "/page.css")} | {"/countersign.js": MODULE}
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"


class Application(BaseHTTPRequestHandler):
    """The methods get_… and post_… return a page, or the path of the next one."""

    def get_sign_in(self):
        return "/" if self.session.get("signed_in") else pages.sign_in(self.session)

    def post_sign_in(self):
        user = user_with(self.form.get("name", ""), self.form.get("password", ""))
        if not user:
            return pages.sign_in({"notice": "The email address or the password is wrong."})
        self.begin(user=user, signed_in=not user["factors"])
        return "/choose" if user["factors"] else "/"

    def post_sign_out(self):
        sessions.pop(self.cookie(), None)
        return "/sign-in"

    # After the password.
    def get_choose(self):
        return "/" if self.session["signed_in"] else pages.choose(self.session)

    def post_challenge(self):
        factor = self.own_factor()
        if not factor or self.session["signed_in"]:
            return "/"
        self.session["pending"] = {"purpose": "sign-in", "factor": factor, "challenge": call("auth", "factors", factor["id"], "challenge", accept_recovery=True)}
        return "/verify"

    def get_verify(self):
        return pages.verify(self.session) if self.session.get("pending") else "/"

    def post_verify(self):
        user, pending = self.session["user"], self.session.get("pending")
        if not pending:
            return "/"
        reply = call("auth", "challenges", pending["challenge"]["id"], "verify", code=self.form.get("code", ""),
                     ip_address=self.client_address[0], user_agent=self.headers.get("User-Agent", ""))
        enrolling, bypass, recovery = pending["purpose"] == "enroll", "bypass" in reply, reply.get("recovery")
        if recovery:
            user["recovery"] = recovery["remaining"]
        if not reply["valid"] or (enrolling and (bypass or recovery)):  # these codes prove no possession
            self.session.update(notice=pages.wrong(pending["factor"]), signal=reply.get("signal"))
            return "/verify"
        if enrolling:
            user["factors"].append({key: pending["factor"][key] for key in ("id", "type", "name")})
            save()
            self.session.update(pending=None, notice=pending["factor"]["name"] + " was added.")
        else:
            save()
            self.begin(user=user, signed_in=True, notice=pages.BYPASSED if bypass else pages.recovered(recovery) if recovery else "")
        return "/"

    # Signed in.
    def get_(self):
        return pages.home(self.session)

    def post_enroll(self):
        if self.form.get("type") not in KINDS:
            return "/"
        abandon(self.session.pop("pending", None))
        pending = {"purpose": "enroll", "factor": KINDS[self.form["type"]](self.session["user"], self.form)}
        try:
            pending["challenge"] = call("auth", "factors", pending["factor"]["id"], "challenge")
        except WorkOSError:
            abandon(pending)
            raise
        self.session["pending"] = pending
        return "/verify"

    def post_recovery(self):
        made = call("user_management", "users", self.session["user"]["id"], "recovery_codes")
        self.session["user"]["recovery"] = made["remaining"]
        save()
        return pages.recovery(self.session, made["codes"])  # the only time that they are shown

    def post_cancel(self):
        abandon(self.session.pop("pending", None))
        return "/"

    def post_remove(self):
        user = self.session["user"]
        if factor := self.own_factor():
            mfa.delete_factor(factor["id"])
            user["factors"].remove(factor)
            if not user["factors"] and user.pop("recovery", None) is not None:  # without a factor the codes are for nothing
                workos.request_raw("delete", ("user_management", "users", user["id"], "recovery_codes"))
            save()
        return "/"

    ANYONE = {"GET /sign-in": get_sign_in, "POST /sign-in": post_sign_in, "POST /sign-out": post_sign_out}
    AFTER_PASSWORD = {"GET /choose": get_choose, "POST /challenge": post_challenge, "GET /verify": get_verify, "POST /verify": post_verify}
    SIGNED_IN = {"GET /": get_, "POST /enroll": post_enroll, "POST /recovery": post_recovery, "POST /cancel": post_cancel, "POST /remove": post_remove}

    def own_factor(self):
        """Returns the factor of the form if it is one of the user's."""
        return next((factor for factor in self.session["user"]["factors"] if factor["id"] == self.form.get("factor")), None)

    def cookie(self):
        found = re.search(r"(?:^|; )session=([\w-]+)", self.headers.get("Cookie", ""))
        return found and found[1]

    def begin(self, **session):
        """Gives the browser a new session. The old id ends: someone may have planted it."""
        sessions.pop(self.cookie(), None)
        id = secrets.token_urlsafe(32)
        sessions[id] = {**session, "expires": time.time() + LIFETIME}
        self.new_cookie = f"session={id}; Path=/; HttpOnly; SameSite=Lax; Max-Age={LIFETIME}" + ("; Secure" if ORIGIN.startswith("https:") else "")

    def do_GET(self):
        self.serve({})

    def do_POST(self):
        # Browsers name the origin of the page that sends a form. Another site must not send one.
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Origin") != ORIGIN or length > 65536:
            return self.send(403, "text/plain", b"Open " + ORIGIN.encode())
        self.serve(dict(urllib.parse.parse_qsl(self.rfile.read(max(0, length)).decode(errors="replace"))))

    def serve(self, form):
        path = urllib.parse.urlsplit(self.path).path
        if path in FILES:
            return self.send(200, "text/css" if path.endswith(".css") else "text/javascript", FILES[path])
        for id in [id for id, session in list(sessions.items()) if session["expires"] < time.time()]:
            sessions.pop(id, None)
        self.form, self.session, self.new_cookie = form, sessions.get(self.cookie(), {}), None
        route = f"{self.command} {path}"
        try:
            if route in self.ANYONE:
                page = self.ANYONE[route](self)
            elif route in self.AFTER_PASSWORD and self.session.get("user"):
                page = self.AFTER_PASSWORD[route](self)
            elif route in self.SIGNED_IN and self.session.get("signed_in"):
                page = self.SIGNED_IN[route](self)
            else:
                page = "/choose" if self.session.get("user") else "/sign-in"
        except WorkOSError as error:
            self.log_error("%s: %s", route, error)  # it names no code
            self.session["notice"] = pages.problem(error)
            page = "/verify" if self.session.get("pending") else "/" if self.session.get("signed_in") else "/choose"
        if page.startswith("/"):
            return self.send(303, "text/plain", b"", page)
        self.session.pop("notice", None), self.session.pop("signal", None)
        self.send(200, "text/html", page.encode())

    def send(self, status, content_type, body, location=None):
        self.send_response(status)
        headers = {
            "Content-Type": content_type + "; charset=utf-8", "Content-Length": str(len(body)), "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin", "Cache-Control": "no-store", "Location": location, "Set-Cookie": getattr(self, "new_cookie", None),
        }
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3000"))), Application)
ORIGIN = os.environ.get("ORIGIN") or f"http://localhost:{server.server_port}"
print("Listening on " + ORIGIN, flush=True)
server.serve_forever()
