"""The HTML of the application. It has no scripts and no styles of its own: the policy forbids them."""

import json
from html import escape


def page(title, session, body):
    user, signal = session.get("user"), session.get("signal")
    sign_out = user and f"""<form method="post" action="/sign-out"><span>{escape(user["name"])}</span> <button>Sign out</button></form>"""
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(title)} – Example</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/page.css">
<script type="module" src="/page.js"></script>
<header><b>Example</b>{sign_out or ""}</header>
<main>
<h1>{escape(title)}</h1>
<p id="notice" role="status" data-signal="{escape(json.dumps(signal)) if signal else ""}">{escape(session.get("notice") or "")}</p>
{body}
</main>
</html>"""


def button(action, text, hidden="", **values):
    fields = "".join(f'<input type="hidden" name="{name}" value="{escape(value)}">' for name, value in values.items())
    label = escape(text) + (f' <span class="hidden">{escape(hidden)}</span>' if hidden else "")
    return f'<form method="post" action="{action}">{fields}<button>{label}</button></form>'


def methods(factors):
    items = (f'<li>{button("/challenge", factor["name"], factor=factor["id"])}</li>' for factor in factors)
    return f"<ul>{''.join(items)}</ul>"


def sign_in(session):
    return page("Sign in", session, """<form method="post" action="/sign-in" class="stack">
<label>Email address <input name="name" type="email" autocomplete="username" required></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<button class="primary">Sign in</button>
</form>""")


def choose(session):
    return page("Confirm that it is you", session, f"""<p>The password is right. How do you want to confirm the sign-in?</p>
{methods(session["user"]["factors"])}""")


INSTRUCTIONS = {
    "totp": "Enter the code that your authenticator app shows.",
    "sms": "Enter the code of the message that we sent you.",
    "webauthn": "If the support gave you a code, enter it here.",
}


def code_form(type, recovery):
    return f"""<form method="post" action="/verify" class="stack">
<label for="code">Code</label>
<input id="code" name="code" autocomplete="one-time-code" required aria-describedby="hint" data-type="{type}">
<p id="hint">{INSTRUCTIONS[type]} {"A recovery code works too. " if recovery else ""}The form is sent when the code is complete.</p>
{'<button type="button" id="other" hidden>Type a recovery code</button>' if recovery else ""}
<button class="primary">Confirm</button>
</form>"""


def verify(session):
    pending = session["pending"]
    factor, enrolling = pending["factor"], pending["purpose"] == "enroll"
    body = []
    if "totp" in factor:
        totp = factor["totp"]
        groups = " ".join(totp["secret"][i : i + 4] for i in range(0, len(totp["secret"]), 4))
        body.append(f"""<p>Scan the picture with your authenticator app, or <a href="{escape(totp["uri"])}">open the app on this device</a>.</p>
<p><img src="{escape(totp["qr_code"])}" alt="QR code for the authenticator app" width="200" height="200"></p>
<p>If you cannot scan it, type this key: <code>{escape(groups)}</code></p>""")
    if factor["type"] == "webauthn":
        body.append(f"""<form method="post" action="/verify" data-passkey="{"register" if enrolling else "authenticate"}" data-options="{escape(pending["challenge"]["code"])}">
<input type="hidden" name="code"><button class="primary" disabled>{"Create the passkey" if enrolling else "Use the passkey"}</button></form>
<p id="no-script">Passkeys need JavaScript.</p>""")
    if factor["type"] != "webauthn" or not enrolling:
        body.append(code_form(factor["type"], not enrolling and session["user"].get("recovery", 0) > 0))
    if enrolling:
        body.append(button("/cancel", "Cancel"))
    else:
        if factor["type"] == "sms":
            body.append(button("/challenge", "Send another code", factor=factor["id"]))
        if others := [other for other in session["user"]["factors"] if other["id"] != factor["id"]]:
            body.append("<h2>Other ways</h2>" + methods(others))
    return page("Add: " + factor["name"] if enrolling else factor["name"], session, "\n".join(body))


def home(session):
    factors = session["user"]["factors"]
    items = (f'<li><span>{escape(f["name"])}</span> {button("/remove", "Remove", f["name"], factor=f["id"])}</li>' for f in factors)
    left = session["user"].get("recovery")
    recovery = f"""<h2>Recovery codes</h2>
<p>{"With recovery codes on paper you can sign in after you lose your phone." if left is None else f"{left} of your recovery codes are left. New codes replace them."}</p>
{button("/recovery", "Create recovery codes")}"""
    return page("Your account", session, f"""<h2>Second factors</h2>
{"" if factors else "<p>Only your password protects this account. Add a second factor.</p>"}
<ul>{"".join(items)}</ul>
{recovery if factors else ""}
<h2>Add a second factor</h2>
<ul>
<li>{button("/enroll", "Authenticator app", type="totp")}</li>
<li data-needs-passkeys hidden>{button("/enroll", "Passkey or security key", type="webauthn")}</li>
<li><form method="post" action="/enroll" class="stack"><input type="hidden" name="type" value="sms">
<label>Phone number with country code <input name="phone" type="tel" autocomplete="tel" placeholder="+1 607 351 7112" required></label>
<button>Send a code</button></form></li>
</ul>""")


def recovery(session, codes):
    items = "".join(f"<li><code>{escape(code)}</code></li>" for code in codes)
    return page("Your recovery codes", session, f"""<p>Print these codes, or store them in a password manager. Each of them signs you in once, in place of another code. They are not shown again.</p>
<ol>{items}</ol>
<p><a href="/">I have stored them</a></p>""")


def wrong(factor):
    return "That did not work. Try again." if factor["type"] == "webauthn" else "The code is wrong. Try again."


def recovered(use):
    return f"You used a recovery code; {use['remaining']} are left. Remove the factors that you lost, and add a new one."


BYPASSED = "You used a code of the support. Remove the factors that you lost, and add a new one."


def problem(error):
    """Says what a user can do about an error of Countersign."""
    if getattr(error, "status_code", None) == 429:
        return "We cannot send another message yet. Wait half a minute, or use another way."
    return {
        "authentication_challenge_expired": "This took too long. Start again.",
        "authentication_challenge_previously_verified": "This took too long. Start again.",
        "one_time_code_too_many_attempts": "There were too many wrong codes. Wait, or use another way.",
        "invalid_phone_number": "This is not a phone number. Enter it with its country code.",
    }.get(getattr(error, "code", None), "That is not possible now. Try again later, or use another way.")
