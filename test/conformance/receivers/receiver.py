import base64, hashlib, hmac, json, os, time
from http.server import BaseHTTPRequestHandler, HTTPServer

key = base64.b64decode(os.environ["SECRET"].removeprefix("whsec_"))


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        id, at = self.headers["webhook-id"], self.headers.get("webhook-timestamp", "0")
        mac = hmac.new(key, f"{id}.{at}.".encode() + body, hashlib.sha256)
        want = "v1," + base64.b64encode(mac.digest()).decode()
        signatures = self.headers.get("webhook-signature", "").split()
        signed = any(hmac.compare_digest(want, s) for s in signatures)
        if not signed or abs(time.time() - int(at)) > 300:
            self.send_response(401)
        else:
            event = json.loads(body)
            print(event["event"], event["id"], flush=True)  # store the id and the effect
            self.send_response(204)
        self.end_headers()


port = int(os.environ.get("PORT", "3000"))
HTTPServer(("127.0.0.1", port), Receiver).serve_forever()
