import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.workos.common.exceptions.UnprocessableEntityException;
import com.workos.common.http.Page;
import com.workos.models.AuthenticationMFASucceeded;
import com.workos.models.EventSchema;
import com.workos.webhooks.Webhook;
import java.security.SignatureException;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.List;

/**
 * Lists events and verifies a delivery with the library com.workos:workos, and prints the result of
 * each step. COUNTERSIGN_URL and COUNTERSIGN_API_KEY name the server, and COUNTERSIGN_PLAN is a plan
 * of ../events_test.go, which also has the expected results.
 */
public class Events {
  public static void main(String[] args) throws Exception {
    var workos = Fixture.connect(System.getenv("COUNTERSIGN_URL"), System.getenv("COUNTERSIGN_API_KEY"));
    var events = workos.getEvents();
    var report = new Report(workos.version);
    var plan = new ObjectMapper().readTree(System.getenv("COUNTERSIGN_PLAN"));
    var types = texts(plan.get("types"));

    report.step("list events", () -> {
      // The library has classes for these events, and cannot read them as elements of a page.
      Check.fails(IllegalArgumentException.class, () -> events.list(List.of("authentication.mfa_succeeded")));
      report.ids(ids(events.list(types, null, null, 100)));
      return null;
    });

    report.step("list events page by page", () -> {
      var ids = new ArrayList<String>();
      for (var event : events.list(types, null, null, 2).autoPagingIterable()) {
        ids.add(event.getId());
      }
      report.ids(ids);
      return null;
    });

    report.step("list events in a range", () -> {
      var start = OffsetDateTime.parse(plan.get("range_start").asText());
      var end = OffsetDateTime.parse(plan.get("range_end").asText());
      report.ids(ids(events.list(types, null, null, 100, null, start, end)));
      return null;
    });

    report.step("list events after an event", () -> {
      report.ids(ids(events.list(types, null, plan.get("after").asText(), 100)));
      return null;
    });

    report.step("list events of an unknown type", () -> {
      var error = Check.fails(UnprocessableEntityException.class, () -> events.list(List.of(plan.get("unknown").asText())));
      Check.equal("the code", error.errors.get(0).code, "events_unknown_type");
      return null;
    });

    report.step("verify a delivery", () -> {
      var delivery = plan.get("delivery");
      var body = delivery.get("body").asText();
      var signature = delivery.get("signature").asText();
      var secret = delivery.get("secret").asText();
      var webhook = new Webhook();
      var event = (AuthenticationMFASucceeded) webhook.constructTypedEvent(body, signature, secret);
      Check.fails(SignatureException.class,
          () -> webhook.constructTypedEvent(body.replace("succeeded", "failed"), signature, secret));
      report.ids(List.of(event.getId()));
      return event.getData().getUserId();
    });

    System.exit(report.failed() ? 1 : 0);
  }

  private static List<String> texts(JsonNode list) {
    var texts = new ArrayList<String>();
    list.forEach(node -> texts.add(node.asText()));
    return texts;
  }

  private static List<String> ids(Page<EventSchema> page) {
    return page.data.stream().map(EventSchema::getId).toList();
  }
}
