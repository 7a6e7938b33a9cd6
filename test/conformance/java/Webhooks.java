import com.workos.models.AuthenticationMFASucceeded;
import com.workos.webhooks.Webhook;
import java.security.SignatureException;
import java.time.OffsetDateTime;

/** The library checks the signature of a webhook before its user reads the body. */
class Webhooks {
  static void run(Fixture fixture) {
    fixture.report.step("webhook signature", () -> {
      var delivery = fixture.server.network.delivery();
      var body = delivery.get("body").asText();
      var signature = delivery.get("signature").asText();
      var secret = delivery.get("secret").asText();
      var webhook = new Webhook();

      var event = (AuthenticationMFASucceeded) webhook.constructTypedEvent(body, signature, secret);
      var sent = webhook.constructEvent(body, signature, secret);
      Check.equal("id", event.getId(), sent.get("id").asText());
      Check.equal("event", event.getEvent(), "authentication.mfa_succeeded");
      Check.equal("createdAt", event.getCreatedAt(), OffsetDateTime.parse("2022-03-27T05:15:26.432Z"));
      var data = event.getData();
      Check.equal("status", data.getStatus(), "succeeded");
      Check.equal("email", data.getEmail(), "user@example.com");
      Check.equal("userId", data.getUserId(), sent.at("/data/user_id").asText());
      Check.equal("userAgent", data.getUserAgent(), sent.at("/data/user_agent").asText());
      Check.equal("ipAddress", data.getIpAddress(), null);

      var stale = delivery.get("stale").asText();
      webhook.constructTypedEvent(body, stale, secret, 900_000); // right except for its time
      Check.fails(SignatureException.class, () -> webhook.constructTypedEvent(body.replace("succeeded", "failed"), signature, secret));
      Check.fails(SignatureException.class, () -> webhook.constructTypedEvent(body, stale, secret));
      Check.fails(SignatureException.class, () -> webhook.constructTypedEvent(body, delivery.get("forged").asText(), secret));
      return "an AuthenticationMFASucceeded; SignatureException otherwise";
    });
  }
}
